//! Attaching to a VM's console: the terminal becomes the VM's until Ctrl-].

use crate::vm::connect;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use terminal::{ESCAPE, RawMode};

const CHUNK: usize = 1024;

/// Why an attachment ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The operator left.
    Left,
    /// The VM ended.
    Gone,
}

/// Attaches to the console of the VM called `name`.
///
/// # Errors
/// The VM does not run, has no console socket, or the terminal fails.
pub fn attach(root: &Path, name: &str) -> Result<(), String> {
    let socket = connect(root, name, "console")?;
    let failed = |error: io::Error| format!("console of \"{name}\": {error}");
    let raw = RawMode::enter(io::stdin()).map_err(failed)?;
    if raw.is_some() {
        eprint!("alster: attached to \"{name}\"; Ctrl-] leaves\r\n");
    }
    let stdin = io::stdin().as_fd().try_clone_to_owned().map_err(failed)?;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(failed)?;
    let end = relay(&File::from(stdin), &File::from(stdout), &socket).map_err(failed)?;
    drop(raw);
    match end {
        End::Left => eprintln!("\nalster: left \"{name}\"; it goes on running"),
        End::Gone => eprintln!("\nalster: \"{name}\" has ended"),
    }
    Ok(())
}

/// Passes bytes both ways until one side ends. The end of the input alone
/// does not end it: output goes on to be shown.
fn relay<S>(mut keyboard: &File, mut screen: &File, socket: &S) -> io::Result<End>
where
    S: AsFd,
    for<'a> &'a S: Read + Write,
{
    let mut chunk = [0; CHUNK];
    let mut is_typing = true;
    loop {
        let mut fds = vec![PollFd::new(socket, PollFlags::IN)];
        if is_typing {
            fds.push(PollFd::new(&keyboard, PollFlags::IN));
        }
        match poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (has_output, has_input) = (is_ready(0), is_ready(1));
        if has_output {
            let mut reader = socket;
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(End::Gone),
                Ok(len) => screen.write_all(&chunk[..len])?,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(End::Gone);
                }
                Err(error) => return Err(error),
            }
        }
        if has_input {
            let len = keyboard.read(&mut chunk)?;
            is_typing = len > 0;
            let typed = &chunk[..len];
            let escape = typed.iter().position(|byte| *byte == ESCAPE);
            let mut writer = socket;
            if writer.write_all(&typed[..escape.unwrap_or(len)]).is_err() {
                return Ok(End::Gone);
            }
            if escape.is_some() {
                return Ok(End::Left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    struct Desk {
        keys: UnixStream,
        shown: UnixStream,
        keyboard: File,
        screen: File,
        vm: UnixStream,
        socket: UnixStream,
    }

    fn desk() -> Desk {
        let (keys, keyboard) = UnixStream::pair().unwrap();
        let (shown, screen) = UnixStream::pair().unwrap();
        let (vm, socket) = UnixStream::pair().unwrap();
        let file = |stream| File::from(OwnedFd::from(stream));
        Desk {
            keys,
            shown,
            keyboard: file(keyboard),
            screen: file(screen),
            vm,
            socket,
        }
    }

    #[test]
    fn keys_reach_the_vm_up_to_the_escape_key() {
        let Desk {
            mut keys,
            keyboard,
            screen,
            mut vm,
            socket,
            ..
        } = desk();
        keys.write_all(b"ls\r\x1Dnot this").unwrap();
        assert_eq!(relay(&keyboard, &screen, &socket).unwrap(), End::Left);
        drop(socket);
        let mut typed = String::new();
        vm.read_to_string(&mut typed).unwrap();
        assert_eq!(typed, "ls\r");
    }

    #[test]
    fn output_is_shown_until_the_vm_ends_even_without_input() {
        let Desk {
            keys,
            mut shown,
            keyboard,
            screen,
            mut vm,
            socket,
        } = desk();
        drop(keys);
        vm.write_all(b"login: ").unwrap();
        drop(vm);
        assert_eq!(relay(&keyboard, &screen, &socket).unwrap(), End::Gone);
        drop(screen);
        let mut text = String::new();
        shown.read_to_string(&mut text).unwrap();
        assert_eq!(text, "login: ");
    }
}
