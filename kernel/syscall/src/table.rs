//! The table: which function serves which number.

use crate::{
    Args, Context, Result, clock, descriptor, event, exec, futex, identity, job, lifecycle, limits,
    memory, names, poll, read_write, signal, stat, system,
};
use abi::{Errno, syscall as nr};
use core::sync::atomic::{AtomicU64, Ordering};

macro_rules! table {
    ($($number:ident => $function:path,)*) => {
        /// Serves the call `number`.
        // LONG: one line per call.
        #[inline]
        pub fn dispatch(context: &mut Context<'_>, number: u64, args: Args) -> Result<u64> {
            match number {
                $(nr::$number => $function(context, args),)*
                _ => unknown(context, number),
            }
        }

        /// Whether `number` is served.
        #[must_use]
        pub const fn is_supported(number: u64) -> bool {
            matches!(number, $(nr::$number)|*)
        }
    };
}

table! {
    READ => read_write::read,
    WRITE => read_write::write,
    PREAD64 => read_write::pread,
    PWRITE64 => read_write::pwrite,
    READV => read_write::readv,
    WRITEV => read_write::writev,
    PREADV => read_write::preadv,
    PWRITEV => read_write::pwritev,
    LSEEK => read_write::lseek,
    SENDFILE => read_write::sendfile,
    FSYNC => read_write::fsync,
    FDATASYNC => read_write::fdatasync,
    SYNC => read_write::sync,
    FTRUNCATE => read_write::ftruncate,
    FALLOCATE => read_write::fallocate,
    GETDENTS64 => read_write::getdents64,
    IOCTL => read_write::ioctl,
    OPEN => names::open,
    OPENAT => names::openat,
    CREAT => names::creat,
    MKDIR => names::mkdir,
    MKDIRAT => names::mkdirat,
    MKNOD => names::mknod,
    MKNODAT => names::mknodat,
    RMDIR => names::rmdir,
    UNLINK => names::unlink,
    UNLINKAT => names::unlinkat,
    LINK => names::link,
    LINKAT => names::linkat,
    SYMLINK => names::symlink,
    SYMLINKAT => names::symlinkat,
    READLINK => names::readlink,
    READLINKAT => names::readlinkat,
    RENAME => names::rename,
    RENAMEAT => names::renameat,
    RENAMEAT2 => names::renameat2,
    TRUNCATE => names::truncate,
    CHDIR => names::chdir,
    FCHDIR => names::fchdir,
    CHROOT => names::chroot,
    GETCWD => names::getcwd,
    UMASK => names::umask,
    STAT => stat::stat,
    LSTAT => stat::lstat,
    FSTAT => stat::fstat,
    NEWFSTATAT => stat::newfstatat,
    STATX => stat::statx,
    STATFS => stat::statfs,
    FSTATFS => stat::fstatfs,
    ACCESS => stat::access,
    FACCESSAT => stat::faccessat,
    FACCESSAT2 => stat::faccessat2,
    CHMOD => stat::chmod,
    FCHMOD => stat::fchmod,
    FCHMODAT => stat::fchmodat,
    CHOWN => stat::chown,
    LCHOWN => stat::lchown,
    FCHOWN => stat::fchown,
    FCHOWNAT => stat::fchownat,
    UTIMENSAT => stat::utimensat,
    CLOSE => descriptor::close,
    CLOSE_RANGE => descriptor::close_range,
    DUP => descriptor::dup,
    DUP2 => descriptor::dup2,
    DUP3 => descriptor::dup3,
    FCNTL => descriptor::fcntl,
    FLOCK => descriptor::flock,
    PIPE => descriptor::pipe,
    PIPE2 => descriptor::pipe2,
    EVENTFD => event::eventfd,
    EVENTFD2 => event::eventfd2,
    TIMERFD_CREATE => event::timerfd_create,
    TIMERFD_SETTIME => event::timerfd_settime,
    TIMERFD_GETTIME => event::timerfd_gettime,
    EPOLL_CREATE => event::epoll_create,
    EPOLL_CREATE1 => event::epoll_create1,
    EPOLL_CTL => event::epoll_ctl,
    EPOLL_WAIT => event::epoll_wait,
    EPOLL_PWAIT => event::epoll_pwait,
    EPOLL_PWAIT2 => event::epoll_pwait2,
    POLL => poll::poll,
    PPOLL => poll::ppoll,
    SELECT => poll::select,
    PSELECT6 => poll::pselect6,
    MMAP => memory::mmap,
    MUNMAP => memory::munmap,
    MPROTECT => memory::mprotect,
    MREMAP => memory::mremap,
    MADVISE => memory::madvise,
    MSYNC => memory::msync,
    MINCORE => memory::mincore,
    BRK => memory::brk,
    MLOCK => memory::mlock,
    MUNLOCK => memory::mlock,
    MEMBARRIER => memory::membarrier,
    CLONE => lifecycle::clone,
    CLONE3 => lifecycle::clone3,
    FORK => lifecycle::fork,
    VFORK => lifecycle::vfork,
    EXIT => lifecycle::exit,
    EXIT_GROUP => lifecycle::exit_group,
    WAIT4 => lifecycle::wait4,
    WAITID => lifecycle::waitid,
    SET_TID_ADDRESS => lifecycle::set_tid_address,
    SET_ROBUST_LIST => lifecycle::set_robust_list,
    GET_ROBUST_LIST => lifecycle::get_robust_list,
    ARCH_PRCTL => lifecycle::arch_prctl,
    PRCTL => lifecycle::prctl,
    RSEQ => lifecycle::rseq,
    EXECVE => exec::execve,
    EXECVEAT => exec::execveat,
    FUTEX => futex::futex,
    RT_SIGACTION => signal::rt_sigaction,
    RT_SIGPROCMASK => signal::rt_sigprocmask,
    RT_SIGPENDING => signal::rt_sigpending,
    RT_SIGRETURN => signal::rt_sigreturn,
    RT_SIGSUSPEND => signal::rt_sigsuspend,
    RT_SIGTIMEDWAIT => signal::rt_sigtimedwait,
    RT_SIGQUEUEINFO => signal::rt_sigqueueinfo,
    PAUSE => signal::pause,
    SIGALTSTACK => signal::sigaltstack,
    KILL => signal::kill,
    TKILL => signal::tkill,
    TGKILL => signal::tgkill,
    ALARM => clock::alarm,
    GETITIMER => clock::getitimer,
    SETITIMER => clock::setitimer,
    NANOSLEEP => clock::nanosleep,
    CLOCK_NANOSLEEP => clock::clock_nanosleep,
    CLOCK_GETTIME => clock::clock_gettime,
    CLOCK_GETRES => clock::clock_getres,
    CLOCK_SETTIME => clock::clock_settime,
    GETTIMEOFDAY => clock::gettimeofday,
    TIME => clock::time,
    TIMES => clock::times,
    GETPID => identity::getpid,
    GETPPID => identity::getppid,
    GETTID => identity::gettid,
    GETUID => identity::getuid,
    GETEUID => identity::geteuid,
    GETGID => identity::getgid,
    GETEGID => identity::getegid,
    GETRESUID => identity::getresuid,
    GETRESGID => identity::getresgid,
    GETGROUPS => identity::getgroups,
    SETUID => identity::setuid,
    SETGID => identity::setgid,
    SETRESUID => identity::setresuid,
    SETRESGID => identity::setresgid,
    SETGROUPS => identity::setgroups,
    SETPGID => job::setpgid,
    GETPGID => job::getpgid,
    GETPGRP => job::getpgrp,
    SETSID => job::setsid,
    GETSID => job::getsid,
    PRLIMIT64 => limits::prlimit64,
    GETRLIMIT => limits::getrlimit,
    SETRLIMIT => limits::setrlimit,
    GETRUSAGE => limits::getrusage,
    SCHED_YIELD => limits::sched_yield,
    SCHED_GETAFFINITY => limits::sched_getaffinity,
    SCHED_SETAFFINITY => limits::sched_setaffinity,
    GETPRIORITY => limits::getpriority,
    SETPRIORITY => limits::setpriority,
    GETCPU => limits::getcpu,
    UNAME => system::uname,
    SYSINFO => system::sysinfo,
    GETRANDOM => system::getrandom,
    REBOOT => system::reboot,
    SYSLOG => system::syslog,
    SETHOSTNAME => system::sethostname,
}

/// Numbers that were refused before, a bit each.
static REFUSED: [AtomicU64; 8] = [const { AtomicU64::new(0) }; 8];

#[cold]
fn unknown(context: &Context<'_>, number: u64) -> Result<u64> {
    let word = REFUSED.get(number as usize / 64);
    let bit = 1 << (number % 64);
    if word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0) {
        let process = context.process();
        log::info!(
            "system call {number} ({}) is not supported; first asked for by process {} ({})",
            nr::name(number).unwrap_or("no name"),
            process.pid(),
            process.program().name
        );
    }
    Err(Errno::ENOSYS)
}
