//! tokio and axum: an HTTP server on a Unix socket, and its clients.

use crate::{Check, sys};
use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::Command;
use tokio::runtime::Builder;

pub const CHECKS: &[Check] = &[
    ("server_axum_over_unix_socket", serves),
    ("server_tokio_processes_and_timers", processes),
];

async fn request(path: &str, method: &str, target: &str, body: &str) -> String {
    let mut stream = UnixStream::connect(path).await.expect("connect");
    let text = format!(
        "{method} {target} HTTP/1.1\r\nHost: alster\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.expect("write");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("read");
    answer
}

async fn serve() {
    let path = format!("{}/http", sys::folder("server"));
    let listener = UnixListener::bind(&path).expect("bind");
    let router = Router::new()
        .route(
            "/square/{number}",
            get(|Path(number): Path<u64>| async move { (number * number).to_string() }),
        )
        .route(
            "/reverse",
            post(|body: String| async move { body.chars().rev().collect::<String>() }),
        );
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        let ended = async move { drop(stopped.await) };
        axum::serve(listener, router)
            .with_graceful_shutdown(ended)
            .await
            .expect("serve");
    });
    let clients: Vec<_> = (0..40u64)
        .map(|number| {
            let path = path.clone();
            tokio::spawn(async move {
                let answer = request(&path, "GET", &format!("/square/{number}"), "").await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                assert!(
                    answer.ends_with(&format!("\r\n\r\n{}", number * number)),
                    "{answer}"
                );
                let answer = request(&path, "POST", "/reverse", "stressed").await;
                assert!(answer.ends_with("\r\n\r\ndesserts"), "{answer}");
            })
        })
        .collect();
    for client in clients {
        client.await.expect("client");
    }
    let answer = request(&path, "GET", "/nothing", "").await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    stop.send(()).expect("stop");
    server.await.expect("server");
}

fn serves() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(3)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(120), serve())
            .await
            .expect("in time")
    });
}

fn processes() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let children = (0..5u8).map(|code| {
            tokio::spawn(async move {
                let mut command = Command::new(sys::own_path());
                let status = command.args(["--role", "exit", &code.to_string()]).status();
                assert_eq!(status.await.expect("spawn").code(), Some(i32::from(code)));
            })
        });
        for child in children.collect::<Vec<_>>() {
            child.await.expect("child");
        }
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        for _ in 0..5 {
            ticks.tick().await;
        }
        let never = std::future::pending::<()>();
        assert!(
            tokio::time::timeout(Duration::from_millis(20), never)
                .await
                .is_err()
        );
    });
}
