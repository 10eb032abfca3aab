//! The command line: [`Command`].

use crate::runtime_dir::DEFAULT_ROOT;
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

const USAGE: &str = "\
Runs one virtual machine.

usage: vmx [--check] [--runtime-dir DIR] CONFIG

  CONFIG             configuration file of the VM, in TOML
  --check            check the configuration and its files, then end
  --runtime-dir DIR  where the VM's sockets go, by default /run/alster/vms
  --help, --version

exit status: 0 powered off, 1 host error, 2 not started, 3 reset with
on_reboot = \"stop\", 4 triple fault, 5 vCPU stuck, 6 forced off";

/// What `vmx` was called for.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Run or check a VM.
    Run(Arguments),
    /// Print a text and end.
    Print(String),
}

/// How to run a VM.
#[derive(Debug, PartialEq, Eq)]
pub struct Arguments {
    /// The configuration file.
    pub config: PathBuf,
    /// Only check it.
    pub is_check: bool,
    /// Folder of runtime folders.
    pub runtime_root: PathBuf,
}

impl Command {
    /// Reads the command line; the first word is the program's name.
    ///
    /// # Errors
    /// A sentence naming the word that is wrong.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parser = Parser::from_iter(words);
        let mut config = None;
        let mut is_check = false;
        let mut runtime_root = PathBuf::from(DEFAULT_ROOT);
        let hint = |error: lexopt::Error| format!("{error}; see vmx --help");
        while let Some(arg) = parser.next().map_err(hint)? {
            match arg {
                Arg::Long("check") => is_check = true,
                Arg::Long("runtime-dir") => runtime_root = parser.value().map_err(hint)?.into(),
                Arg::Long("help") | Arg::Short('h') => return Ok(Self::Print(USAGE.to_owned())),
                Arg::Long("version") | Arg::Short('V') => {
                    return Ok(Self::Print(format!("vmx {}", env!("CARGO_PKG_VERSION"))));
                }
                Arg::Value(value) if config.is_none() => config = Some(PathBuf::from(value)),
                other => return Err(hint(other.unexpected())),
            }
        }
        let config = config.ok_or("no configuration file given; see vmx --help")?;
        Ok(Self::Run(Arguments {
            config,
            is_check,
            runtime_root,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Command, String> {
        Command::parse(["vmx"].iter().chain(words).map(OsString::from))
    }

    #[test]
    fn a_file_is_enough() {
        let expected = Arguments {
            config: "web.toml".into(),
            is_check: false,
            runtime_root: DEFAULT_ROOT.into(),
        };
        assert_eq!(parse(&["web.toml"]), Ok(Command::Run(expected)));
    }

    #[test]
    fn options_are_read() {
        let Ok(Command::Run(arguments)) = parse(&["--runtime-dir", "/tmp/r", "--check", "a"])
        else {
            panic!("refused");
        };
        assert!(arguments.is_check);
        assert_eq!(arguments.runtime_root, PathBuf::from("/tmp/r"));
    }

    #[test]
    fn wrong_words_are_named() {
        assert!(parse(&["--fast", "a"]).unwrap_err().contains("--fast"));
        assert!(parse(&["a", "b"]).unwrap_err().contains('b'));
        assert!(parse(&[]).unwrap_err().contains("no configuration file"));
    }
}
