//! The event loop: [`Session`] serves the operator (standard input, console
//! and control sockets, signals) and the machine's doorbells until the machine
//! stops. It outlives a machine, so that a guest may reboot under it.

use crate::clients::{Client, Clients, Read};
use crate::console::{ConsoleOutput, RoomSignal};
use crate::control::Request;
use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::poller::{Interest, Poller, Token};
use crate::runtime_dir::{self, RuntimeDir};
use crate::typing::{Action, Typing};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use vmm_sys_util::eventfd::EventFd;

/// Typed bytes that may wait for the guest before reading pauses.
const INPUT_MAX: usize = 4096;

/// Everything that is not the machine.
pub struct Session {
    poller: Poller,
    output: ConsoleOutput,
    room: Arc<RoomSignal>,
    signals: &'static EventFd,
    /// Typed, but not yet taken by the guest.
    input: VecDeque<u8>,
    typing: Option<Typing>,
    clients: Clients,
    console_listener: Option<UnixListener>,
    control_listener: Option<UnixListener>,
    is_paused: bool,
    signal_count: u64,
    _runtime: Option<RuntimeDir>,
}

impl Session {
    /// A session with its sockets in `runtime`. With `with_console_socket` the
    /// console is there, otherwise on standard input and output.
    ///
    /// # Errors
    /// A sentence: what cannot be had.
    pub fn new(
        runtime: Option<RuntimeDir>,
        with_console_socket: bool,
        signals: &'static EventFd,
    ) -> Result<Self, String> {
        let control_listener = runtime
            .as_ref()
            .map(|dir| dir.listen(runtime_dir::CONTROL))
            .transpose()?;
        let console_listener = match &runtime {
            Some(dir) if with_console_socket => Some(dir.listen(runtime_dir::CONSOLE)?),
            _ => None,
        };
        let mut session = Self::build(with_console_socket, signals)
            .map_err(|error| format!("the event loop cannot be set up: {error}"))?;
        session.control_listener = control_listener;
        session.console_listener = console_listener;
        session._runtime = runtime;
        session
            .watch()
            .map_err(|error| format!("the event loop cannot be set up: {error}"))?;
        Ok(session)
    }

    fn build(with_console_socket: bool, signals: &'static EventFd) -> io::Result<Self> {
        let output = if with_console_socket {
            ConsoleOutput::to_backlog()?
        } else {
            ConsoleOutput::to_stdout()?
        };
        let typing = if with_console_socket {
            None
        } else {
            Some(Typing::new()?)
        };
        Ok(Self {
            poller: Poller::new()?,
            output,
            room: Arc::new(RoomSignal::new()?),
            signals,
            input: VecDeque::new(),
            typing,
            clients: Clients::default(),
            console_listener: None,
            control_listener: None,
            is_paused: false,
            signal_count: 0,
            _runtime: None,
        })
    }

    fn watch(&mut self) -> io::Result<()> {
        let readable = Interest::Readable;
        self.poller
            .add(self.signals.as_raw_fd(), Token::Signal, readable)?;
        self.poller
            .add(self.output.timer_fd(), Token::Flush, readable)?;
        self.poller
            .add(self.output.news().as_raw_fd(), Token::News, readable)?;
        self.poller
            .add(self.room.event().as_raw_fd(), Token::Room, readable)?;
        if let Some(listener) = &self.console_listener {
            self.poller
                .add(listener.as_raw_fd(), Token::ConsoleListener, readable)?;
        }
        if let Some(listener) = &self.control_listener {
            self.poller
                .add(listener.as_raw_fd(), Token::ControlListener, readable)?;
        }
        if let Some(typing) = &mut self.typing {
            typing.watch(&self.poller)?;
        }
        Ok(())
    }

    /// Where the guest's output goes.
    pub fn output(&self) -> ConsoleOutput {
        self.output.clone()
    }

    /// How a console device says that it takes input again.
    pub fn room(&self) -> Arc<RoomSignal> {
        self.room.clone()
    }

    /// Serves `machine` until it stops.
    pub fn serve(&mut self, machine: &Machine) -> Outcome {
        let outcome = match self.serve_until_stop(machine) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::HostError(format!("the event loop failed: {error}")),
        };
        self.unwatch_machine(machine);
        self.input.clear();
        self.output.flush_now();
        outcome
    }

    fn serve_until_stop(&mut self, machine: &Machine) -> io::Result<Outcome> {
        self.poller.add(
            machine.stop().event().as_raw_fd(),
            Token::Stop,
            Interest::Readable,
        )?;
        for (device, queue, event) in machine.doorbells() {
            self.poller.add(
                event.as_raw_fd(),
                Token::Doorbell(device, queue),
                Interest::Readable,
            )?;
        }
        self.feed(machine);
        loop {
            for token in self.poller.wait()? {
                self.handle(token, machine)?;
            }
            if let Some(outcome) = machine.stop().outcome() {
                return Ok(outcome);
            }
        }
    }

    fn unwatch_machine(&self, machine: &Machine) {
        self.poller.remove(machine.stop().event().as_raw_fd());
        for (_, _, event) in machine.doorbells() {
            self.poller.remove(event.as_raw_fd());
        }
    }

    fn handle(&mut self, token: Token, machine: &Machine) -> io::Result<()> {
        match token {
            Token::Stop => {}
            Token::Signal => self.on_signal(machine),
            Token::Flush => self.output.flush_now(),
            Token::News => {
                // Only clears the counter; a lost race costs an idle round.
                let _ = self.output.news().read();
                self.clients.send_output(&self.poller, &self.output);
            }
            Token::Room => {
                let _ = self.room.event().read();
                self.feed(machine);
            }
            Token::Stdin => self.on_typing(machine),
            Token::ConsoleListener => self.accept(true)?,
            Token::ControlListener => self.accept(false)?,
            Token::Client(number) => self.on_client(number, machine),
            Token::Doorbell(device, queue) => machine.ring(device, queue),
        }
        Ok(())
    }

    /// First the power button, then the switch.
    fn on_signal(&mut self, machine: &Machine) {
        self.signal_count += self.signals.read().unwrap_or(0);
        if self.signal_count > 1 {
            machine.stop().request(Outcome::Killed);
        } else if machine.press_power_button() {
            eprintln!("vmx: power button pressed; a second signal forces the VM off\r");
        } else {
            eprintln!(
                "vmx: power button pressed, but the guest does not listen to it; \
                 a second signal forces the VM off\r"
            );
        }
    }

    fn on_typing(&mut self, machine: &Machine) {
        let Some(typing) = &mut self.typing else {
            return;
        };
        match typing.read(&self.poller, &mut self.input) {
            Action::None => {}
            Action::PowerButton => {
                machine.press_power_button();
            }
            Action::Kill => machine.stop().request(Outcome::Killed),
        }
        self.feed(machine);
    }

    /// Gives waiting input to the guest, and pauses or resumes reading.
    fn feed(&mut self, machine: &Machine) {
        loop {
            self.room.want();
            let (front, _) = self.input.as_slices();
            let taken = machine.offer_input(front);
            self.input.drain(..taken);
            if taken > 0 && !self.input.is_empty() {
                continue;
            }
            // A file as standard input is read as fast as the guest takes it.
            let is_fed = self.input.is_empty()
                && self
                    .typing
                    .as_mut()
                    .is_some_and(|typing| typing.read_file(&mut self.input));
            if !is_fed {
                break;
            }
        }
        let pause = self.input.len() >= INPUT_MAX;
        if pause != self.is_paused {
            self.is_paused = pause;
            if let Some(typing) = &self.typing {
                typing.pause(&self.poller, pause);
            }
            self.clients.pause_input(&self.poller, pause);
        }
    }

    fn accept(&mut self, is_console: bool) -> io::Result<()> {
        let listener = if is_console {
            &self.console_listener
        } else {
            &self.control_listener
        };
        let Some(listener) = listener else {
            return Ok(());
        };
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The client has gone again, or there are too many: it may retry.
            Err(_) => return Ok(()),
        };
        stream.set_nonblocking(true)?;
        let client = if is_console {
            Client::console(stream)
        } else {
            Client::control(stream)
        };
        self.clients.add(&self.poller, client);
        if is_console {
            self.output.flush_now();
            self.output.set_watched(true);
            self.clients.send_output(&self.poller, &self.output);
        }
        Ok(())
    }

    fn on_client(&mut self, number: u32, machine: &Machine) {
        match self.clients.read(number, &self.poller) {
            Read::Nothing => {}
            Read::Typed(bytes) => {
                self.input.extend(bytes);
                self.feed(machine);
            }
            Read::Lines(lines) => {
                for line in lines {
                    let answer = answer(&line, machine);
                    self.clients.answer(number, &self.poller, &answer);
                }
            }
        }
        self.clients.send_output(&self.poller, &self.output);
        self.output.set_watched(self.clients.has_console());
    }
}

fn answer(line: &str, machine: &Machine) -> String {
    match Request::parse(line) {
        Ok(Request::Status) => format!("ok {}", machine.status()),
        Ok(Request::PowerButton) if machine.press_power_button() => {
            "ok power button pressed".into()
        }
        Ok(Request::PowerButton) => {
            "ok power button pressed, but the guest does not listen to it".into()
        }
        Ok(Request::Kill) => {
            machine.stop().request(Outcome::Killed);
            "ok forced off".into()
        }
        Err(answer) => answer,
    }
}
