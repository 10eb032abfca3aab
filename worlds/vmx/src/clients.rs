//! Connections to the console and control sockets: [`Clients`].
//!
//! A slow console client costs nothing but its own gaps: it reads out of the
//! shared backlog, and what is overwritten meanwhile it misses.

use crate::console::ConsoleOutput;
use crate::control;
use crate::poller::{Interest, Poller, Token};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

const CHUNK: usize = 1024;
/// Connections that are served at once.
const CLIENTS_MAX: usize = 32;

enum Role {
    Console { position: u64 },
    Control { line: Vec<u8> },
}

/// One connection.
pub struct Client {
    stream: UnixStream,
    role: Role,
    interest: Interest,
}

impl Client {
    /// Somebody who looks at the console, from the oldest output on.
    pub fn console(stream: UnixStream) -> Self {
        Self {
            stream,
            role: Role::Console { position: 0 },
            interest: Interest::Readable,
        }
    }

    /// Somebody who asks for things.
    pub fn control(stream: UnixStream) -> Self {
        Self {
            stream,
            role: Role::Control { line: Vec::new() },
            interest: Interest::Readable,
        }
    }
}

/// What a client sent.
pub enum Read {
    /// Nothing, or its end.
    Nothing,
    /// Console input.
    Typed(Vec<u8>),
    /// Lines of requests.
    Lines(Vec<String>),
}

/// All connections, by number.
#[derive(Default)]
pub struct Clients {
    clients: BTreeMap<u32, Client>,
    next: u32,
    is_paused: bool,
}

impl Clients {
    /// Takes a connection, unless there are too many.
    pub fn add(&mut self, poller: &Poller, client: Client) {
        let number = self.next;
        if self.clients.len() < CLIENTS_MAX
            && poller
                .add(
                    client.stream.as_raw_fd(),
                    Token::Client(number),
                    Interest::Readable,
                )
                .is_ok()
        {
            self.next = self.next.wrapping_add(1);
            self.clients.insert(number, client);
        }
    }

    /// Whether somebody looks at the console.
    pub fn has_console(&self) -> bool {
        self.clients
            .values()
            .any(|client| matches!(client.role, Role::Console { .. }))
    }

    /// Reads what client `number` sent; drops it at its end.
    pub fn read(&mut self, number: u32, poller: &Poller) -> Read {
        let Some(client) = self.clients.get_mut(&number) else {
            return Read::Nothing;
        };
        if self.is_paused && matches!(client.role, Role::Console { .. }) {
            return Read::Nothing;
        }
        let mut chunk = [0; CHUNK];
        let bytes = match client.stream.read(&mut chunk) {
            Ok(0) => return self.drop_client(number, poller),
            Ok(len) => &chunk[..len],
            Err(error) if is_later(&error) => return Read::Nothing,
            Err(_) => return self.drop_client(number, poller),
        };
        match &mut client.role {
            Role::Console { .. } => Read::Typed(bytes.to_vec()),
            Role::Control { line } => {
                line.extend_from_slice(bytes);
                match control::take_lines(line) {
                    Some(lines) => Read::Lines(lines),
                    None => self.drop_client(number, poller),
                }
            }
        }
    }

    fn drop_client(&mut self, number: u32, poller: &Poller) -> Read {
        if let Some(client) = self.clients.remove(&number) {
            poller.remove(client.stream.as_raw_fd());
        }
        Read::Nothing
    }

    /// Sends an answer line. A client that does not read it is dropped.
    pub fn answer(&mut self, number: u32, poller: &Poller, line: &str) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if writeln!(client.stream, "{line}").is_err() {
            self.drop_client(number, poller);
        }
    }

    /// Sends console output to everybody who has not seen it yet.
    pub fn send_output(&mut self, poller: &Poller, output: &ConsoleOutput) {
        let is_paused = self.is_paused;
        let mut gone = Vec::new();
        for (number, client) in &mut self.clients {
            let Role::Console { position } = &mut client.role else {
                continue;
            };
            let Ok(is_blocked) = send(&mut client.stream, position, output) else {
                gone.push(*number);
                continue;
            };
            let interest = match (is_blocked, is_paused) {
                (true, _) => Interest::ReadableWritable,
                (false, false) => Interest::Readable,
                (false, true) => Interest::None,
            };
            if interest != client.interest {
                client.interest = interest;
                // It was added; should this fail, its output comes later.
                let _ = poller.modify(client.stream.as_raw_fd(), Token::Client(*number), interest);
            }
        }
        for number in gone {
            self.drop_client(number, poller);
        }
    }

    /// Stops or resumes to take console input.
    pub fn pause_input(&mut self, poller: &Poller, is_paused: bool) {
        self.is_paused = is_paused;
        for (number, client) in &mut self.clients {
            if !matches!(client.role, Role::Console { .. }) {
                continue;
            }
            client.interest = if is_paused {
                Interest::None
            } else {
                Interest::Readable
            };
            let fd = client.stream.as_raw_fd();
            // It was added; should this fail, input is merely not paused.
            let _ = poller.modify(fd, Token::Client(*number), client.interest);
        }
    }
}

/// Sends from `position` on; true if the client takes no more for now.
fn send(
    stream: &mut UnixStream,
    position: &mut u64,
    output: &ConsoleOutput,
) -> std::io::Result<bool> {
    let mut chunk = [0; CHUNK];
    loop {
        let (start, len) = output.read(*position, &mut chunk);
        if len == 0 {
            return Ok(false);
        }
        match stream.write(&chunk[..len]) {
            Ok(sent) => *position = start + sent as u64,
            Err(error) if is_later(&error) => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backlog::KEPT;

    struct Desk {
        poller: Poller,
        clients: Clients,
        output: ConsoleOutput,
    }

    impl Desk {
        fn new() -> Self {
            let output = ConsoleOutput::to_backlog().unwrap();
            Self {
                poller: Poller::new().unwrap(),
                clients: Clients::default(),
                output,
            }
        }

        fn attach(&mut self, make: fn(UnixStream) -> Client) -> UnixStream {
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
            self.clients.add(&self.poller, make(ours));
            theirs
        }

        fn send(&mut self) {
            self.output.flush_now();
            self.clients.send_output(&self.poller, &self.output);
        }
    }

    fn received(stream: &mut UnixStream) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut chunk) {
            bytes.extend_from_slice(&chunk[..len]);
        }
        bytes
    }

    #[test]
    fn a_late_client_gets_the_past_and_both_get_what_follows() {
        let mut desk = Desk::new();
        let mut early = desk.attach(Client::console);
        desk.output.put(b"booting\n");
        desk.send();
        let mut late = desk.attach(Client::console);
        desk.output.put(b"login: ");
        desk.send();
        assert_eq!(received(&mut early), b"booting\nlogin: ");
        assert_eq!(received(&mut late), b"booting\nlogin: ");
    }

    #[test]
    fn a_client_that_does_not_read_holds_nobody_up() {
        let mut desk = Desk::new();
        let mut slow = desk.attach(Client::console);
        let line = [b'x'; 1023];
        for _ in 0..4 * KEPT / 1024 * 8 {
            desk.output.put(&line);
            desk.output.put(b"\n");
            desk.send();
        }
        let mut end = Vec::new();
        loop {
            let more = received(&mut slow);
            if more.is_empty() {
                break;
            }
            end = more;
            desk.send();
        }
        assert!(end.ends_with(b"xx\n"));
    }

    #[test]
    fn typing_and_requests_are_told_apart_and_ends_noticed() {
        let mut desk = Desk::new();
        let mut console = desk.attach(Client::console);
        let mut control = desk.attach(Client::control);
        console.write_all(b"ls\r").unwrap();
        control.write_all(b"sta").unwrap();
        assert!(matches!(desk.clients.read(0, &desk.poller), Read::Typed(b) if b == b"ls\r"));
        assert!(matches!(desk.clients.read(1, &desk.poller), Read::Lines(l) if l.is_empty()));
        control.write_all(b"tus\n").unwrap();
        assert!(matches!(desk.clients.read(1, &desk.poller), Read::Lines(l) if l == ["status\n"]));
        desk.clients.answer(1, &desk.poller, "ok fine");
        assert_eq!(received(&mut control), b"ok fine\n");
        assert!(desk.clients.has_console());
        drop(console);
        assert!(matches!(desk.clients.read(0, &desk.poller), Read::Nothing));
        assert!(!desk.clients.has_console());
    }

    #[test]
    fn an_endless_line_ends_the_connection() {
        let mut desk = Desk::new();
        let mut control = desk.attach(Client::control);
        control.write_all(&[b'x'; control::LINE_MAX + 1]).unwrap();
        assert!(matches!(desk.clients.read(0, &desk.poller), Read::Nothing));
        assert_eq!(control.read(&mut [0; 1]).unwrap(), 0);
    }
}
