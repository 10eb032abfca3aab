//! The local interrupt controller of each CPU and the I/O interrupt controller
//! (APM 2, chapter 16; Intel 82093AA data sheet).

use crate::boot::BootInfo;
use crate::cpu::this_cpu;
use crate::irq::{SPURIOUS, TIMER};
use crate::mem::DeviceMemory;
use crate::registers::{APIC_BASE, rdmsr, wrmsr};
use crate::{port, smp, time};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use sync::{Once, SpinLock};

const ID: usize = 0x20;
const TASK_PRIORITY: usize = 0x80;
const END_OF_INTERRUPT: usize = 0xb0;
const SPURIOUS_VECTOR: usize = 0xf0;
const COMMAND_LOW: usize = 0x300;
const COMMAND_HIGH: usize = 0x310;
const LVT_TIMER: usize = 0x320;
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
const LVT_ERROR: usize = 0x370;
const TIMER_INITIAL: usize = 0x380;
const TIMER_CURRENT: usize = 0x390;
const TIMER_DIVIDE: usize = 0x3e0;

const MASKED: u32 = 1 << 16;
const DELIVERY_PENDING: u32 = 1 << 12;
const DELIVERY_NMI: u32 = 4 << 8;
const DELIVERY_INIT: u32 = 5 << 8;
const DELIVERY_STARTUP: u32 = 6 << 8;
const ASSERT: u32 = 1 << 14;
const ALL_OTHERS: u32 = 3 << 18;

/// Bits of the base register: on, and in x2APIC mode.
const ENABLE: u64 = 1 << 11;
const X2: u64 = 1 << 10;

static REGISTERS: Once<DeviceMemory> = Once::new();
static IS_X2: AtomicBool = AtomicBool::new(false);
static IO: SpinLock<Option<IoApic>> = SpinLock::new(None);

fn read(register: usize) -> u32 {
    if IS_X2.load(Ordering::Relaxed) {
        // SAFETY: the APIC is in x2APIC mode, where these registers exist.
        return unsafe { rdmsr(0x800 + (register as u32 >> 4)) as u32 };
    }
    registers().read_u32(register)
}

#[inline]
fn write(register: usize, value: u32) {
    if IS_X2.load(Ordering::Relaxed) {
        // SAFETY: as `read`; callers write defined values.
        unsafe { wrmsr(0x800 + (register as u32 >> 4), u64::from(value)) }
    } else {
        registers().write_u32(register, value);
    }
}

#[inline]
fn registers() -> &'static DeviceMemory {
    REGISTERS.get().expect("invariant: mapped at boot")
}

/// Sets up the first CPU's controller, quiets the old ones, starts the clock.
pub(crate) fn init_first(_info: &BootInfo) {
    // SAFETY: every 64-bit CPU has the register.
    let base = unsafe { rdmsr(APIC_BASE) };
    IS_X2.store(base & X2 != 0, Ordering::Relaxed);
    let memory = DeviceMemory::map(base & 0x000f_ffff_ffff_f000, 0x1000);
    let _ = REGISTERS.set(memory.expect("invariant: the APIC page is no memory"));
    mask_8259();
    init_cpu();
    this_cpu().apic_id.store(id(), Ordering::Relaxed);
    time::begin();
}

/// Sets up this CPU's controller, in the mode that the first CPU's is in.
pub(crate) fn init_cpu() {
    // SAFETY: every 64-bit CPU has the register, and the mode is one that this
    // kind of CPU was found in.
    unsafe {
        let base = rdmsr(APIC_BASE) | ENABLE;
        wrmsr(
            APIC_BASE,
            if IS_X2.load(Ordering::Relaxed) {
                base | X2
            } else {
                base
            },
        );
    }
    // First, as lines cannot be unmasked before.
    write(SPURIOUS_VECTOR, 1 << 8 | u32::from(SPURIOUS));
    write(TASK_PRIORITY, 0);
    write(LVT_TIMER, MASKED);
    write(LVT_LINT0, MASKED);
    write(LVT_LINT1, DELIVERY_NMI);
    write(LVT_ERROR, MASKED);
    write(TIMER_DIVIDE, 0b1011);
}

/// Moves the two 8259A out of the exceptions' way and masks all of their lines.
fn mask_8259() {
    for (command, data, base) in [(0x20, 0x21, 0x20), (0xa0, 0xa1, 0x28)] {
        port::out8(command, 0x11);
        port::out8(data, base);
        port::out8(data, if command == 0x20 { 4 } else { 2 });
        port::out8(data, 1);
        port::out8(data, 0xff);
    }
}

/// This CPU's APIC id.
pub(crate) fn id() -> u32 {
    let value = read(ID);
    if IS_X2.load(Ordering::Relaxed) {
        value
    } else {
        value >> 24
    }
}

/// Tells the controller that the interrupt is dealt with.
#[inline]
pub(crate) fn end_of_interrupt() {
    write(END_OF_INTERRUPT, 0);
}

fn command(apic_id: u32, low: u32) {
    if IS_X2.load(Ordering::Relaxed) {
        // What was stored before the message is seen by who gets it: this write
        // alone does not wait for stores.
        // SAFETY: as `write`.
        return unsafe {
            asm!("mfence", "lfence", options(nostack, preserves_flags));
            wrmsr(0x830, u64::from(apic_id) << 32 | u64::from(low));
        };
    }
    while read(COMMAND_LOW) & DELIVERY_PENDING != 0 {
        core::hint::spin_loop();
    }
    write(COMMAND_HIGH, apic_id << 24);
    write(COMMAND_LOW, low);
}

/// Sends `vector` to one CPU.
pub(crate) fn send_ipi(apic_id: u32, vector: u8) {
    command(apic_id, ASSERT | u32::from(vector));
}

/// Sends an NMI to every other CPU.
pub(crate) fn send_nmi_to_others() {
    command(0, ASSERT | ALL_OTHERS | DELIVERY_NMI);
}

/// Resets a CPU that has not been started, to wait for [`send_startup`].
pub(crate) fn send_init(apic_id: u32) {
    command(apic_id, ASSERT | DELIVERY_INIT);
}

/// Starts a CPU at physical page `page`.
pub(crate) fn send_startup(apic_id: u32, page: u8) {
    command(apic_id, ASSERT | DELIVERY_STARTUP | u32::from(page));
}

/// Starts this CPU's timer, to ring once after `ticks` (0: never).
pub(crate) fn start_timer(ticks: u32) {
    write(LVT_TIMER, u32::from(TIMER));
    write(TIMER_INITIAL, ticks);
}

/// Ticks left of the timer.
pub(crate) fn timer_left() -> u32 {
    read(TIMER_CURRENT)
}

/// Starts the other CPUs of the machine, one after the other; `main` is what
/// each runs. Returns how many run then.
pub fn start_cpus(apic_ids: impl Iterator<Item = u32>, main: fn() -> !) -> usize {
    let own = id();
    apic_ids
        .filter(|&id| id != own)
        .for_each(|id| smp::start(id, main));
    crate::cpu::count()
}

struct IoApic {
    registers: DeviceMemory,
    first: u32,
    count: u32,
}

/// Takes the I/O interrupt controller at `address`, whose first line is global
/// interrupt `first`; all lines begin masked.
pub fn init_io_apic(address: u64, first: u32) {
    let Some(registers) = DeviceMemory::map(address, 0x20) else {
        return;
    };
    registers.write_u32(0, 1);
    let count = (registers.read_u32(0x10) >> 16 & 0xff) + 1;
    let io = IoApic {
        registers,
        first,
        count,
    };
    (0..count).for_each(|line| io.set(line, u64::from(MASKED)));
    let mut slot = IO.lock();
    // The first controller has the ISA lines, which is all that is routed here;
    // PCI devices signal by message.
    if slot.is_none() {
        *slot = Some(io);
    }
}

impl IoApic {
    fn set(&self, line: u32, entry: u64) {
        self.registers.write_u32(0, 0x11 + 2 * line);
        self.registers.write_u32(0x10, (entry >> 32) as u32);
        self.registers.write_u32(0, 0x10 + 2 * line);
        self.registers.write_u32(0x10, entry as u32);
    }
}

/// Sends global interrupt `gsi` to the first CPU as `vector`. False where no
/// controller has that line.
pub fn route(gsi: u32, vector: u8, is_level: bool, is_active_low: bool) -> bool {
    let io = IO.lock();
    let Some(io) = io.as_ref() else { return false };
    let Some(line) = gsi.checked_sub(io.first).filter(|&line| line < io.count) else {
        return false;
    };
    let target = crate::cpu::block(0).map_or(0, |block| block.apic_id.load(Ordering::Relaxed));
    let entry = u64::from(vector)
        | u64::from(is_active_low) << 13
        | u64::from(is_level) << 15
        | u64::from(target) << 56;
    io.set(line, entry);
    true
}
