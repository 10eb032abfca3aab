//! AMD-V: whether it can be used ([`detect`]), what each CPU needs for it
//! ([`cpu`]), one virtual CPU of the hardware ([`vcpu::HardwareVcpu`]) and the
//! world switch. It returns raw exits and decides nothing; the crate `kvm`
//! gives them a meaning. APM volume 2, chapter 15.
//!
//! What does not touch hardware ([`detect`], [`asid`], [`permission_map`]) is
//! tested on a host; the rest exists on bare metal only.
#![no_std]

#[cfg(target_os = "none")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod asid;
pub mod detect;
pub mod permission_map;
pub mod xcr0;

#[cfg(target_os = "none")]
pub mod cpu;
#[cfg(target_os = "none")]
mod instruction;
#[cfg(target_os = "none")]
mod page;
#[cfg(target_os = "none")]
mod switch;
#[cfg(target_os = "none")]
pub mod vcpu;
