//! The frame of a signal handler on the program's stack, as the x86-64 ABI and
//! C libraries know it: return address, `ucontext`, `siginfo`, and above them
//! the extended register state.

use crate::{Context, Result};
use abi::Errno;
use abi::signal::{
    AltStack, SA_ONSTACK, SA_RESTORER, SIGINFO_SIZE, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK,
    SigAction, SigInfo, SignalSet,
};
use alloc::vec;
use alloc::vec::Vec;
use hal::user_context::UserRegs;

/// Offsets in the frame.
const UCONTEXT: usize = 8;
const UC_FLAGS: usize = UCONTEXT;
const UC_STACK: usize = UCONTEXT + 16;
const UC_REGS: usize = UCONTEXT + 40;
const UC_FPSTATE: usize = UC_REGS + 184;
const UC_MASK: usize = UC_REGS + 256;
const SIGINFO: usize = UC_MASK + 8;
const FRAME: usize = SIGINFO + SIGINFO_SIZE;
/// `UC_FP_XSTATE`, `UC_SIGCONTEXT_SS` and `UC_STRICT_RESTORE_SS`.
const FLAGS: u64 = 1 | 2 | 4;
/// Bytes below the stack pointer that belong to the interrupted function.
const RED_ZONE: u64 = 128;
/// Where an XSAVE image in a frame describes itself, and how.
const SOFTWARE_BYTES: usize = 464;
const XSTATE_MAGIC1: u32 = 0x4650_5853;
const XSTATE_MAGIC2: u32 = 0x4650_5845;
/// Offset of trap number, error code, mask and CR2 behind the registers.
const UC_TRAP: usize = UC_REGS + 152;

/// The order of the registers in `sigcontext`, RIP and flags among them.
fn registers(regs: &mut UserRegs) -> [&mut u64; 17] {
    [
        &mut regs.r8,
        &mut regs.r9,
        &mut regs.r10,
        &mut regs.r11,
        &mut regs.r12,
        &mut regs.r13,
        &mut regs.r14,
        &mut regs.r15,
        &mut regs.rdi,
        &mut regs.rsi,
        &mut regs.rbp,
        &mut regs.rbx,
        &mut regs.rdx,
        &mut regs.rax,
        &mut regs.rcx,
        &mut regs.rsp,
        &mut regs.rip,
    ]
}

/// Builds the frame for `action`'s handler and points the registers at it;
/// `mask` is what will be blocked again afterwards.
pub(super) fn push(
    context: &mut Context<'_>,
    info: &SigInfo,
    action: &SigAction,
    mask: SignalSet,
) -> Result<()> {
    if action.flags & SA_RESTORER == 0 {
        return Err(Errno::EFAULT);
    }
    let alt_stack = context.thread().alt_stack();
    let regs = *context.user.regs();
    let on_alt = is_on(&alt_stack, regs.rsp);
    let top = if action.flags & SA_ONSTACK != 0 && alt_stack.flags & SS_DISABLE == 0 && !on_alt {
        alt_stack.base.wrapping_add(alt_stack.size)
    } else {
        regs.rsp.wrapping_sub(RED_ZONE)
    };
    let state = extended_state(context);
    let state_at = top.wrapping_sub(state.len() as u64) & !63;
    // At the handler's entry RSP is 8 below a multiple of 16, as after a call.
    let frame_at = (state_at.wrapping_sub(FRAME as u64) & !15).wrapping_sub(8);
    let mut shown = alt_stack;
    shown.flags |= if on_alt { SS_ONSTACK } else { 0 };
    let frame = build(context, info, action, mask, &shown, state_at);
    context.space().write(state_at, &state)?;
    context.space().write(frame_at, &frame)?;
    if alt_stack.flags & SS_AUTODISARM != 0 {
        context.thread().set_alt_stack(AltStack::default());
    }
    let regs = context.user.regs_mut();
    regs.rip = action.handler;
    regs.rsp = frame_at;
    regs.rdi = u64::from(info.signal);
    regs.rsi = frame_at + SIGINFO as u64;
    regs.rdx = frame_at + UCONTEXT as u64;
    regs.rax = 0;
    regs.set_rflags(0);
    regs.restore_fully();
    Ok(())
}

fn build(
    context: &Context<'_>,
    info: &SigInfo,
    action: &SigAction,
    mask: SignalSet,
    alt_stack: &AltStack,
    state_at: u64,
) -> Vec<u8> {
    let mut frame = vec![0; FRAME];
    let mut put = |at: usize, value: u64| frame[at..at + 8].copy_from_slice(&value.to_le_bytes());
    let mut regs = *context.user.regs();
    let flags = regs.rflags();
    put(0, action.restorer);
    put(UC_FLAGS, FLAGS);
    for (index, value) in registers(&mut regs).into_iter().enumerate() {
        put(UC_REGS + index * 8, *value);
    }
    put(UC_REGS + 136, flags);
    // CS, GS, FS, SS as 16-bit values.
    put(UC_REGS + 144, 0x33 | 0x2b << 48);
    let (vector, error, address) = context.last_fault;
    put(UC_TRAP, u64::from(error));
    put(UC_TRAP + 8, u64::from(vector));
    put(UC_TRAP + 16, mask.0);
    put(UC_TRAP + 24, address);
    put(UC_FPSTATE, state_at);
    put(UC_MASK, mask.0);
    frame[UC_STACK..UC_STACK + 24].copy_from_slice(&alt_stack.to_bytes());
    frame[SIGINFO..].copy_from_slice(&info.to_bytes());
    frame
}

/// The register state with the marks by which programs know its extent.
fn extended_state(context: &Context<'_>) -> Vec<u8> {
    let size = hal::fpu::size();
    let mut bytes = vec![0; size + 4];
    context.thread().fpu.read(&mut bytes[..size]);
    let components = hal::fpu::components();
    let mut put = |at: usize, value: u32| bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(SOFTWARE_BYTES, XSTATE_MAGIC1);
    put(SOFTWARE_BYTES + 4, size as u32 + 4);
    put(SOFTWARE_BYTES + 8, components as u32);
    put(SOFTWARE_BYTES + 12, (components >> 32) as u32);
    put(SOFTWARE_BYTES + 16, size as u32);
    put(size, XSTATE_MAGIC2);
    bytes
}

fn is_on(stack: &AltStack, rsp: u64) -> bool {
    stack.flags & SS_DISABLE == 0 && rsp > stack.base && rsp - stack.base <= stack.size
}

/// Takes the registers back from the frame (rt_sigreturn(2)); returns RAX.
pub fn return_from_handler(context: &mut Context<'_>) -> Result<u64> {
    // The handler's return has popped the return address.
    let frame_at = context.user.regs().rsp.wrapping_sub(8);
    let mut frame = vec![0; SIGINFO];
    context.space().read(frame_at, &mut frame)?;
    let get = |at: usize| u64::from_le_bytes(core::array::from_fn(|index| frame[at + index]));
    let state_at = get(UC_FPSTATE);
    if state_at != 0 {
        restore_state(context, state_at)?;
    }
    let regs = context.user.regs_mut();
    for (index, value) in registers(regs).into_iter().enumerate() {
        *value = get(UC_REGS + index * 8);
    }
    regs.set_rflags(get(UC_REGS + 136));
    regs.restore_fully();
    let rax = regs.rax;
    let stack: [u8; 24] = core::array::from_fn(|index| frame[UC_STACK + index]);
    let mut stack = AltStack::from_bytes(&stack);
    stack.flags &= !SS_ONSTACK;
    context.thread().set_alt_stack(stack);
    context.thread().set_blocked(SignalSet(get(UC_MASK)));
    Ok(rax)
}

fn restore_state(context: &Context<'_>, at: u64) -> Result<()> {
    let mut bytes = vec![0; hal::fpu::size()];
    context.space().read(at, &mut bytes)?;
    // What software keeps in the image is reserved to the processor.
    bytes[SOFTWARE_BYTES..512].fill(0);
    context
        .thread()
        .fpu
        .write(&bytes)
        .map_err(|_| Errno::EFAULT)
}
