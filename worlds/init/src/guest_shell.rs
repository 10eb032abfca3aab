//! The unattended operator: waits for a guest's shell and types `poweroff` into it.
//!
//! It goes the way a person's keys go, through the VM's console socket.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};

use crate::monitors::connect_to_console;

/// What the guest prints before its shell starts. The prompt comes after it.
const BANNER: &str = "in a VM of Alster";
const PROMPT: &str = "# ";

/// Talks to the guest of the VM `name` until it has been told to power off.
pub fn power_off(name: &str) -> Result<()> {
    let console = connect_to_console(name)?;
    let mut keys = console
        .try_clone()
        .context("Cannot duplicate the console")?;
    let mut screen = console;
    read_up_to_prompt(&mut screen, &mut std::io::stdout())?;
    keys.write_all(b"poweroff\n")
        .context("Cannot type on the console")?;
    copy_rest(&mut screen, &mut std::io::stdout());
    Ok(())
}

/// Copies what the guest prints until its shell waits for a command.
fn read_up_to_prompt(screen: &mut impl Read, copy: &mut impl Write) -> Result<()> {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let count = screen
            .read(&mut buffer)
            .context("Cannot read the console")?;
        if count == 0 {
            bail!("The console was closed");
        }
        // The copy is for a person; the talk goes on without.
        let _ = copy.write_all(&buffer[..count]).and_then(|()| copy.flush());
        text.extend_from_slice(&buffer[..count]);
        if has_prompt(&text) {
            return Ok(());
        }
    }
}

fn has_prompt(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    text.find(BANNER)
        .is_some_and(|at| text[at..].contains(PROMPT))
}

/// Copies until the console closes, which it does when the VM ends.
fn copy_rest(screen: &mut impl Read, copy: &mut impl Write) {
    let _ = std::io::copy(screen, copy);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_counts_only_behind_the_banner() {
        assert!(!has_prompt(b"[    0.1] # CPUs: 1\n"));
        assert!(!has_prompt(b"# \nLinux 6.1 in a VM of Alster.\n"));
        assert!(has_prompt(
            b"Linux 6.1 in a VM of Alster. 'poweroff' ends it.\n~ # "
        ));
    }

    #[test]
    fn what_the_guest_prints_is_copied_and_its_end_is_an_error() {
        let mut copy = Vec::new();
        let text = b"boot\nLinux in a VM of Alster\n~ # ";
        read_up_to_prompt(&mut &text[..], &mut copy).unwrap();
        assert_eq!(copy, text);
        let error = read_up_to_prompt(&mut &b"panic"[..], &mut copy).unwrap_err();
        assert_eq!(error.to_string(), "The console was closed");
    }
}
