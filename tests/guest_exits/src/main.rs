//! A kernel that runs small guests in vCPUs, without programs of ring 3, and
//! prints what each kind of exit costs in ticks of the time-stamp counter
//! (instructions under icount). It ends with a verdict: 0x10 if every guest did
//! what it should.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
extern crate alloc;

#[cfg(target_os = "none")]
mod code;
#[cfg(target_os = "none")]
mod console;
#[cfg(target_os = "none")]
mod guest;
#[cfg(target_os = "none")]
mod suite;

#[cfg(target_os = "none")]
mod start {
    hal::entry!(super::suite::main);
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this test runs on bare metal: build it for x86_64-unknown-none and boot it in QEMU");
}
