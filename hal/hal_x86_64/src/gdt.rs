//! Segments and task state: one table per CPU (APM 2, chapter 4 and 12).

use core::arch::asm;

/// Selectors, in the order that SYSCALL and SYSRET demand (APM 2, 6.1.1).
pub(crate) const KERNEL_CODE: u16 = 0x08;
pub(crate) const KERNEL_DATA: u16 = 0x10;
pub(crate) const USER_DATA: u16 = 0x1b;
pub(crate) const USER_CODE: u16 = 0x23;
const TASK_STATE: u16 = 0x28;

/// Number of interrupt stacks in use.
pub(crate) const INTERRUPT_STACKS: usize = 4;
const INTERRUPT_STACK_SIZE: usize = 8192;

/// The 64-bit task state segment; `rsp0` is where a trap from ring 3 pushes.
#[repr(C, packed(4))]
pub(crate) struct TaskState {
    reserved0: u32,
    pub(crate) rsp0: u64,
    rsp1: u64,
    rsp2: u64,
    reserved1: u64,
    ist: [u64; 7],
    reserved2: u64,
    reserved3: u16,
    io_map: u16,
}

impl TaskState {
    pub(crate) const fn new() -> Self {
        Self {
            reserved0: 0,
            rsp0: 0,
            rsp1: 0,
            rsp2: 0,
            reserved1: 0,
            ist: [0; 7],
            reserved2: 0,
            reserved3: 0,
            io_map: size_of::<Self>() as u16,
        }
    }
}

#[repr(C, align(16))]
pub(crate) struct InterruptStack([u8; INTERRUPT_STACK_SIZE]);

impl InterruptStack {
    pub(crate) const fn new() -> Self {
        Self([0; INTERRUPT_STACK_SIZE])
    }
}

/// The descriptors of one CPU.
#[repr(C, align(16))]
pub(crate) struct Gdt([u64; 7]);

impl Gdt {
    pub(crate) const fn new() -> Self {
        Self([
            0,
            0x00af_9a00_0000_ffff,
            0x00cf_9200_0000_ffff,
            0x00cf_f200_0000_ffff,
            0x00af_fa00_0000_ffff,
            0,
            0,
        ])
    }

    fn set_task_state(&mut self, base: u64) {
        let limit = size_of::<TaskState>() as u64 - 1;
        self.0[5] = limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        self.0[6] = base >> 32;
    }
}

#[repr(C, packed)]
pub(crate) struct TablePointer {
    pub(crate) limit: u16,
    pub(crate) base: u64,
}

/// Loads this CPU's descriptors, segments and task state; no local descriptors.
/// `block`, the CPU's own, goes above each interrupt stack for entries that cannot
/// tell it from GS.
///
/// # Safety
/// All three live as long as the CPU runs and are used by no other CPU.
pub(crate) unsafe fn load(
    gdt: *mut Gdt,
    state: *mut TaskState,
    stacks: *mut [InterruptStack; INTERRUPT_STACKS],
    block: u64,
) {
    // SAFETY: the caller gives this CPU's own objects.
    unsafe {
        for index in 0..INTERRUPT_STACKS {
            // Two words, as the CPU aligns what it pushes to 16 bytes.
            let stack = (&raw mut (*stacks)[index]) as u64 + INTERRUPT_STACK_SIZE as u64 - 16;
            (stack as *mut u64).write(block);
            (&raw mut (*state).ist[index]).write_unaligned(stack);
        }
        (*gdt).set_task_state(state as u64);
        let pointer = TablePointer {
            limit: size_of::<Gdt>() as u16 - 1,
            base: gdt as u64,
        };
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:e}", "mov es, {data:e}", "mov ss, {data:e}",
            "xor {scratch:e}, {scratch:e}",
            "mov fs, {scratch:e}", "mov gs, {scratch:e}",
            "ltr {task:x}",
            // After a reset it has a table at address 0, which is a program's.
            "lldt {scratch:x}",
            pointer = in(reg) &pointer,
            code = in(reg) u64::from(KERNEL_CODE),
            data = in(reg) u64::from(KERNEL_DATA),
            task = in(reg) u64::from(TASK_STATE),
            scratch = out(reg) _,
        );
    }
}
