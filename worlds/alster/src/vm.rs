//! Talking to monitors: each running VM has a folder with a control socket
//! that answers a line with a line.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Prints one line for each running VM.
///
/// # Errors
/// The folder of VMs cannot be read.
pub fn list(root: &Path) -> Result<(), String> {
    let mut names: Vec<String> = match fs::read_dir(root) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect(),
        // No VM has run since the host started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(format!("{}: {error}", root.display())),
    };
    names.sort();
    for name in names {
        // A folder whose monitor died is not a running VM.
        if let Ok(answer) = ask(root, &name, "status") {
            println!("{name}: {}", answer.trim_start_matches("ok "));
        }
    }
    Ok(())
}

/// Sends a request to a VM and prints the answer.
///
/// # Errors
/// The VM does not run, or refuses.
pub fn request(root: &Path, name: &str, request: &str) -> Result<(), String> {
    let answer = ask(root, name, request)?;
    match answer.split_once(' ') {
        Some(("ok", rest)) => {
            println!("{name}: {rest}");
            Ok(())
        }
        _ => Err(format!("VM \"{name}\" answered: {answer}")),
    }
}

/// Connects to one of a VM's sockets.
///
/// # Errors
/// A sentence: there is no such VM, or it does not have this socket.
pub fn connect(root: &Path, name: &str, socket: &str) -> Result<UnixStream, String> {
    let path = root.join(name).join(socket);
    UnixStream::connect(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound if path.parent().is_some_and(Path::exists) => {
            format!("VM \"{name}\" has no {socket} socket; its console is on its standard input")
        }
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no VM named \"{name}\" is running; see alster vm list")
        }
        _ => format!("{}: {error}", path.display()),
    })
}

fn ask(root: &Path, name: &str, request: &str) -> Result<String, String> {
    let mut stream = connect(root, name, "control")?;
    let failed = |error: io::Error| format!("VM \"{name}\" did not answer: {error}");
    stream
        .set_read_timeout(Some(ANSWER_TIMEOUT))
        .map_err(failed)?;
    writeln!(stream, "{request}").map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(answer.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;
    use std::thread;

    /// A folder of its own for each test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let id = std::process::id();
            let path = std::env::temp_dir().join(format!("alster-{name}-{id}"));
            fs::create_dir_all(path.join("web")).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_request_gets_its_answer() {
        let folder = Folder::new("request");
        let listener = UnixListener::bind(folder.0.join("web/control")).unwrap();
        let monitor = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            (&stream).write_all(b"ok state=running\n").unwrap();
            line
        });
        assert_eq!(ask(&folder.0, "web", "status").unwrap(), "ok state=running");
        assert_eq!(monitor.join().unwrap(), "status\n");
    }

    #[test]
    fn a_vm_that_does_not_run_is_named() {
        let folder = Folder::new("none");
        let error = connect(&folder.0, "mail", "control").unwrap_err();
        assert!(error.contains("no VM named \"mail\""), "{error}");
        let error = connect(&folder.0, "web", "console").unwrap_err();
        assert!(error.contains("has no console socket"), "{error}");
        assert!(list(&folder.0).is_ok());
        assert!(list(&folder.0.join("nowhere")).is_ok());
    }
}
