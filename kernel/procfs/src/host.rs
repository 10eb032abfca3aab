//! What /proc tells of the host: [`Host`], and the files made from it.

use crate::generated::{Entry, Tree};
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;

/// Memory, in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryInfo {
    /// All that the host may use.
    pub total: u64,
    /// Unused.
    pub free: u64,
    /// Could be used without anybody losing anything.
    pub available: u64,
    /// Pages of files.
    pub cached: u64,
    /// Pages of memory file systems and shared mappings.
    pub shared: u64,
    /// Pages of programs.
    pub anonymous: u64,
    /// The kernel's own objects.
    pub slab: u64,
    /// Page tables.
    pub page_tables: u64,
    /// Promised to programs.
    pub committed: u64,
}

/// Where a CPU's time went, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTimes {
    /// In programs.
    pub user_ns: u64,
    /// In the kernel.
    pub system_ns: u64,
    /// In nothing.
    pub idle_ns: u64,
    /// In guests.
    pub guest_ns: u64,
}

/// One CPU, as CPUID tells.
#[derive(Clone, Debug, Default)]
pub struct CpuInfo {
    /// Maker.
    pub vendor: String,
    /// Family, with its extension.
    pub family: u32,
    /// Model, with its extension.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Marketing name.
    pub name: String,
    /// Clock in kHz.
    pub khz: u64,
    /// Cache in KiB.
    pub cache_kib: u32,
    /// APIC id.
    pub apic_id: u32,
    /// Core within its package.
    pub core: u32,
    /// Features, by Linux's names.
    pub flags: Vec<String>,
    /// Bits of a physical address.
    pub physical_bits: u32,
    /// Bits of a linear address.
    pub linear_bits: u32,
}

/// The host, as /proc shows it. Implemented above; called without locks.
pub trait Host: Send + Sync {
    /// Memory.
    fn memory(&self) -> MemoryInfo;
    /// CPUs that run, in the order of their numbers.
    fn cpus(&self) -> Vec<CpuInfo>;
    /// Where each CPU's time went.
    fn cpu_times(&self) -> Vec<CpuTimes>;
    /// `uname -r`.
    fn release(&self) -> String;
    /// `uname -v`.
    fn version(&self) -> String;
    /// The host's name, which can be set.
    fn host_name(&self) -> String;
    /// Sets the host's name.
    ///
    /// # Errors
    /// `EINVAL`.
    fn set_host_name(&self, name: &str) -> vfs::Result<()>;
    /// The kernel's command line.
    fn command_line(&self) -> String;
    /// Threads that can run now, threads in all, the last process id.
    fn threads(&self) -> (u64, u64, u32);
    /// Load averages in hundredths.
    fn load(&self) -> [u64; 3];
    /// Context switches, interrupts and forks since boot.
    fn counts(&self) -> [u64; 3];
    /// 16 random bytes, new on each call.
    fn random_uuid(&self) -> [u8; 16];
    /// Bytes of entropy in store, in bits, for entropy_avail.
    fn entropy_bits(&self) -> u32;
}

/// Clock ticks a second in /proc.
const TICK_NS: u64 = 10_000_000;

fn hundredths(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

pub(crate) fn fill(tree: &Arc<Tree>, host: &Arc<dyn Host>) {
    type Make = fn(&dyn Host) -> String;
    let texts: [(&str, Make); 12] = [
        ("meminfo", meminfo),
        ("cpuinfo", cpuinfo),
        ("uptime", uptime),
        ("version", version),
        ("stat", stat),
        ("loadavg", loadavg),
        ("cmdline", |host| format!("{}\n", host.command_line())),
        ("sys/kernel/osrelease", |host| {
            format!("{}\n", host.release())
        }),
        ("sys/kernel/version", |host| format!("{}\n", host.version())),
        ("sys/kernel/random/uuid", |host| uuid(host.random_uuid())),
        ("sys/kernel/random/entropy_avail", |host| {
            format!("{}\n", host.entropy_bits())
        }),
        ("vmstat", vmstat),
    ];
    for (path, make) in texts {
        let host = host.clone();
        tree.add_text(path, move || make(&*host));
    }
    fill_fixed(tree, host);
    let (name, new) = (host.clone(), host.clone());
    let make = move || Ok(format!("{}\n", name.host_name()).into_bytes());
    let take = move |bytes: &[u8]| {
        let text = core::str::from_utf8(bytes).map_err(|_| vfs::Errno::EINVAL)?;
        new.set_host_name(text.trim_end_matches('\n'))
    };
    tree.add("sys/kernel/hostname", Entry::writable(make, take));
}

fn fill_fixed(tree: &Arc<Tree>, host: &Arc<dyn Host>) {
    let boot_id = uuid(host.random_uuid());
    let texts = [
        ("sys/kernel/ostype", "Linux\n"),
        ("sys/kernel/domainname", "(none)\n"),
        ("sys/kernel/pid_max", "4194304\n"),
        ("sys/kernel/threads-max", "1048576\n"),
        ("sys/kernel/ngroups_max", "65536\n"),
        ("sys/kernel/cap_last_cap", "40\n"),
        ("sys/kernel/core_pattern", "core\n"),
        ("sys/kernel/panic", "0\n"),
        ("sys/kernel/printk", "4\t4\t1\t7\n"),
        ("sys/kernel/randomize_va_space", "2\n"),
        ("sys/kernel/perf_event_paranoid", "4\n"),
        (
            "sys/kernel/seccomp/actions_avail",
            "kill_process kill_thread trap errno log allow\n",
        ),
        ("sys/kernel/random/boot_id", &boot_id),
        ("sys/kernel/random/poolsize", "256\n"),
        ("sys/vm/overcommit_memory", "0\n"),
        ("sys/vm/overcommit_ratio", "50\n"),
        ("sys/vm/max_map_count", "65530\n"),
        ("sys/vm/mmap_min_addr", "65536\n"),
        ("sys/vm/swappiness", "0\n"),
        ("sys/fs/file-max", "9223372036854775807\n"),
        ("sys/fs/nr_open", "1048576\n"),
        ("sys/fs/pipe-max-size", "1048576\n"),
        ("sys/fs/epoll/max_user_watches", "1000000\n"),
        ("sys/net/core/somaxconn", "4096\n"),
        ("sys/net/unix/max_dgram_qlen", "512\n"),
        (
            "swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n",
        ),
        ("modules", ""),
        (
            "filesystems",
            "nodev\ttmpfs\nnodev\tdevtmpfs\nnodev\tproc\nnodev\tsysfs\n",
        ),
        (
            "devices",
            "Character devices:\n  1 mem\n  4 ttyS\n  5 /dev/tty\n 10 misc\n",
        ),
    ];
    for (path, text) in texts {
        tree.add_fixed(path, text);
    }
}

fn uuid(mut bytes: [u8; 16]) -> String {
    // A random UUID of RFC 9562: version 4, variant 2.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

fn meminfo(host: &dyn Host) -> String {
    let memory = host.memory();
    let lines = [
        ("MemTotal", memory.total),
        ("MemFree", memory.free),
        ("MemAvailable", memory.available),
        ("Buffers", 0),
        ("Cached", memory.cached),
        ("SwapCached", 0),
        ("Active", memory.anonymous),
        ("Inactive", memory.cached),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("AnonPages", memory.anonymous),
        ("Mapped", memory.shared),
        ("Shmem", memory.shared),
        ("Slab", memory.slab),
        ("PageTables", memory.page_tables),
        ("CommitLimit", memory.total),
        ("Committed_AS", memory.committed),
        ("VmallocTotal", 0),
        ("VmallocUsed", 0),
        ("HugePages_Total", u64::MAX),
        ("Hugepagesize", 2048),
    ];
    let mut text = String::new();
    for (name, kib) in lines {
        let label = format!("{name}:");
        let _ = match kib {
            // A count of pages, of which there are none.
            u64::MAX => writeln!(text, "{label:<15} {:>8}", 0),
            kib => writeln!(text, "{label:<15} {kib:>8} kB"),
        };
    }
    text
}

fn cpuinfo(host: &dyn Host) -> String {
    let cpus = host.cpus();
    let mut text = String::new();
    for (index, cpu) in cpus.iter().enumerate() {
        let mhz = format!("{}.{:03}", cpu.khz / 1000, cpu.khz % 1000);
        let bogo = hundredths(cpu.khz / 5);
        let _ = write!(
            text,
            "processor\t: {index}\nvendor_id\t: {}\ncpu family\t: {}\nmodel\t\t: {}\n\
             model name\t: {}\nstepping\t: {}\ncpu MHz\t\t: {mhz}\ncache size\t: {} KB\n\
             physical id\t: 0\nsiblings\t: {count}\ncore id\t\t: {}\ncpu cores\t: {count}\n\
             apicid\t\t: {apic}\ninitial apicid\t: {apic}\nfpu\t\t: yes\n\
             fpu_exception\t: yes\ncpuid level\t: 13\nwp\t\t: yes\nflags\t\t: {}\n\
             bugs\t\t:\nbogomips\t: {bogo}\nclflush size\t: 64\ncache_alignment\t: 64\n\
             address sizes\t: {} bits physical, {} bits virtual\npower management:\n\n",
            cpu.vendor,
            cpu.family,
            cpu.model,
            cpu.name,
            cpu.stepping,
            cpu.cache_kib,
            cpu.core,
            cpu.flags.join(" "),
            cpu.physical_bits,
            cpu.linear_bits,
            count = cpus.len(),
            apic = cpu.apic_id,
        );
    }
    text
}

fn uptime(host: &dyn Host) -> String {
    let idle: u64 = host.cpu_times().iter().map(|times| times.idle_ns).sum();
    format!(
        "{} {}\n",
        hundredths(wait::now_ns() / TICK_NS),
        hundredths(idle / TICK_NS)
    )
}

fn version(host: &dyn Host) -> String {
    format!(
        "Linux version {} (alster) {}\n",
        host.release(),
        host.version()
    )
}

fn loadavg(host: &dyn Host) -> String {
    let [one, five, fifteen] = host.load().map(hundredths);
    let (runnable, all, last) = host.threads();
    format!("{one} {five} {fifteen} {runnable}/{all} {last}\n")
}

fn cpu_line(text: &mut String, label: &str, times: &CpuTimes) {
    let ticks = |ns: u64| ns / TICK_NS;
    let _ = writeln!(
        text,
        "{label} {} 0 {} {} 0 0 0 0 {} 0",
        ticks(times.user_ns + times.guest_ns),
        ticks(times.system_ns),
        ticks(times.idle_ns),
        ticks(times.guest_ns),
    );
}

fn stat(host: &dyn Host) -> String {
    let cpus = host.cpu_times();
    let sum = cpus
        .iter()
        .fold(CpuTimes::default(), |sum, times| CpuTimes {
            user_ns: sum.user_ns + times.user_ns,
            system_ns: sum.system_ns + times.system_ns,
            idle_ns: sum.idle_ns + times.idle_ns,
            guest_ns: sum.guest_ns + times.guest_ns,
        });
    let mut text = String::new();
    cpu_line(&mut text, "cpu ", &sum);
    for (index, times) in cpus.iter().enumerate() {
        cpu_line(&mut text, &format!("cpu{index}"), times);
    }
    let [switches, interrupts, forks] = host.counts();
    let boot = wait::realtime_ns().saturating_sub(wait::now_ns()) / 1_000_000_000;
    let runnable = host.threads().0;
    let _ = write!(
        text,
        "intr {interrupts}\nctxt {switches}\nbtime {boot}\nprocesses {forks}\n\
         procs_running {runnable}\nprocs_blocked 0\nsoftirq 0\n",
    );
    text
}

fn vmstat(host: &dyn Host) -> String {
    let memory = host.memory();
    format!(
        "nr_free_pages {}\nnr_anon_pages {}\nnr_file_pages {}\nnr_shmem {}\n",
        memory.free / 4,
        memory.anonymous / 4,
        memory.cached / 4,
        memory.shared / 4,
    )
}

/// A list of numbers as ranges: `0-3,5`.
pub(crate) fn ranges(numbers: &BTreeSet<usize>) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match parts.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            _ => parts.push((*number, *number)),
        }
    }
    let show = |(start, end): (usize, usize)| match start == end {
        true => format!("{start}"),
        false => format!("{start}-{end}"),
    };
    parts.into_iter().map(show).collect::<Vec<_>>().join(",")
}
