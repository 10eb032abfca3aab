//! Measures exits of virtual machines, here and on Linux with KVM: `exit.*` and `fault.*` of SPECIFICATION.md.
//!
//! Each figure has a VM of its own, with interrupt chips in the kernel, as every monitor has them. The guest does
//! the same thing over and over ([`code`]); the monitor does as little as it can ([`guest::Guest::round`]). What is
//! reported is an operation's share of all instructions, the guest's loop subtracted.

#![expect(unsafe_code)]
// UNSAFETY: a guest's memory is mapped and written by address.

mod code;
mod guest;

use std::error::Error;
use std::process::ExitCode;

use kvm_ioctls::{IoEventAddress, NoDatamatch};
use stopwatch::{measure_above, timed};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use code::Loop;
use guest::{Guest, MEMORY};

/// What everything returns here.
type Outcome = Result<(), Box<dyn Error>>;

/// Measures one figure.
type Measure = fn() -> Outcome;

/// A device's address: no memory, and no chip of the kernel's.
const DEVICE: u64 = 0xD000_0000;
/// The registers of the local APIC.
const LOCAL_APIC: u64 = 0xFEE0_0000;
/// How often the guest does it in a round.
const TIMES: u32 = 1000;
/// How many pages it touches in a round; there are fresh ones for all rounds.
const PAGES: u32 = 256;

fn main() -> ExitCode {
    let all: [(&str, Measure); 10] = [
        ("exit.cpuid", || simple("exit.cpuid", &code::CPUID, 0)),
        ("exit.out", || simple("exit.out", &code::OUT, 0)),
        ("exit.in", || simple("exit.in", &code::IN, 0)),
        ("exit.mmio_write", || {
            simple("exit.mmio_write", &code::STORE, DEVICE)
        }),
        ("exit.mmio_read", || {
            simple("exit.mmio_read", &code::LOAD, DEVICE)
        }),
        ("exit.ioeventfd", ioeventfd),
        ("exit.lapic_read", || {
            simple("exit.lapic_read", &code::APIC_READ, LOCAL_APIC)
        }),
        ("exit.self_ipi", self_ipi),
        ("fault.4k_present", || faults("fault.4k_present", true)),
        ("fault.4k_absent", || faults("fault.4k_absent", false)),
    ];
    let mut status = ExitCode::SUCCESS;
    for (name, figure) in all {
        // One that fails costs its own figure.
        if let Err(error) = figure() {
            eprintln!("bench_exits: {name}: {error}");
            status = ExitCode::FAILURE;
        }
    }
    status
}

/// The loop alone is the figure.
fn simple(name: &str, what: &Loop, address: u64) -> Outcome {
    let mut guest = Guest::new(what, TIMES, address)?;
    rounds(name, what, TIMES, &mut guest)
}

fn rounds(name: &str, what: &Loop, times: u32, guest: &mut Guest) -> Outcome {
    measure_above(name, u64::from(times), what.overhead, || {
        timed(|| guest.round())
    })
}

/// A port whose writes signal an event; nobody waits, and each round begins with none pending.
fn ioeventfd() -> Outcome {
    let mut guest = Guest::new(&code::OUT_EVENT, TIMES, 0)?;
    let event = EventFd::new(EFD_NONBLOCK)?;
    let port = IoEventAddress::Pio(u64::from(code::EVENT_PORT));
    guest.vm.register_ioevent(&event, &port, NoDatamatch)?;
    measure_above(
        "exit.ioeventfd",
        u64::from(TIMES),
        code::OUT_EVENT.overhead,
        || {
            let taken = timed(|| guest.round())?;
            match event.read()? {
                count if count == u64::from(TIMES) => Ok(taken),
                count => Err(format!("{count} events instead of {TIMES}").into()),
            }
        },
    )
}

/// The guest interrupts itself; its handler counts.
fn self_ipi() -> Outcome {
    let mut guest = Guest::new(&code::SELF_IPI, TIMES, LOCAL_APIC)?;
    rounds("exit.self_ipi", &code::SELF_IPI, TIMES, &mut guest)?;
    let handled = guest.vcpu.get_regs()?.r9;
    // Every round runs; the warm-up too.
    if handled == 0 || handled % u64::from(TIMES) != 0 {
        return Err(format!("{handled} interrupts were handled").into());
    }
    Ok(())
}

/// The guest touches pages for the first time, which the monitor has touched before or not.
fn faults(name: &str, is_present: bool) -> Outcome {
    let first = 4 << 20;
    let mut guest = Guest::new(&code::TOUCH, PAGES, first)?;
    if is_present {
        guest.touch(first..MEMORY);
    }
    rounds(name, &code::TOUCH, PAGES, &mut guest)
}
