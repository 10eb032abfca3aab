//! /proc and /sys over one made-up process.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::OpenFlags;
use pages::Account;
use procfs::{
    CpuInfo, CpuTimes, Host, Limit, MapEntry, MemoryInfo, ProcFs, Process, ProcessStatus,
    Processes, State, sysfs,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tmpfs::{Limits, TmpFs};
use vfs::{
    Credentials, FdTable, File, Follow, FsContext, Location, MountFlags, Namespace, OpenFile,
    SliceSource, VecSink,
};

struct Machine {
    name: Mutex<String>,
    seed: Mutex<u8>,
}

impl Host for Machine {
    fn memory(&self) -> MemoryInfo {
        MemoryInfo {
            total: 2048,
            free: 1024,
            available: 1500,
            ..MemoryInfo::default()
        }
    }
    fn cpus(&self) -> Vec<CpuInfo> {
        vec![
            CpuInfo {
                vendor: "AuthenticAMD".into(),
                ..CpuInfo::default()
            };
            2
        ]
    }
    fn cpu_times(&self) -> Vec<CpuTimes> {
        vec![
            CpuTimes {
                user_ns: 10_000_000,
                idle_ns: 1_230_000_000,
                ..CpuTimes::default()
            };
            2
        ]
    }
    fn release(&self) -> String {
        "6.1.0".into()
    }
    fn version(&self) -> String {
        "#1".into()
    }
    fn host_name(&self) -> String {
        self.name.lock().unwrap().clone()
    }
    fn set_host_name(&self, name: &str) -> Result<(), Errno> {
        *self.name.lock().unwrap() = name.into();
        Ok(())
    }
    fn command_line(&self) -> String {
        "quiet".into()
    }
    fn threads(&self) -> (u64, u64, u32) {
        (1, 5, 42)
    }
    fn load(&self) -> [u64; 3] {
        [5, 110, 0]
    }
    fn counts(&self) -> [u64; 3] {
        [1, 2, 3]
    }
    fn random_uuid(&self) -> [u8; 16] {
        let mut seed = self.seed.lock().unwrap();
        *seed += 1;
        [*seed; 16]
    }
    fn entropy_bits(&self) -> u32 {
        256
    }
}

struct Shell {
    program: Location,
    root: Location,
    table: Arc<FdTable>,
    name: Mutex<String>,
}

impl Process for Shell {
    fn status(&self, thread: Option<u32>) -> Option<ProcessStatus> {
        Some(ProcessStatus {
            name: self.name.lock().unwrap().clone(),
            state: State::Sleeping,
            pid: 42,
            tid: thread.unwrap_or(42),
            parent: 1,
            uids: [7; 4],
            gids: [8; 4],
            virtual_bytes: 8192,
            resident_pages: 1,
            cpus: vec![0, 1],
            ..ProcessStatus::default()
        })
    }
    fn threads(&self) -> Vec<u32> {
        vec![42, 43]
    }
    fn executable(&self) -> Option<Location> {
        Some(self.program.clone())
    }
    fn cwd(&self) -> Option<Location> {
        Some(self.root.clone())
    }
    fn root(&self) -> Option<Location> {
        Some(self.root.clone())
    }
    fn descriptors(&self) -> Option<Arc<FdTable>> {
        Some(self.table.clone())
    }
    fn maps(&self) -> Vec<MapEntry> {
        let program = MapEntry {
            range: 0x40_0000..0x40_1000,
            access: [true, false, true],
            shared: false,
            offset: 0x1000,
            file: Some(self.program.clone()),
            label: "",
        };
        let stack = MapEntry {
            range: 0x7fff_0000_0000..0x7fff_0001_0000,
            access: [true, true, false],
            file: None,
            label: "[stack]",
            ..program.clone()
        };
        vec![program, stack]
    }
    fn command_line(&self) -> Vec<u8> {
        b"sh\0-i\0".to_vec()
    }
    fn environment(&self) -> Vec<u8> {
        b"A=B\0".to_vec()
    }
    fn auxiliary_vector(&self) -> Vec<u8> {
        vec![0; 16]
    }
    fn limits(&self) -> [Limit; 16] {
        [Limit {
            soft: 1024,
            hard: u64::MAX,
        }; 16]
    }
    fn set_name(&self, _thread: Option<u32>, name: &[u8]) -> Result<(), Errno> {
        *self.name.lock().unwrap() = String::from_utf8(name.to_vec()).unwrap();
        Ok(())
    }
}

struct One(BTreeMap<u32, Arc<Shell>>);

impl Processes for One {
    fn list(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }
    fn get(&self, pid: u32) -> Option<Arc<dyn Process>> {
        let process = self.0.get(&pid)?.clone();
        Some(process)
    }
    fn current(&self) -> Option<(u32, u32)> {
        Some((42, 43))
    }
}

struct World {
    context: Arc<FsContext>,
    credentials: Credentials,
    table: Arc<FdTable>,
}

/// A file without a place, which can be opened again.
struct Plain;
impl File for Plain {
    fn reopen(&self, flags: OpenFlags) -> Result<Arc<dyn File>, Errno> {
        if flags.writes() {
            Err(Errno::EACCES)
        } else {
            Ok(Arc::new(Plain))
        }
    }
}

impl World {
    fn new() -> Self {
        wait_host::install();
        let fs = TmpFs::named("rootfs", &Account::kernel(), &Limits::none(), 0o755).unwrap();
        let namespace = Namespace::new(fs, MountFlags::empty());
        let context = FsContext::new(namespace.clone());
        let credentials = Credentials::root();
        let table = FdTable::new(100);
        {
            let view = context.view(&credentials, None);
            for dir in ["/proc", "/sys", "/a b"] {
                view.make_dir(&view.cwd, dir.as_bytes(), 0o755).unwrap();
            }
            let flags = OpenFlags::CREAT | OpenFlags::RDWR;
            let file = view.open(&view.cwd, b"/sh", flags, 0o755).unwrap();
            file.write(&mut SliceSource::new(b"program")).unwrap();
            let program = file.place().unwrap().clone();
            table.install(file, false).unwrap();
            let plain = OpenFile::new(Arc::new(Plain), OpenFlags::RDWR);
            table.install(plain, false).unwrap();
            let name = Mutex::new("sh".into());
            let shell = Shell {
                program,
                root: context.root(),
                table: table.clone(),
                name,
            };
            let processes: Arc<dyn Processes> =
                Arc::new(One([(42, Arc::new(shell))].into_iter().collect()));
            let host: Arc<dyn Host> = Arc::new(Machine {
                name: Mutex::new("alster".into()),
                seed: Mutex::new(0),
            });
            let proc_tree = ProcFs::tree(&processes, &host, &namespace);
            proc_tree.add_fixed("driver/added", "later\n");
            let place = |path: &[u8]| view.resolve(&view.cwd, path, Follow::Last).unwrap();
            let none = MountFlags::empty();
            namespace
                .mount(ProcFs::mount(&proc_tree), place(b"/proc"), none)
                .unwrap();
            let sys = sysfs::mount(&sysfs::tree(&host));
            namespace
                .mount(sys, place(b"/sys"), MountFlags::READ_ONLY)
                .unwrap();
            let extra = TmpFs::new(&Account::kernel(), &Limits::none(), 0o755).unwrap();
            namespace
                .mount(extra, place(b"/a b"), MountFlags::NO_EXEC)
                .unwrap();
        }
        Self {
            context,
            credentials,
            table,
        }
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
        let view = self.context.view(&self.credentials, None);
        view.open(&view.cwd, path.as_bytes(), flags, 0)
    }

    fn read(&self, path: &str) -> String {
        let mut sink = VecSink::new(100_000);
        self.open(path, OpenFlags::empty())
            .unwrap()
            .read(&mut sink)
            .unwrap();
        String::from_utf8(sink.bytes).unwrap()
    }

    fn link(&self, path: &str) -> String {
        let view = self.context.view(&self.credentials, None);
        String::from_utf8(view.read_link(&view.cwd, path.as_bytes()).unwrap()).unwrap()
    }
}

#[test]
fn a_process_shows_itself() {
    let world = World::new();
    assert_eq!(world.link("/proc/self"), "42");
    assert_eq!(world.link("/proc/thread-self"), "42/task/43");
    assert_eq!(world.link("/proc/self/exe"), "/sh");
    assert_eq!(world.read("/proc/self/cmdline"), "sh\0-i\0");
    assert_eq!(world.read("/proc/self/environ"), "A=B\0");
    assert_eq!(world.read("/proc/self/statm"), "2 1 0 0 0 0 0\n");
    let stat = world.read("/proc/self/task/43/stat");
    assert!(stat.starts_with("43 (sh) S 1 "));
    assert_eq!(stat.split_whitespace().count(), 52);
    let status = world.read("/proc/42/status");
    for line in [
        "Name:\tsh",
        "State:\tS (sleeping)",
        "Uid:\t7\t7\t7\t7",
        "VmRSS:\t       4 kB",
        "Cpus_allowed_list:\t0-1",
    ] {
        assert!(
            status.lines().any(|found| found == line),
            "{line} is not in {status}"
        );
    }
    let maps = world.read("/proc/self/maps");
    let lines: Vec<_> = maps.lines().collect();
    assert!(lines[0].starts_with("00400000-00401000 r-xp 00001000 "));
    assert_eq!(lines[0].find("/sh"), Some(73));
    assert!(lines[1].ends_with("[stack]"));
    assert!(
        world
            .read("/proc/self/limits")
            .contains("Max open files            1024")
    );
}

#[test]
fn names_of_processes_are_exact() {
    let world = World::new();
    for path in [
        "/proc/43",
        "/proc/042",
        "/proc/+42",
        "/proc/self/none",
        "/proc/self/fd/7",
        "/proc/self/task/44",
        "/proc/self/task/43/task",
    ] {
        assert_eq!(
            world.open(path, OpenFlags::empty()).err(),
            Some(Errno::ENOENT),
            "{path}"
        );
    }
}

#[test]
fn descriptors_can_be_seen_and_opened_again() {
    let world = World::new();
    assert_eq!(world.link("/proc/self/fd/0"), "/sh");
    assert_eq!(world.link("/proc/self/fd/1"), "anon_inode:[file]");
    assert_eq!(world.read("/proc/self/fd/0"), "program");
    let view = world.context.view(&world.credentials, None);
    view.unlink(&view.cwd, b"/sh").unwrap();
    assert_eq!(world.link("/proc/self/fd/0"), "/sh (deleted)");
    // The link still leads to the file, whose name is gone.
    assert_eq!(world.read("/proc/self/fd/0"), "program");
    let again = world.open("/proc/self/fd/1", OpenFlags::empty()).unwrap();
    assert!(again.file_as::<Plain>().is_some());
    let fd = world.table.install(again, false).unwrap();
    assert_eq!(
        world.link(&format!("/proc/self/fd/{fd}")),
        "anon_inode:[file]"
    );
    world.table.close(fd).unwrap();
    let created = world.open("/proc/self/fd/1", OpenFlags::WRONLY | OpenFlags::CREAT);
    assert_eq!(created.err(), Some(Errno::EACCES));
    let through = world.open("/proc/self/fd/1/x", OpenFlags::empty());
    assert_eq!(through.err(), Some(Errno::ENOTDIR));
    assert_eq!(world.read("/proc/self/fdinfo/0"), "pos:\t7\nflags:\t02\n");
    world.table.close(1).unwrap();
    let dir = world.open("/proc/self/fd", OpenFlags::DIRECTORY).unwrap();
    let mut sink = VecSink::new(1000);
    // ".", ".." and one descriptor, of 24 bytes each.
    assert_eq!(dir.read_dir(&mut sink), Ok(72));
}

#[test]
fn the_host_shows_itself() {
    let world = World::new();
    assert!(
        world
            .read("/proc/meminfo")
            .starts_with("MemTotal:           2048 kB\n")
    );
    assert_eq!(
        world
            .read("/proc/cpuinfo")
            .matches("vendor_id\t: AuthenticAMD")
            .count(),
        2
    );
    assert_eq!(world.read("/proc/loadavg"), "0.05 1.10 0.00 1/5 42\n");
    assert!(world.read("/proc/uptime").ends_with(" 2.46\n"));
    assert!(
        world
            .read("/proc/stat")
            .starts_with("cpu  2 0 0 246 0 0 0 0 0 0\ncpu0 1 ")
    );
    assert!(
        world
            .read("/proc/version")
            .starts_with("Linux version 6.1.0")
    );
    assert_eq!(world.read("/proc/driver/added"), "later\n");
    let boot = world.read("/proc/sys/kernel/random/boot_id");
    assert_eq!(boot, world.read("/proc/sys/kernel/random/boot_id"));
    assert_eq!((boot.len(), &boot[14..15], &boot[19..20]), (37, "4", "8"));
    let uuid = || world.read("/proc/sys/kernel/random/uuid");
    assert_ne!(uuid(), uuid());
    assert_eq!(world.read("/sys/devices/system/cpu/online"), "0-1\n");
    assert_eq!(
        world.read("/sys/devices/system/cpu/cpu1/topology/thread_siblings_list"),
        "1\n"
    );
}

#[test]
fn mounts_are_listed() {
    let world = World::new();
    let mounts = world.read("/proc/mounts");
    let expected = [
        "rootfs / rootfs rw,noatime 0 0",
        "proc /proc proc rw 0 0",
        "sysfs /sys sysfs ro 0 0",
        "tmpfs /a\\040b tmpfs rw,noexec,noatime 0 0",
    ];
    assert_eq!(mounts.lines().collect::<Vec<_>>(), expected);
    assert_eq!(world.read("/proc/self/mountinfo").lines().count(), 4);
}

#[test]
fn what_can_be_written_is_taken() {
    let world = World::new();
    let write = |path: &str, text: &str| {
        let open = world.open(path, OpenFlags::WRONLY | OpenFlags::TRUNC)?;
        open.write(&mut SliceSource::new(text.as_bytes()))
    };
    assert_eq!(write("/proc/sys/kernel/hostname", "other\n"), Ok(6));
    assert_eq!(world.read("/proc/sys/kernel/hostname"), "other\n");
    assert_eq!(
        write("/proc/self/comm", "renamed-process-of-length\n"),
        Ok(26)
    );
    assert_eq!(world.read("/proc/self/comm"), "renamed-process\n");
    assert_eq!(write("/proc/version", "x"), Err(Errno::EACCES));
    assert_eq!(
        write("/sys/devices/system/cpu/online", "0"),
        Err(Errno::EROFS)
    );
    assert_eq!(
        world.open("/proc/new", OpenFlags::CREAT).err(),
        Some(Errno::EPERM)
    );
}

#[test]
fn a_text_is_made_anew_at_its_start_only() {
    let world = World::new();
    let open = world
        .open("/proc/sys/kernel/random/uuid", OpenFlags::empty())
        .unwrap();
    let read = |len| {
        let mut sink = VecSink::new(len);
        open.read(&mut sink).unwrap();
        String::from_utf8(sink.bytes).unwrap()
    };
    let whole = read(5) + &read(100);
    assert_eq!(whole.len(), 37);
    assert_eq!(read(100), "");
    open.seek(0, 0).unwrap();
    assert_ne!(read(100), whole);
}
