//! The host as /proc and /sys show it.

use crate::process_view::Worlds;
use crate::{command_line, random};
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use procfs::{CpuInfo, CpuTimes, Host, MemoryInfo, ProcFs, Processes, sysfs};
use vfs::{Credentials, FileSystem, Follow, FsContext, MountFlags};

/// This host.
struct ThisHost;

impl Host for ThisHost {
    fn memory(&self) -> MemoryInfo {
        let statistics = hal::mem::statistics();
        let kib = |frames: u64| frames * (hal::mem::PAGE_SIZE as u64 >> 10);
        MemoryInfo {
            total: kib(statistics.managed),
            free: kib(statistics.free),
            available: kib(statistics.free),
            ..MemoryInfo::default()
        }
    }

    fn cpus(&self) -> Vec<CpuInfo> {
        let identity = hal::cpu::identity();
        (0..hal::cpu::count())
            .map(|cpu| CpuInfo {
                vendor: String::from_utf8_lossy(&identity.vendor).into_owned(),
                family: identity.family,
                model: identity.model,
                stepping: identity.stepping,
                name: String::from_utf8_lossy(&identity.brand)
                    .trim_end_matches('\0')
                    .trim()
                    .into(),
                khz: hal::time::tsc_hz() / 1000,
                apic_id: cpu as u32,
                core: cpu as u32,
                flags: identity.flags().map(String::from).collect(),
                physical_bits: identity.physical_bits,
                linear_bits: identity.linear_bits,
                ..CpuInfo::default()
            })
            .collect()
    }

    fn cpu_times(&self) -> Vec<CpuTimes> {
        (0..hal::cpu::count())
            .map(|cpu| {
                let times = sched::cpu_times(cpu);
                CpuTimes {
                    user_ns: times.busy_ns,
                    idle_ns: times.idle_ns,
                    ..CpuTimes::default()
                }
            })
            .collect()
    }

    fn release(&self) -> String {
        syscall::release()
    }

    fn version(&self) -> String {
        format!("Alster {}", env!("CARGO_PKG_VERSION"))
    }

    fn host_name(&self) -> String {
        syscall::host_name()
    }

    fn set_host_name(&self, name: &str) -> vfs::Result<()> {
        syscall::set_host_name(name)
    }

    fn command_line(&self) -> String {
        command_line::line().into()
    }

    fn threads(&self) -> (u64, u64, u32) {
        let (mut threads, mut ready, mut last) = (0, 0, 0);
        world::for_each_process(|process| {
            last = last.max(process.pid());
            for thread in process.threads() {
                threads += 1;
                ready += u64::from(thread.sched().state() == sched::ThreadState::Ready);
            }
        });
        (ready, threads, last)
    }

    fn load(&self) -> [u64; 3] {
        [0; 3]
    }

    fn counts(&self) -> [u64; 3] {
        let switches = (0..hal::cpu::count())
            .map(|cpu| sched::cpu_times(cpu).switches)
            .sum();
        [hal::irq::stray_count(), switches, 0]
    }

    fn random_uuid(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        random::fill(&mut bytes);
        bytes
    }

    fn entropy_bits(&self) -> u32 {
        if random::is_seeded() { 256 } else { 0 }
    }
}

/// Mounts /proc and /sys.
pub fn init(fs: &Arc<FsContext>) {
    let host: Arc<dyn Host> = Arc::new(ThisHost);
    let processes: Arc<dyn Processes> = Arc::new(Worlds);
    let tree = ProcFs::tree(&processes, &host, fs.namespace());
    let mounts: [(&[u8], Arc<dyn FileSystem>); 2] = [
        (b"/proc", ProcFs::mount(&tree)),
        (b"/sys", sysfs::mount(&sysfs::tree(&host))),
    ];
    for (place, mounted) in mounts {
        if let Err(error) = mount(fs, place, mounted) {
            log::error!("{} is not mounted: {error}", String::from_utf8_lossy(place));
        }
    }
}

fn mount(fs: &Arc<FsContext>, path: &[u8], mounted: Arc<dyn FileSystem>) -> vfs::Result<()> {
    let credentials = Credentials::root();
    let view = fs.view(&credentials, None);
    let root = view.root.clone();
    match view.make_dir(&root, path, 0o555) {
        Ok(_) | Err(vfs::Errno::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let place = view.resolve(&root, path, Follow::Last)?;
    fs.namespace()
        .mount(mounted, place, MountFlags::empty())
        .map(|_| ())
}
