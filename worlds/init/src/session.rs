//! What runs on the host's console: a VM's console, or the host's shell.
//!
//! Main type: [`Session`].

use std::process::Command;

use anyhow::Result;

use crate::children::Children;

/// The program that has the console now.
#[derive(Debug)]
pub struct Session {
    pid: u32,
}

impl Session {
    /// Puts the person through to a VM.
    pub fn console(children: &Children, name: &str) -> Result<Session> {
        println!(
            "\ninit: this is the console of the VM {name}; Ctrl-] leaves it for the host's shell"
        );
        let mut command = Command::new("/bin/alster");
        Ok(Session {
            pid: children.start(command.args(["vm", "console", name]))?,
        })
    }

    /// Gives the person a shell on the host, with the terminal as its controlling one.
    pub fn shell(children: &Children) -> Result<Session> {
        println!(
            "\ninit: this is the host's shell; `alster vm console NAME` returns to a VM, `poweroff` ends all"
        );
        let mut command = Command::new("/bin/busybox");
        command
            .args(["setsid", "-c", "/bin/sh", "-l"])
            .current_dir("/root");
        let settings = [
            ("HOME", "/root"),
            ("PATH", "/bin:/sbin:/usr/bin:/usr/sbin"),
            ("TERM", "vt100"),
            ("PS1", "alster:\\w # "),
        ];
        Ok(Session {
            pid: children.start(command.envs(settings))?,
        })
    }

    /// Its process number.
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
