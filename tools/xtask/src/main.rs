//! `cargo xtask`: everything that is done to this repository, one verb each.
//!
//! A verb is a module: `build` (kernel, worlds, boot archive), `run` (boot it), `test`, `check` (the gates that
//! need no machine), `bench`. `setup` makes a fresh machine able to do them and is called by each of them.
//! Neighbours: `qemu` starts machines, `initramfs` writes archives.

#![forbid(unsafe_code)]

mod arguments;
mod bench;
mod boot_archive;
mod build;
mod check;
mod command;
mod house;
mod kernel_image;
mod peer;
mod run;
mod setup;
mod test;
mod worlds;

use std::process::ExitCode;

use arguments::Verb;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let verb = match arguments::parse(&words) {
        Ok(verb) => verb,
        Err(sentence) => {
            eprintln!("{sentence}\n\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    let result = house::House::open().and_then(|house| match verb {
        Verb::Help => {
            println!("{}", arguments::USAGE);
            Ok(ExitCode::SUCCESS)
        }
        Verb::Setup => setup::everything(&house).map(|()| ExitCode::SUCCESS),
        Verb::Build => build::all(&house, build::Purpose::Run).map(|_| ExitCode::SUCCESS),
        Verb::Test(options) => test::test(&house, &options),
        Verb::Bench(options) => bench::bench(&house, &options),
        Verb::Check => check::check(&house),
        Verb::Run(options) => run::run(&house, &options),
    });
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
