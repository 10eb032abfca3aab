//! Process 1 of the host: starts the VMs, then serves the person at the console.
//!
//! Attended, the person lands in the console of the first VM; leaving it gives the host's shell, in which
//! `alster vm console NAME` returns to it. With `--headless` nobody is there: the first VM must boot to its
//! shell and power off, and whether it did is our exit status, which the kernel makes its verdict.
//!
//! Neighbours: `monitors` starts and knows one `vmx` per VM, `children` reaps, `guest_shell` is the unattended operator,
//! `session` is what runs on the console.

#![forbid(unsafe_code)]

mod children;
mod guest_shell;
mod monitors;
mod session;

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use children::{Children, Ended};
use monitors::Monitors;
use session::Session;

/// What process 1 waits for.
#[derive(Debug)]
enum Event {
    /// A child, or an orphan that became one, ended.
    Ended(Ended),
    /// Somebody asked for power-off (busybox's poweroff, halt and reboot send signals to process 1).
    PowerOff,
}

fn main() -> ExitCode {
    let is_headless = std::env::args().skip(1).any(|word| word == "--headless");
    match start().and_then(|host| {
        if is_headless {
            host.headless()
        } else {
            host.attended()
        }
    }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("init: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The host, as process 1 sees it.
struct Host {
    events: Receiver<Event>,
    children: Children,
    monitors: Monitors,
}

fn start() -> Result<Host> {
    let (sender, events) = channel();
    forward_signals(sender.clone())?;
    let children = Children::new(sender)?;
    let monitors = Monitors::start_all(&children)?;
    Ok(Host {
        events,
        children,
        monitors,
    })
}

fn forward_signals(sender: Sender<Event>) -> Result<()> {
    let mut signals =
        signal_hook::iterator::Signals::new([SIGUSR1, SIGUSR2, SIGTERM, SIGINT, SIGQUIT])
            .context("Cannot listen for signals")?;
    let forward = move || {
        for signal in signals.forever() {
            // Keys typed while nobody has the terminal are no reason to end the host.
            let is_key = matches!(signal, SIGINT | SIGQUIT);
            if !is_key && sender.send(Event::PowerOff).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .spawn(forward)
        .context("Cannot start a thread for signals")?;
    Ok(())
}

impl Host {
    /// Serves the person at the console until somebody asks for power-off.
    fn attended(mut self) -> Result<()> {
        let mut session = match self.monitors.first() {
            Some(name) if monitors::wait_for_console(name) => {
                Session::console(&self.children, name)?
            }
            _ => Session::shell(&self.children)?,
        };
        loop {
            match self.events.recv().context("Nothing is left to wait for")? {
                Event::PowerOff => break,
                Event::Ended(ended) if ended.pid == session.pid() => {
                    session = Session::shell(&self.children)?;
                }
                Event::Ended(ended) => {
                    if let Some(line) = self.monitors.ended(&ended) {
                        println!("\r\ninit: {line}\r");
                    }
                }
            }
        }
        println!("\r\ninit: powering off\r");
        self.monitors.stop_all(&self.events);
        Ok(())
    }

    /// Sees the first VM through its life. Fails if it did not reach its shell, or did not end well.
    fn headless(mut self) -> Result<()> {
        let Some(name) = self.monitors.first().map(str::to_owned) else {
            bail!(
                "There is no VM to start: {} has no configuration",
                monitors::CONFIGURATIONS
            );
        };
        let talk = guest_shell::power_off(&name);
        if let Err(error) = talk {
            bail!(
                "The VM {name} did not come to its shell: {error:#}{}",
                monitors::log_of(&name)
            );
        }
        loop {
            let Event::Ended(ended) = self.events.recv().context("Nothing is left to wait for")?
            else {
                bail!("Power-off was asked for before the VM {name} ended");
            };
            if self.monitors.name_of(ended.pid) != Some(&name) {
                continue;
            }
            let line = self.monitors.ended(&ended).unwrap_or_default();
            println!("init: {line}");
            if ended.is_success {
                return Ok(());
            }
            bail!(
                "The monitor of the VM {name} failed{}",
                monitors::log_of(&name)
            );
        }
    }
}
