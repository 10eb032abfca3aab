//! /proc/PID: the directory of a process, made from [`Process`].

use crate::generated::{Directory, Entry, Tree};
use crate::host::ranges;
use crate::mounts::{mountinfo_text, mounts_text};
use crate::process::{Process, ProcessStatus, Processes};
use abi::Errno;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt::Write;
use vfs::{FileKind, Location, Namespace, OpenFile, Result};

/// Clock ticks a second in /proc.
const TICK_NS: u64 = 10_000_000;
const PAGE: u64 = 4096;

type Shared = Arc<dyn Process>;

pub(crate) fn fill(tree: &Arc<Tree>, processes: &Arc<dyn Processes>, namespace: &Arc<Namespace>) {
    let current = processes.clone();
    let own = move || current.current().ok_or(Errno::ENOENT);
    let thread = own.clone();
    let own_link = move || Ok(format!("{}", own()?.0).into_bytes());
    tree.add("self", Entry::link(own_link));
    let thread_link = move || {
        let (pid, tid) = thread()?;
        Ok(format!("{pid}/task/{tid}").into_bytes())
    };
    tree.add("thread-self", Entry::link(thread_link));
    tree.add("mounts", Entry::link(|| Ok(Vec::from(b"self/mounts"))));
    tree.set_more(Arc::new(AllProcesses {
        processes: processes.clone(),
        namespace: namespace.clone(),
    }));
}

/// A name as a number without leading zeros.
fn number(name: &[u8]) -> Result<u32> {
    let text = core::str::from_utf8(name).map_err(|_| Errno::ENOENT)?;
    let plain =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (!text.starts_with('0') || text == "0");
    if !plain {
        return Err(Errno::ENOENT);
    }
    text.parse().map_err(|_| Errno::ENOENT)
}

struct AllProcesses {
    processes: Arc<dyn Processes>,
    namespace: Arc<Namespace>,
}

impl Directory for AllProcesses {
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>> {
        let process = self.processes.get(number(name)?).ok_or(Errno::ENOENT)?;
        let owner = owner(&process, None)?;
        let namespace = self.namespace.clone();
        let dir = ProcessDir {
            process,
            thread: None,
            namespace,
        };
        Ok(Arc::new(
            Entry::directory(Arc::new(dir)).owned(0o555, owner.0, owner.1),
        ))
    }
    fn list(&self) -> Vec<(Vec<u8>, FileKind)> {
        let pids = self.processes.list();
        pids.iter()
            .map(|pid| (format!("{pid}").into_bytes(), FileKind::Directory))
            .collect()
    }
}

fn owner(process: &Shared, thread: Option<u32>) -> Result<(u32, u32)> {
    process.owner(thread).ok_or(Errno::ENOENT)
}

/// /proc/PID, or /proc/PID/task/TID.
struct ProcessDir {
    process: Shared,
    thread: Option<u32>,
    namespace: Arc<Namespace>,
}

/// Names of /proc/PID, with their permissions.
const NAMES: [(&str, FileKind, u32); 19] = [
    ("auxv", FileKind::Regular, 0o400),
    ("cgroup", FileKind::Regular, 0o444),
    ("cmdline", FileKind::Regular, 0o444),
    ("comm", FileKind::Regular, 0o644),
    ("cwd", FileKind::Symlink, 0o777),
    ("environ", FileKind::Regular, 0o400),
    ("exe", FileKind::Symlink, 0o777),
    ("fd", FileKind::Directory, 0o500),
    ("fdinfo", FileKind::Directory, 0o555),
    ("limits", FileKind::Regular, 0o444),
    ("maps", FileKind::Regular, 0o444),
    ("mountinfo", FileKind::Regular, 0o444),
    ("mounts", FileKind::Regular, 0o444),
    ("oom_score_adj", FileKind::Regular, 0o444),
    ("root", FileKind::Symlink, 0o777),
    ("stat", FileKind::Regular, 0o444),
    ("statm", FileKind::Regular, 0o444),
    ("status", FileKind::Regular, 0o444),
    ("task", FileKind::Directory, 0o555),
];

impl ProcessDir {
    fn root(&self) -> Location {
        self.process.root().unwrap_or_else(|| self.namespace.root())
    }

    /// A link to a place of the process.
    fn place(&self, find: fn(&dyn Process) -> Option<Location>) -> Entry {
        let (process, other, namespace) = (
            self.process.clone(),
            self.process.clone(),
            self.namespace.clone(),
        );
        let text = move || {
            let place = find(&*process).ok_or(Errno::ENOENT)?;
            Ok(place.path(&namespace.root()))
        };
        Entry::jump(text, move || find(&*other).ok_or(Errno::ENOENT))
    }

    fn text(&self, make: fn(&ProcessDir) -> Result<Vec<u8>>) -> Entry {
        let dir = self.copy();
        Entry::text(move || make(&dir))
    }

    fn copy(&self) -> ProcessDir {
        ProcessDir {
            process: self.process.clone(),
            thread: self.thread,
            namespace: self.namespace.clone(),
        }
    }

    fn status(&self) -> Result<ProcessStatus> {
        self.process.status(self.thread).ok_or(Errno::ESRCH)
    }

    fn entry(&self, name: &str) -> Result<Entry> {
        Ok(match name {
            "auxv" => self.text(|dir| Ok(dir.process.auxiliary_vector())),
            "cgroup" => self.text(|_| Ok(Vec::from(b"0::/\n"))),
            "cmdline" => self.text(|dir| Ok(dir.process.command_line())),
            "comm" => self.name_entry(),
            "cwd" => self.place(|process| process.cwd()),
            "environ" => self.text(|dir| Ok(dir.process.environment())),
            "exe" => self.place(|process| process.executable()),
            "fd" => Entry::directory(Arc::new(Descriptors {
                dir: self.copy(),
                info: false,
            })),
            "fdinfo" => Entry::directory(Arc::new(Descriptors {
                dir: self.copy(),
                info: true,
            })),
            "limits" => self.text(|dir| Ok(limits_text(&*dir.process).into_bytes())),
            "maps" => self.text(|dir| Ok(maps_text(dir))),
            "mountinfo" => self.text(|dir| Ok(mountinfo_text(&dir.namespace, &dir.root()))),
            "mounts" => self.text(|dir| Ok(mounts_text(&dir.namespace, &dir.root()))),
            "oom_score_adj" => self.text(|_| Ok(Vec::from(b"0\n"))),
            "root" => self.place(|process| process.root()),
            "stat" => self.text(|dir| Ok(stat_text(&dir.status()?).into_bytes())),
            "statm" => self.text(|dir| Ok(statm_text(&dir.status()?).into_bytes())),
            "status" => self.text(|dir| Ok(status_text(&dir.status()?).into_bytes())),
            "task" if self.thread.is_none() => {
                Entry::directory(Arc::new(Threads { dir: self.copy() }))
            }
            _ => return Err(Errno::ENOENT),
        })
    }

    fn name_entry(&self) -> Entry {
        let (dir, target) = (self.copy(), self.copy());
        let make = move || Ok(format!("{}\n", dir.status()?.name).into_bytes());
        let take = move |bytes: &[u8]| {
            let name = bytes.strip_suffix(b"\n").unwrap_or(bytes);
            target
                .process
                .set_name(target.thread, &name[..name.len().min(15)])
        };
        Entry::writable(make, take)
    }
}

impl Directory for ProcessDir {
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>> {
        let known = NAMES.iter().find(|(known, ..)| known.as_bytes() == name);
        let (name, _, permissions) = known.ok_or(Errno::ENOENT)?;
        let (uid, gid) = owner(&self.process, self.thread)?;
        Ok(Arc::new(self.entry(name)?.owned(*permissions, uid, gid)))
    }
    fn list(&self) -> Vec<(Vec<u8>, FileKind)> {
        let shown = NAMES
            .iter()
            .filter(|(name, ..)| *name != "task" || self.thread.is_none());
        shown
            .map(|(name, kind, _)| (name.as_bytes().to_vec(), *kind))
            .collect()
    }
}

/// /proc/PID/task.
struct Threads {
    dir: ProcessDir,
}

impl Directory for Threads {
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>> {
        let thread = number(name)?;
        if !self.dir.process.threads().contains(&thread) {
            return Err(Errno::ENOENT);
        }
        let (uid, gid) = owner(&self.dir.process, Some(thread))?;
        let dir = ProcessDir {
            thread: Some(thread),
            ..self.dir.copy()
        };
        Ok(Arc::new(
            Entry::directory(Arc::new(dir)).owned(0o555, uid, gid),
        ))
    }
    fn list(&self) -> Vec<(Vec<u8>, FileKind)> {
        let threads = self.dir.process.threads();
        threads
            .iter()
            .map(|tid| (format!("{tid}").into_bytes(), FileKind::Directory))
            .collect()
    }
}

/// /proc/PID/fd and /proc/PID/fdinfo.
struct Descriptors {
    dir: ProcessDir,
    info: bool,
}

impl Descriptors {
    fn open(process: &Shared, fd: i32) -> Result<Arc<OpenFile>> {
        let table = process.descriptors().ok_or(Errno::ENOENT)?;
        table.get(fd).map_err(|_| Errno::ENOENT)
    }
}

fn fd_text(open: &OpenFile, root: &Location) -> Vec<u8> {
    match open.place() {
        Some(place) => place.path(root),
        None => open.file().label().into_bytes(),
    }
}

impl Directory for Descriptors {
    fn lookup(&self, name: &[u8]) -> Result<Arc<Entry>> {
        let fd = number(name)? as i32;
        let process = self.dir.process.clone();
        Self::open(&process, fd)?;
        let (uid, gid) = owner(&process, None)?;
        if self.info {
            let text = move || {
                let open = Self::open(&process, fd)?;
                let (position, flags) = (open.position(), open.flags().bits());
                Ok(format!("pos:\t{position}\nflags:\t0{flags:o}\n").into_bytes())
            };
            return Ok(Arc::new(Entry::text(text).owned(0o444, uid, gid)));
        }
        let (other, namespace) = (process.clone(), self.dir.namespace.clone());
        let text = move || Ok(fd_text(&*Self::open(&process, fd)?, &namespace.root()));
        let jump = move || {
            let open = Self::open(&other, fd)?;
            open.place()
                .cloned()
                .map_or_else(|| Location::anonymous(open.file()), Ok)
        };
        Ok(Arc::new(Entry::jump(text, jump).owned(0o700, uid, gid)))
    }

    fn list(&self) -> Vec<(Vec<u8>, FileKind)> {
        let kind = if self.info {
            FileKind::Regular
        } else {
            FileKind::Symlink
        };
        let slots = self
            .dir
            .process
            .descriptors()
            .map(|table| table.list())
            .unwrap_or_default();
        slots
            .iter()
            .map(|slot| (format!("{}", slot.fd).into_bytes(), kind))
            .collect()
    }
}

fn maps_text(dir: &ProcessDir) -> Vec<u8> {
    let root = dir.namespace.root();
    let mut text = Vec::new();
    for map in dir.process.maps() {
        let (device, inode, path) = match &map.file {
            Some(place) => {
                let metadata = place.inode().metadata();
                (metadata.device, metadata.inode, place.path(&root))
            }
            None => (0, 0, Vec::from(map.label)),
        };
        let letter = |index: usize, letter: char| if map.access[index] { letter } else { '-' };
        let line = format!(
            "{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {inode}",
            map.range.start,
            map.range.end,
            letter(0, 'r'),
            letter(1, 'w'),
            letter(2, 'x'),
            if map.shared { 's' } else { 'p' },
            map.offset,
            abi::fs::major(device),
            abi::fs::minor(device),
        );
        text.extend_from_slice(line.as_bytes());
        if !path.is_empty() {
            // Paths start in column 73.
            text.resize(text.len() + 73usize.saturating_sub(line.len()).max(1), b' ');
            text.extend_from_slice(&path);
        }
        text.push(b'\n');
    }
    text
}

fn limits_text(process: &dyn Process) -> String {
    const NAMES: [(&str, &str); 16] = [
        ("Max cpu time", "seconds"),
        ("Max file size", "bytes"),
        ("Max data size", "bytes"),
        ("Max stack size", "bytes"),
        ("Max core file size", "bytes"),
        ("Max resident set", "bytes"),
        ("Max processes", "processes"),
        ("Max open files", "files"),
        ("Max locked memory", "bytes"),
        ("Max address space", "bytes"),
        ("Max file locks", "locks"),
        ("Max pending signals", "signals"),
        ("Max msgqueue size", "bytes"),
        ("Max nice priority", ""),
        ("Max realtime priority", ""),
        ("Max realtime timeout", "us"),
    ];
    let show = |value: u64| match value {
        u64::MAX => String::from("unlimited"),
        value => format!("{value}"),
    };
    let mut text = format!(
        "{:<25} {:<20} {:<20} {:<10}\n",
        "Limit", "Soft Limit", "Hard Limit", "Units"
    );
    for ((name, unit), limit) in NAMES.iter().zip(process.limits()) {
        let (soft, hard) = (show(limit.soft), show(limit.hard));
        let _ = writeln!(text, "{name:<25} {soft:<20} {hard:<20} {unit:<10}");
    }
    text
}

fn statm_text(status: &ProcessStatus) -> String {
    format!(
        "{} {} {} {} 0 {} 0\n",
        status.virtual_bytes / PAGE,
        status.resident_pages,
        status.shared_pages,
        status.text_bytes.div_ceil(PAGE),
        status.data_bytes.div_ceil(PAGE),
    )
}

/// The 52 numbers of proc_pid_stat(5).
fn stat_text(status: &ProcessStatus) -> String {
    let ticks = |ns: u64| ns / TICK_NS;
    let mut text = format!(
        "{} ({}) {} {} {} {} {} {} 0 {} 0 0 0 {} {} 0 0 20 0 {} 0 {} {} {}",
        status.tid,
        status.name,
        status.state.letter(),
        status.parent,
        status.group,
        status.session,
        status.terminal,
        status.foreground,
        status.faults,
        ticks(status.user_ns),
        ticks(status.system_ns),
        status.threads,
        ticks(status.start_ns),
        status.virtual_bytes,
        status.resident_pages,
    );
    let _ = writeln!(
        text,
        " {} {} {} {} 0 0 {} {} {} {} 0 0 0 17 {} 0 0 0 0 0 0 0 0 0 0 0 0 0",
        u64::MAX,
        status.text.start,
        status.text.end,
        status.stack_start,
        status.pending,
        status.blocked,
        status.ignored,
        status.caught,
        status.cpu,
    );
    text
}

fn status_text(status: &ProcessStatus) -> String {
    let kib = |bytes: u64| bytes / 1024;
    let groups: String = status
        .groups
        .iter()
        .map(|group| format!("{group} "))
        .collect();
    let [u1, u2, u3, u4] = status.uids;
    let [g1, g2, g3, g4] = status.gids;
    let mut text = format!(
        "Name:\t{}\nUmask:\t0022\nState:\t{} ({})\nTgid:\t{}\nNgid:\t0\nPid:\t{}\nPPid:\t{}\n\
         TracerPid:\t0\nUid:\t{u1}\t{u2}\t{u3}\t{u4}\nGid:\t{g1}\t{g2}\t{g3}\t{g4}\nFDSize:\t64\n\
         Groups:\t{groups}\n",
        status.name,
        status.state.letter(),
        status.state.word(),
        status.pid,
        status.tid,
        status.parent,
    );
    let resident = status.resident_pages * 4;
    let shared = status.shared_pages * 4;
    let sizes = [
        ("VmPeak", kib(status.virtual_peak_bytes)),
        ("VmSize", kib(status.virtual_bytes)),
        ("VmLck", 0),
        ("VmHWM", status.resident_peak_pages * 4),
        ("VmRSS", resident),
        ("RssAnon", resident.saturating_sub(shared)),
        ("RssFile", shared),
        ("RssShmem", 0),
        ("VmData", kib(status.data_bytes)),
        ("VmStk", kib(status.stack_bytes)),
        ("VmExe", kib(status.text_bytes)),
        ("VmSwap", 0),
    ];
    for (name, size) in sizes {
        let _ = writeln!(text, "{name}:\t{size:>8} kB");
    }
    let cpus = status.cpus.iter().copied().collect();
    let mask = status
        .cpus
        .iter()
        .filter(|cpu| **cpu < 64)
        .fold(0u64, |mask, cpu| mask | 1 << cpu);
    let _ = write!(
        text,
        "Threads:\t{}\nSigPnd:\t{:016x}\nShdPnd:\t{:016x}\nSigBlk:\t{:016x}\nSigIgn:\t{:016x}\n\
         SigCgt:\t{:016x}\nCapInh:\t0000000000000000\nNoNewPrivs:\t{}\nSeccomp:\t{}\n\
         Cpus_allowed:\t{mask:x}\nCpus_allowed_list:\t{}\nvoluntary_ctxt_switches:\t{}\n\
         nonvoluntary_ctxt_switches:\t{}\n",
        status.threads,
        status.pending,
        0,
        status.blocked,
        status.ignored,
        status.caught,
        u32::from(status.no_new_privileges),
        status.seccomp,
        ranges(&cpus),
        status.switches[0],
        status.switches[1],
    );
    text
}
