//! The edge to QEMU: what it calls, and what is called of it. Declared after its plugin interface, version 1.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::AtomicU64;
use std::sync::{MutexGuard, PoisonError};

use crate::kind::VMRUN;
use crate::{ALL, BY_KIND, COUNTING, Counting, Kind};

/// QEMU's translation block and instruction: only passed back.
type Block = *mut c_void;
type Instruction = *mut c_void;
type Callback = extern "C" fn(c_uint, *mut c_void);

/// The callback touches no registers of the guest.
const NO_REGISTERS: c_int = 0;
/// Add to a 64-bit number.
const ADD: c_int = 0;

// SAFETY: the signatures are those of QEMU's interface, version 1; QEMU, which loads this, has them all.
unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, callback: extern "C" fn(u64, Block));
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        instruction: Instruction,
        callback: Callback,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_insn_exec_inline(
        instruction: Instruction,
        operation: c_int,
        number: *mut c_void,
        operand: u64,
    );
    fn qemu_plugin_tb_n_insns(block: Block) -> usize;
    fn qemu_plugin_tb_get_insn(block: Block, index: usize) -> Instruction;
    fn qemu_plugin_insn_data(instruction: Instruction) -> *const c_void;
    fn qemu_plugin_insn_size(instruction: Instruction) -> usize;
    fn qemu_plugin_insn_vaddr(instruction: Instruction) -> u64;
}

/// The version of the interface; QEMU looks for it.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "QEMU looks for this name")]
pub static qemu_plugin_version: c_int = 1;

/// QEMU's first call.
///
/// # Safety
/// `words` must point to `count` strings, as QEMU's do.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _machine: *const c_void,
    count: c_int,
    words: *const *const c_char,
) -> c_int {
    let mut counting = counting();
    for index in 0..usize::try_from(count).unwrap_or(0) {
        // SAFETY: the caller says that there are as many strings, each with its NUL.
        let word = unsafe { CStr::from_ptr(*words.add(index)) };
        if let Err(sentence) = counting.set(&word.to_string_lossy()) {
            eprintln!("op_counter: {sentence}");
            return -1;
        }
    }
    // SAFETY: `id` is this plugin's, and the function lives as long as it is loaded.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

/// A block was translated: its instructions get their counters.
extern "C" fn translated(_id: u64, block: Block) {
    let mut counting = counting();
    // SAFETY: `block` is QEMU's, for the time of this call, and so is all that is taken from it; no index is
    // beyond the number of instructions.
    unsafe {
        for index in 0..qemu_plugin_tb_n_insns(block) {
            let instruction = qemu_plugin_tb_get_insn(block, index);
            let data = qemu_plugin_insn_data(instruction).cast::<u8>();
            let bytes = std::slice::from_raw_parts(data, qemu_plugin_insn_size(instruction));
            let address = qemu_plugin_insn_vaddr(instruction);
            count(&mut counting, instruction, bytes, address);
        }
    }
}

/// # Safety
/// `instruction` must be one of the block that is being translated.
unsafe fn count(counting: &mut Counting, instruction: Instruction, bytes: &[u8], address: u64) {
    let call = |callback: Callback| {
        let data = std::ptr::null_mut();
        // SAFETY: the instruction is the caller's, the function lives as long as the plugin.
        unsafe { qemu_plugin_register_vcpu_insn_exec_cb(instruction, callback, NO_REGISTERS, data) }
    };
    let add = |counter: &'static AtomicU64| {
        let number = counter.as_ptr().cast();
        // SAFETY: the instruction is the caller's; counters are never freed.
        unsafe { qemu_plugin_register_vcpu_insn_exec_inline(instruction, ADD, number, 1) }
    };
    match Kind::of(bytes) {
        Some(Kind::Begin) => call(begin),
        Some(Kind::End) => call(end),
        Some(Kind::Publish) => call(publish),
        Some(Kind::Counted(index)) => add(&BY_KIND[index]),
        None => {}
    }
    if counting.entry == Some(address) {
        call(started);
    }
    if counting.counts_all {
        if Kind::of(bytes) == Some(VMRUN) {
            counting.returns.insert(address + bytes.len() as u64);
            call(enter);
        }
        if counting.returns.contains(&address) {
            call(leave);
        }
        add(&ALL);
    }
    if counting.by_place {
        add(counting.place(address));
    }
}

extern "C" fn begin(_cpu: c_uint, _data: *mut c_void) {
    counting().begin();
}

extern "C" fn end(_cpu: c_uint, _data: *mut c_void) {
    counting().end();
}

extern "C" fn publish(_cpu: c_uint, _data: *mut c_void) {
    counting().publish();
}

extern "C" fn started(_cpu: c_uint, _data: *mut c_void) {
    counting().started();
}

extern "C" fn enter(_cpu: c_uint, _data: *mut c_void) {
    counting().enter();
}

extern "C" fn leave(_cpu: c_uint, _data: *mut c_void) {
    counting().leave();
}

/// A panic may not cross into QEMU, and none of ours leaves half a state.
fn counting() -> MutexGuard<'static, Counting> {
    COUNTING.lock().unwrap_or_else(PoisonError::into_inner)
}
