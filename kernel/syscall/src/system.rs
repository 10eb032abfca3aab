//! The host as a whole: uname(2), sysinfo(2), getrandom(2), reboot(2), ...

use crate::arguments::write;
use crate::{Args, Context, Result};
use abi::Errno;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use sync::{Once, SpinLock};
use vfs::{FileSystem, UserMemory};

/// Bytes of each name that uname(2) tells.
const NAME_SIZE: usize = 65;
/// The Linux whose interface this is: what C libraries test.
const RELEASE: &[u8] = b"6.1.0-alster";

/// What the kernel's other parts do for these calls.
pub struct SystemHooks {
    /// Fills the bytes with random numbers; `None` where that would block.
    pub random: fn(&mut [u8], block: bool) -> Option<()>,
    /// Turns the machine off.
    pub power_off: fn() -> !,
    /// Resets the machine.
    pub restart: fn() -> !,
    /// The kernel's messages.
    pub messages: fn() -> Vec<u8>,
}

static HOOKS: Once<SystemHooks> = Once::new();
type FileSystems = fn(&[u8]) -> Option<Arc<dyn FileSystem>>;
static FILE_SYSTEMS: Once<FileSystems> = Once::new();
static HOST_NAME: SpinLock<([u8; NAME_SIZE], usize)> = SpinLock::new(initial_name());

const fn initial_name() -> ([u8; NAME_SIZE], usize) {
    let mut name = [0; NAME_SIZE];
    let text = b"alster";
    let mut at = 0;
    while at < text.len() {
        name[at] = text[at];
        at += 1;
    }
    (name, text.len())
}

/// Registers the hooks; once, at boot.
pub fn set_hooks(hooks: SystemHooks) {
    let _ = HOOKS.set(hooks);
}

/// Registers what mount(2) finds file systems with, by their types' names;
/// once, at boot. tmpfs is known without.
pub fn set_file_systems(find: FileSystems) {
    let _ = FILE_SYSTEMS.set(find);
}

/// A file system of type `kind`.
pub(crate) fn file_system(kind: &[u8]) -> Option<Arc<dyn FileSystem>> {
    FILE_SYSTEMS.get()?(kind)
}

fn hooks() -> Result<&'static SystemHooks> {
    HOOKS.get().ok_or(Errno::ENOSYS)
}

/// The release that uname(2) tells.
#[must_use]
pub fn release() -> String {
    String::from_utf8_lossy(RELEASE).into_owned()
}

/// The host's name.
#[must_use]
pub fn host_name() -> String {
    let (name, len) = *HOST_NAME.lock();
    String::from_utf8_lossy(&name[..len]).into_owned()
}

/// Changes the host's name.
///
/// # Errors
/// `EINVAL` where it is longer than 64 bytes.
pub fn set_host_name(name: &str) -> Result<()> {
    if name.len() >= NAME_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; NAME_SIZE];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    *HOST_NAME.lock() = (bytes, name.len());
    Ok(())
}

pub(crate) fn uname(context: &mut Context<'_>, [to, ..]: Args) -> Result<u64> {
    let mut bytes = [0; 6 * NAME_SIZE];
    let (host, len) = *HOST_NAME.lock();
    let version = concat!("Alster ", env!("CARGO_PKG_VERSION")).as_bytes();
    let names: [&[u8]; 6] = [
        b"Linux",
        &host[..len],
        RELEASE,
        version,
        b"x86_64",
        b"(none)",
    ];
    for (field, name) in bytes.chunks_exact_mut(NAME_SIZE).zip(names) {
        field[..name.len()].copy_from_slice(name);
    }
    context.write_user(to, &bytes).map(|()| 0)
}

pub(crate) fn sethostname(context: &mut Context<'_>, [name, len, ..]: Args) -> Result<u64> {
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    if len as usize >= NAME_SIZE {
        return Err(Errno::EINVAL);
    }
    let mut bytes = [0; NAME_SIZE];
    context.read_user(name, &mut bytes[..len as usize])?;
    *HOST_NAME.lock() = (bytes, len as usize);
    Ok(0)
}

/// `struct sysinfo`, 112 bytes.
pub(crate) fn sysinfo(context: &mut Context<'_>, [to, ..]: Args) -> Result<u64> {
    let memory = hal::mem::statistics();
    let page = hal::mem::PAGE_SIZE as u64;
    let mut words = [0u64; 14];
    words[0] = wait::now_ns() / 1_000_000_000;
    words[4] = memory.managed * page;
    words[5] = memory.free * page;
    words[10] = world::process_count() as u64;
    // mem_unit, in the low half of the 13th word behind two words of high memory.
    words[13] = 1;
    write(context, to, &words).map(|()| 0)
}

const NONBLOCK: u64 = 1;
const RANDOM: u64 = 2;
const INSECURE: u64 = 4;
/// Flags of getrandom(2).
pub(crate) const RANDOM_FLAGS: u64 = NONBLOCK | RANDOM | INSECURE;

pub(crate) fn getrandom(context: &mut Context<'_>, [to, len, flags, ..]: Args) -> Result<u64> {
    const PIECE: usize = 256;
    if flags & !RANDOM_FLAGS != 0 || flags & (RANDOM | INSECURE) == RANDOM | INSECURE {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as u64);
    let mut done = 0;
    while done < len {
        let mut bytes = [0; PIECE];
        let count = PIECE.min((len - done) as usize);
        let block = flags & (NONBLOCK | INSECURE) == 0;
        (hooks()?.random)(&mut bytes[..count], block).ok_or(Errno::EAGAIN)?;
        context.write_user(to.wrapping_add(done), &bytes[..count])?;
        done += count as u64;
        sched::preempt_point();
    }
    Ok(done)
}

pub(crate) fn reboot(context: &mut Context<'_>, [magic, second, command, ..]: Args) -> Result<u64> {
    const MAGIC: u32 = 0xfee1_dead;
    const SECONDS: [u32; 4] = [672_274_793, 85_072_278, 369_367_448, 537_993_216];
    const RESTART: u32 = 0x0123_4567;
    const HALT: u32 = 0xcdef_0123;
    const POWER_OFF: u32 = 0x4321_fedc;
    const CAD_ON: u32 = 0x89ab_cdef;
    const CAD_OFF: u32 = 0;
    if !context.credentials().is_superuser() {
        return Err(Errno::EPERM);
    }
    if magic as u32 != MAGIC || !SECONDS.contains(&(second as u32)) {
        return Err(Errno::EINVAL);
    }
    match command as u32 {
        POWER_OFF | HALT => (hooks()?.power_off)(),
        RESTART => (hooks()?.restart)(),
        CAD_ON | CAD_OFF => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}

/// syslog(2): reading the kernel's messages.
pub(crate) fn syslog(context: &mut Context<'_>, [action, to, len, ..]: Args) -> Result<u64> {
    const READ_ALL: u64 = 3;
    const SIZE: u64 = 10;
    match action {
        READ_ALL => {
            let text = (hooks()?.messages)();
            let from = text.len().saturating_sub(len as usize);
            context.write_user(to, &text[from..])?;
            Ok((text.len() - from) as u64)
        }
        SIZE => Ok((hooks()?.messages)().len() as u64),
        // Levels of the console: nothing to turn.
        0 | 1 | 6..=8 => Ok(0),
        _ => Err(Errno::EINVAL),
    }
}
