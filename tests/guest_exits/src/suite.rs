//! The guests that are run, one after another.

use crate::guest::{Guest, Setup};
use crate::{code, say};
use abi::kvm::exit;
use abi::kvm_vm::IoEventFd;
use alloc::boxed::Box;
use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU64, Ordering};
use kvm::platform::{EventFile, Ring};

const LAPIC: u64 = 0xFEE0_0000;
const NOWHERE: u64 = 0xD000_0000;
const TURNS: u64 = 1000;

struct Handlers;

impl hal::irq::Handlers for Handlers {
    fn timer(&self) {
        sched::handle_timer();
    }
    fn device(&self, _vector: u8) {}
}

/// The kernel's main.
pub fn main(info: hal::boot::BootInfo) -> ! {
    let only = info.command_line;
    hal::irq::set_handlers(&Handlers);
    sched::init();
    match kvm::machine::prepare_cpu() {
        Ok(features) => say!("SVM: {features:x?}"),
        Err(reason) => {
            say!("no VMs: {reason}");
            hal::power::verdict(0x13);
        }
    }
    let thread = sched::Builder::new("guests").build(move || match all(only) {
        Ok(()) => {
            say!("all guests did what they should");
            hal::power::verdict(0x10)
        }
        Err(errno) => panic!("a request failed: {errno}"),
    });
    match thread {
        Ok(thread) => thread.start(),
        Err(_) => panic!("no memory for a thread"),
    }
    sched::run_cpu()
}

/// Everything, or the one measurement that the command line names.
fn all(only: &str) -> Setup<()> {
    if only.is_empty() {
        first_steps()?;
        shutdown()?;
        halts()?;
        emulates()?;
        follows_the_address_space()?;
    }
    let chosen = |name: &str| only.is_empty() || name == only;
    for (name, code, address, with_chips) in IN_KERNEL {
        if chosen(name) {
            measure(name, code, address, with_chips)?;
        }
    }
    for (name, code, address, wanted) in TO_MONITOR {
        if chosen(name) {
            to_monitor(name, code, address, wanted)?;
        }
    }
    if chosen("exit.ioeventfd") {
        ioeventfd()?;
    }
    if chosen("exit.self_ipi") {
        self_ipi()?;
    }
    if chosen("faults") {
        faults()?;
    }
    Ok(())
}

/// Name, code, address, with interrupt controllers.
const IN_KERNEL: [(&str, &[u8], u64, bool); 3] = [
    ("loop", code::EMPTY, 0, false),
    ("exit.cpuid", code::CPUID, 0, false),
    ("exit.lapic_read", code::LAPIC_READ, LAPIC, true),
];

/// Name, code, address, exit reason. Only the kernel's part: no system call.
const TO_MONITOR: [(&str, &[u8], u64, u32); 4] = [
    ("exit.out.kernel", code::OUT, 0, exit::IO),
    ("exit.in.kernel", code::IN, 0, exit::IO),
    ("exit.mmio_write.kernel", code::STORE, NOWHERE, exit::MMIO),
    ("exit.mmio_read.kernel", code::LOAD, NOWHERE, exit::MMIO),
];

/// The verdict's words.
fn expect(what: &str, found: u64, wanted: u64) {
    assert!(found == wanted, "{what}: {found:#x}, not {wanted:#x}");
}

fn first_steps() -> Setup<()> {
    let mut guest = Guest::new(code::OUT, false)?;
    guest.set(2, 0);
    expect("exit", u64::from(guest.run()?), u64::from(exit::IO));
    expect(
        "direction, size, port, count",
        guest.record(0),
        1 << 32 | 0x20 << 16 | 1 << 8 | 1,
    );
    expect("exit", u64::from(guest.run()?), u64::from(exit::IO));
    expect("exit", u64::from(guest.run()?), u64::from(exit::IO));
    expect("port", guest.record(0) >> 16 & 0xFFFF, 0x10);
    expect(
        "rip",
        guest.vcpu.regs().rip,
        crate::guest::CODE + code::OUT.len() as u64,
    );
    let mut guest = Guest::new(code::RDMSR, true)?;
    expect("exit", u64::from(guest.run()?), u64::from(exit::IO));
    expect("APIC base", guest.vcpu.regs().rax, LAPIC | 1 << 11 | 1 << 8);
    say!("ok: ports, MSRs");
    Ok(())
}

fn shutdown() -> Setup<()> {
    let mut guest = Guest::new(code::UD2, false)?;
    let mut sregs = guest.vcpu.sregs();
    sregs.idt.limit = 0;
    guest.vcpu.set_sregs(&sregs)?;
    expect("exit", u64::from(guest.run()?), u64::from(exit::SHUTDOWN));
    say!("ok: triple fault");
    Ok(())
}

fn halts() -> Setup<()> {
    let mut guest = Guest::new(code::HALT, false)?;
    expect("exit", u64::from(guest.run()?), u64::from(exit::HLT));
    say!("ok: HLT");
    Ok(())
}

fn emulates() -> Setup<()> {
    let mut guest = Guest::new(code::OR, false)?;
    guest.set(1, NOWHERE);
    expect("exit", u64::from(guest.run()?), u64::from(exit::MMIO));
    expect("address", guest.record(0), NOWHERE);
    expect("is a read of", guest.record(16), 4);
    if let Some(page) = guest.vcpu.page().frame(0) {
        page.write_u64(abi::kvm_run::offset::MMIO_DATA, 0x40);
    }
    expect("exit", u64::from(guest.run()?), u64::from(exit::MMIO));
    expect("is a write of", guest.record(16), 1 << 32 | 4);
    expect("data", guest.record(8), 0x41);
    expect("exit", u64::from(guest.run()?), u64::from(exit::IO));
    say!("ok: read-modify-write of a device");
    Ok(())
}

/// Exits that the kernel handles: cost of one turn of the guest's loop.
fn measure(name: &str, code: &[u8], address: u64, with_chips: bool) -> Setup<()> {
    let mut guest = Guest::new(code, with_chips)?;
    guest.set(TURNS, address);
    let start = hal::time::tsc();
    let reason = guest.run()?;
    let ticks = hal::time::tsc() - start;
    expect(name, u64::from(reason), u64::from(exit::IO));
    say!("{name}: {}", ticks / TURNS);
    Ok(())
}

/// Exits to the monitor: cost of one KVM_RUN, without the system call.
fn to_monitor(name: &str, code: &[u8], address: u64, wanted: u32) -> Setup<()> {
    let mut guest = Guest::new(code, false)?;
    guest.set(TURNS, address);
    guest.run()?;
    let start = hal::time::tsc();
    for _ in 1..TURNS {
        let reason = guest.run()?;
        if reason != wanted {
            panic!("{name}: exit {reason}");
        }
    }
    say!("{name}: {}", (hal::time::tsc() - start) / (TURNS - 1));
    Ok(())
}

struct Event(AtomicU64);

impl EventFile for Event {
    fn signal(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn consume(&self) -> bool {
        self.0.swap(0, Ordering::Relaxed) != 0
    }
    fn subscribe(&self, observer: Weak<dyn Ring>) -> Box<dyn Send + Sync> {
        Box::new(observer)
    }
    fn identity(&self) -> u64 {
        1
    }
}

fn ioeventfd() -> Setup<()> {
    let mut guest = Guest::new(code::OUT, false)?;
    let event = Arc::new(Event(AtomicU64::new(0)));
    let tie = IoEventFd {
        datamatch: 0,
        addr: 0x20,
        len: 1,
        fd: 0,
        flags: IoEventFd::PIO,
        pad: [0; 36],
    };
    guest.vm.tie(&tie, event.clone())?;
    guest.set(TURNS, 0);
    let start = hal::time::tsc();
    guest.run()?;
    let ticks = hal::time::tsc() - start;
    expect("signals", event.0.load(Ordering::Relaxed), TURNS);
    say!("exit.ioeventfd: {}", ticks / TURNS);
    Ok(())
}

fn self_ipi() -> Setup<()> {
    let mut guest = Guest::new(code::SELF_IPI, true)?;
    let mut regs = guest.vcpu.regs();
    // Fixed, to self, vector 40h.
    regs.rsi = 1 << 18 | 1 << 14 | 0x40;
    regs.r8 = TURNS;
    regs.rdi = LAPIC;
    guest.vcpu.set_regs(&regs);
    let mut state = guest.vcpu.lapic_state()?;
    // The spurious-vector register: software enable.
    state.regs[0xF0..0xF4].copy_from_slice(&0x1FF_u32.to_le_bytes());
    guest.vcpu.set_lapic_state(&state)?;
    let start = hal::time::tsc();
    let reason = guest.run()?;
    let ticks = hal::time::tsc() - start;
    expect("exit", u64::from(reason), u64::from(exit::IO));
    expect("interrupts", guest.vcpu.regs().r9, TURNS);
    say!("exit.self_ipi: {}", ticks / TURNS);
    Ok(())
}

fn faults() -> Setup<()> {
    let mut guest = Guest::new(code::TOUCH, false)?;
    const FIRST: u64 = 0x10_0000;
    guest.set(TURNS, FIRST);
    let start = hal::time::tsc();
    guest.run()?;
    say!("fault.4k_absent: {}", (hal::time::tsc() - start) / TURNS);
    // The pages stay in the address space, the nested entries go.
    guest
        .vm
        .memory
        .invalidate(guest.memory..guest.memory + crate::guest::SIZE);
    let mut regs = guest.vcpu.regs();
    (regs.rip, regs.r8, regs.rdi) = (crate::guest::CODE, TURNS, FIRST);
    guest.vcpu.set_regs(&regs);
    let start = hal::time::tsc();
    guest.run()?;
    say!("fault.4k_present: {}", (hal::time::tsc() - start) / TURNS);
    Ok(())
}

/// A page that the monitor gives back is gone for the guest too.
fn follows_the_address_space() -> Setup<()> {
    let mut guest = Guest::new(code::TOUCH, false)?;
    let mut regs = guest.vcpu.regs();
    (regs.r8, regs.rdi, regs.rax) = (1, 0x10_0000, 0x5A);
    guest.vcpu.set_regs(&regs);
    guest.run()?;
    let mut byte = [0];
    guest.vm.memory.read(0x10_0000, &mut byte)?;
    expect("byte", u64::from(byte[0]), 0x5A);
    guest.space.munmap(guest.memory + 0x10_0000, 0x1000)?;
    let gone = guest.vm.memory.read(0x10_0000, &mut byte);
    assert!(
        gone.is_err(),
        "the guest still reaches a page that was unmapped"
    );
    let mut regs = guest.vcpu.regs();
    (regs.rip, regs.r8, regs.rdi) = (crate::guest::CODE, 1, 0x10_0000);
    guest.vcpu.set_regs(&regs);
    let refused = guest.run();
    assert!(
        refused == Err(abi::Errno::EFAULT),
        "a write to an unmapped page: {refused:?}"
    );
    say!("ok: the guest's memory follows the address space");
    Ok(())
}
