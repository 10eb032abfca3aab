//! Holds `docs/abi/syscalls.toml` to the code: the same calls, the same flags.

use crate::{descriptor, event, exec, lifecycle, memory, mount, names, socket, stat, system};
use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use toml::Table;

const TEXT: &str = include_str!("../../../docs/abi/syscalls.toml");

macro_rules! named {
    ($($name:ident)*) => {
        [$((stringify!($name), libc::$name as u64)),*]
    };
}

/// The values of the names that the file uses.
fn values() -> BTreeMap<&'static str, u64> {
    let list = named! {
        AT_EACCESS AT_EMPTY_PATH AT_NO_AUTOMOUNT AT_REMOVEDIR AT_STATX_DONT_SYNC
        AT_STATX_FORCE_SYNC AT_SYMLINK_FOLLOW AT_SYMLINK_NOFOLLOW
        CLONE_CHILD_CLEARTID CLONE_CHILD_SETTID CLONE_DETACHED CLONE_FILES CLONE_FS
        CLONE_PARENT CLONE_PARENT_SETTID CLONE_SETTLS CLONE_SIGHAND CLONE_SYSVSEM
        CLONE_THREAD CLONE_UNTRACED CLONE_VFORK CLONE_VM CLOSE_RANGE_CLOEXEC
        CLOSE_RANGE_UNSHARE EFD_CLOEXEC EFD_NONBLOCK EFD_SEMAPHORE EPOLL_CLOEXEC
        GRND_INSECURE GRND_NONBLOCK GRND_RANDOM MAP_ANONYMOUS MAP_DENYWRITE
        MAP_EXECUTABLE MAP_FIXED MAP_FIXED_NOREPLACE MAP_GROWSDOWN MAP_LOCKED
        MAP_NONBLOCK MAP_NORESERVE MAP_POPULATE MAP_STACK MFD_ALLOW_SEALING MFD_CLOEXEC
        MNT_DETACH MREMAP_DONTUNMAP MREMAP_FIXED MREMAP_MAYMOVE MSG_CMSG_CLOEXEC
        MSG_DONTWAIT MSG_EOR MSG_MORE MSG_NOSIGNAL MSG_OOB MSG_PEEK MSG_TRUNC
        MSG_WAITALL MSG_WAITFORONE MS_ASYNC MS_INVALIDATE MS_NOATIME MS_NODEV
        MS_NODIRATIME MS_NOEXEC MS_NOSUID MS_RDONLY MS_RELATIME MS_SILENT
        MS_STRICTATIME MS_SYNC O_CLOEXEC O_NONBLOCK PROT_EXEC PROT_READ PROT_WRITE
        RENAME_EXCHANGE RENAME_NOREPLACE SOCK_CLOEXEC SOCK_NONBLOCK TFD_CLOEXEC
        TFD_NONBLOCK UMOUNT_NOFOLLOW WCONTINUED WEXITED WNOHANG WNOWAIT WUNTRACED
        __WALL __WCLONE __WNOTHREAD
    };
    let own = [("CLONE_CLEAR_SIGHAND", 1 << 32), ("MS_LAZYTIME", 1 << 25)];
    // libc's 32-bit constants may be negative.
    let list = list.map(|(name, value)| (name, u64::from(value as u32)));
    list.into_iter().chain(own).collect()
}

/// What the code accepts: the call, the argument, the flags.
fn accepted() -> Vec<(&'static str, &'static str, u64)> {
    let mounts = vfs::MountFlags::all().bits() | mount::IGNORED_FLAGS;
    let renames = u64::from(vfs::RenameFlags::all().bits());
    let remaps = u64::from(mem::RemapFlags::all().bits());
    let (kinds, sends) = (u64::from(socket::TYPE_FLAGS), u64::from(socket::SEND_FLAGS));
    let receives = u64::from(socket::RECEIVE_FLAGS);
    alloc::vec![
        ("accept4", "flags", kinds),
        ("clone", "flags", world::CLONE_FLAGS),
        ("clone3", "flags", world::CLONE_FLAGS),
        ("close_range", "flags", descriptor::CLOSE_RANGE_FLAGS),
        ("dup3", "flags", descriptor::DUP_FLAGS.bits().into()),
        ("epoll_create1", "flags", event::EPOLL_FLAGS.into()),
        ("eventfd2", "flags", event::EVENTFD_FLAGS.into()),
        ("execveat", "flags", exec::EXEC_FLAGS),
        ("faccessat2", "flags", stat::ACCESS_FLAGS),
        ("fchownat", "flags", stat::CHANGE_FLAGS),
        ("getrandom", "flags", system::RANDOM_FLAGS),
        ("linkat", "flags", names::LINK_FLAGS.into()),
        ("memfd_create", "flags", mount::MEMFD_FLAGS),
        ("mmap", "flags", memory::MAP_FLAGS),
        ("mmap", "prot", memory::PROTECTIONS),
        ("mount", "flags", mounts),
        ("mprotect", "prot", memory::PROTECTIONS),
        ("mremap", "flags", remaps),
        ("msync", "flags", memory::MSYNC_FLAGS),
        ("newfstatat", "flags", stat::STAT_FLAGS),
        ("pipe2", "flags", descriptor::PIPE_FLAGS.bits().into()),
        ("recvfrom", "flags", receives),
        ("recvmmsg", "flags", receives),
        ("recvmsg", "flags", receives),
        ("renameat2", "flags", renames),
        ("sendmmsg", "flags", sends),
        ("sendmsg", "flags", sends),
        ("sendto", "flags", sends),
        ("socket", "type", kinds),
        ("socketpair", "type", kinds),
        ("statx", "flags", stat::STATX_FLAGS),
        ("timerfd_create", "flags", event::TIMERFD_FLAGS.into()),
        ("umount2", "flags", mount::UNMOUNT_FLAGS),
        ("unlinkat", "flags", names::UNLINK_FLAGS.into()),
        ("utimensat", "flags", stat::CHANGE_FLAGS),
        ("wait4", "options", lifecycle::WAIT4_OPTIONS),
        ("waitid", "options", lifecycle::WAITID_OPTIONS),
    ]
}

fn file() -> Table {
    TEXT.parse().unwrap()
}

#[test]
fn the_file_lists_what_the_table_serves() {
    let file = file();
    for number in 0..1000 {
        let name = abi::syscall::name(number).map(str::to_lowercase);
        let listed = name.as_ref().is_some_and(|name| file.contains_key(name));
        assert_eq!(listed, crate::is_supported(number), "{number} ({name:?})");
    }
    for (name, entry) in &file {
        let number = entry["number"].as_integer().unwrap() as u64;
        let known = abi::syscall::name(number).map(str::to_lowercase);
        assert_eq!(known.as_deref(), Some(&**name), "the number of {name}");
        assert!(
            entry["limits"].is_str(),
            "{name} says nothing of its limits"
        );
    }
}

#[test]
fn the_file_lists_the_flags_that_are_accepted() {
    let values = values();
    let file = file();
    let mut listed = BTreeMap::new();
    for (name, entry) in &file {
        let Some(arguments) = entry.get("accepts") else {
            continue;
        };
        for (argument, flags) in arguments.as_table().unwrap() {
            let flags = flags.as_array().unwrap().iter();
            let bits = flags.map(|flag| {
                let flag = flag.as_str().unwrap();
                *values
                    .get(flag)
                    .unwrap_or_else(|| panic!("{name}: {flag} has no value"))
            });
            listed.insert(
                (name.to_string(), argument.to_string()),
                bits.fold(0, |all, bit| all | bit),
            );
        }
    }
    let mut accepted: BTreeMap<(String, String), u64> = accepted()
        .into_iter()
        .map(|(name, argument, set)| ((name.to_string(), argument.to_string()), set))
        .collect();
    for (key, set) in listed {
        let code = accepted.remove(&key);
        assert_eq!(
            code,
            Some(set),
            "{key:?}: {code:x?} in the code, {set:x} in the file"
        );
    }
    assert!(accepted.is_empty(), "not in the file: {accepted:?}");
}
