//! The command line: [`Command`].

use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where monitors put their sockets.
pub const DEFAULT_ROOT: &str = "/run/alster/vms";

const USAGE: &str = "\
Operates this host.

usage: alster [--runtime-dir DIR] vm list
       alster [--runtime-dir DIR] vm status|stop|kill|console NAME

  list     the running VMs
  status   one VM in a line
  stop     press the VM's power button
  kill     force the VM off
  console  attach to the VM's console; Ctrl-] leaves it

  --runtime-dir DIR  where the VMs' sockets are, by default /run/alster/vms
  --help, --version";

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Print a text.
    Print(String),
    /// List the VMs.
    List,
    /// Show a VM's state.
    Status(String),
    /// Press a VM's power button.
    Stop(String),
    /// Force a VM off.
    Kill(String),
    /// Attach to a VM's console.
    Console(String),
}

/// The command line.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// What to do.
    pub action: Action,
    /// Folder of the VMs' runtime folders.
    pub runtime_root: PathBuf,
}

impl Command {
    /// Reads the command line; the first word is the program's name.
    ///
    /// # Errors
    /// A sentence naming the word that is wrong and what is allowed.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let mut parser = Parser::from_iter(words);
        let mut runtime_root = PathBuf::from(DEFAULT_ROOT);
        let mut values = Vec::new();
        let hint = |error: lexopt::Error| format!("{error}; see alster --help");
        while let Some(arg) = parser.next().map_err(hint)? {
            let print = match arg {
                Arg::Long("runtime-dir") => {
                    runtime_root = parser.value().map_err(hint)?.into();
                    continue;
                }
                Arg::Value(value) => {
                    values.push(value.to_string_lossy().into_owned());
                    continue;
                }
                Arg::Long("help") | Arg::Short('h') => USAGE.to_owned(),
                Arg::Long("version") | Arg::Short('V') => {
                    format!("alster {}", env!("CARGO_PKG_VERSION"))
                }
                other => return Err(hint(other.unexpected())),
            };
            return Ok(Self {
                action: Action::Print(print),
                runtime_root,
            });
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        Ok(Self {
            action: action(&values)?,
            runtime_root,
        })
    }
}

fn action(values: &[&str]) -> Result<Action, String> {
    match values {
        ["vm", "list"] => Ok(Action::List),
        ["vm", verb, name] => {
            if name.is_empty() || name.contains('/') || name.starts_with('.') {
                return Err(format!("\"{name}\" is not the name of a VM"));
            }
            let name = (*name).to_owned();
            match *verb {
                "status" => Ok(Action::Status(name)),
                "stop" => Ok(Action::Stop(name)),
                "kill" => Ok(Action::Kill(name)),
                "console" => Ok(Action::Console(name)),
                other => Err(unknown(other)),
            }
        }
        ["vm", verb @ ("status" | "stop" | "kill" | "console")] => Err(format!(
            "vm {verb} needs the name of a VM; see alster vm list"
        )),
        ["vm", other, ..] => Err(unknown(other)),
        [] | ["vm"] => Err("nothing to do; see alster --help".to_owned()),
        [other, ..] => Err(format!("\"{other}\" is unknown; use vm")),
    }
}

fn unknown(verb: &str) -> String {
    format!("vm \"{verb}\" is unknown; use list, status, stop, kill or console")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Action, String> {
        let words = ["alster"].iter().chain(words).map(OsString::from);
        Command::parse(words).map(|command| command.action)
    }

    #[test]
    fn verbs_are_read() {
        assert_eq!(parse(&["vm", "list"]), Ok(Action::List));
        assert_eq!(
            parse(&["vm", "stop", "web"]),
            Ok(Action::Stop("web".to_owned()))
        );
        assert_eq!(
            parse(&["vm", "console", "web"]),
            Ok(Action::Console("web".to_owned()))
        );
    }

    #[test]
    fn wrong_words_are_named() {
        assert!(
            parse(&["vm", "start", "web"])
                .unwrap_err()
                .contains("\"start\"")
        );
        assert!(parse(&["host"]).unwrap_err().contains("\"host\""));
        assert!(
            parse(&["vm", "kill"])
                .unwrap_err()
                .contains("needs the name")
        );
        assert!(
            parse(&["vm", "kill", "../x"])
                .unwrap_err()
                .contains("\"../x\"")
        );
        assert!(parse(&[]).is_err());
    }
}
