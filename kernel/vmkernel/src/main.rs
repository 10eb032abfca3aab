//! The VMkernel: what boots first.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod panic;

#[cfg(target_os = "none")]
mod start {
    hal::entry!(super::main);
}

#[cfg(target_os = "none")]
fn main(info: hal::boot::BootInfo) -> ! {
    use core::fmt::Write;
    
    let _ = writeln!(crate::panic::Serial, "hello {} {}", info.command_line, info.archive.len());
    panic!("test");
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("the VMkernel runs on bare metal: build it with `cargo xtask build`");
}
