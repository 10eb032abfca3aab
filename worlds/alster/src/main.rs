//! `alster`: the command line of the host.
//!
//! So far `alster vm ...`, which finds running VMs by their runtime folders
//! and talks to their monitors ([`vm`]) or attaches to a console
//! ([`console`]). Exit status: 0 done, 1 failed, 2 wrong usage.
#![forbid(unsafe_code)]

mod arguments;
mod console;
mod vm;

use arguments::{Action, Command};
use std::process::ExitCode;

const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let command = match Command::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(message) => {
            eprintln!("alster: {message}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let root = &command.runtime_root;
    let result = match command.action {
        Action::Print(text) => {
            println!("{text}");
            Ok(())
        }
        Action::List => vm::list(root),
        Action::Status(name) => vm::request(root, &name, "status"),
        Action::Stop(name) => vm::request(root, &name, "power-button"),
        Action::Kill(name) => vm::request(root, &name, "kill"),
        Action::Console(name) => console::attach(root, &name),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("alster: {message}");
            ExitCode::FAILURE
        }
    }
}
