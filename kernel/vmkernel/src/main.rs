//! The VMkernel: what boots first, and the order in which it comes up.
//!
//! This file is the table of contents; each step is a module of a few lines
//! over the crate that does the work.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod archive;
#[cfg(target_os = "none")]
mod command_line;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod device_nodes;
#[cfg(target_os = "none")]
mod devices;
#[cfg(target_os = "none")]
mod first_world;
#[cfg(target_os = "none")]
mod host_view;
#[cfg(target_os = "none")]
mod interrupts;
#[cfg(target_os = "none")]
mod machine;
#[cfg(target_os = "none")]
mod messages;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod process_view;
#[cfg(target_os = "none")]
mod random;
#[cfg(target_os = "none")]
mod selftest;
#[cfg(target_os = "none")]
mod symbols;

#[cfg(target_os = "none")]
mod virtualization;

#[cfg(target_os = "none")]
mod entry {
    hal::entry!(super::start);
}

/// The kernel, from the first line to the idle loop of the first CPU.
#[cfg(target_os = "none")]
fn start(info: hal::boot::BootInfo) -> ! {
    command_line::init(info.command_line);
    messages::init();
    symbols::init(info.archive);
    log::info!("Alster VMkernel {}", env!("CARGO_PKG_VERSION"));
    random::init();
    sched::init();
    mem::set_preempt_hook(sched::preempt_point);
    interrupts::init();
    virtualization::init();
    machine::init(&info);
    selftest::run_if_asked();
    syscall::set_hooks(machine::hooks());
    world::set_random(random::fill);
    world::set_system_calls(syscall::dispatch);
    first_world::start(&info);
    sched::run_cpu()
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the VMkernel runs on bare metal: `cargo xtask run` boots it");
}
