//! Processes as /proc shows them.

use abi::process::limit;
use abi::signal::{SIG_DFL, SIG_IGN};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use hal::mem::Prot;
use mem::{AreaInfo, PAGE};
use procfs::{Limit, MapEntry, Process, ProcessStatus, Processes, State};
use sched::ThreadState;
use vfs::{FdTable, Location};
use world::UserThread;

/// All processes.
pub struct Worlds;

/// One of them.
struct View(Arc<world::Process>);

impl Processes for Worlds {
    fn list(&self) -> Vec<u32> {
        let mut list = Vec::new();
        world::for_each_process(|process| list.push(process.pid()));
        list
    }

    fn get(&self, pid: u32) -> Option<Arc<dyn Process>> {
        Some(Arc::new(View(world::find_process(pid)?)))
    }

    fn current(&self) -> Option<(u32, u32)> {
        let thread = world::current_thread()?;
        Some((thread.process().pid(), thread.tid()))
    }
}

impl View {
    fn thread(&self, tid: Option<u32>) -> Option<Arc<UserThread>> {
        let threads = self.0.threads();
        match tid {
            None => threads.first().cloned(),
            Some(tid) => threads.iter().find(|thread| thread.tid() == tid).cloned(),
        }
    }

    fn state(&self, thread: Option<&UserThread>) -> State {
        match thread {
            None => State::Zombie,
            _ if self.0.is_zombie() => State::Zombie,
            _ if self.0.is_stopped() => State::Stopped,
            Some(thread) if thread.sched().state() == ThreadState::Parked => State::Sleeping,
            Some(_) => State::Running,
        }
    }

    /// Signals by what the program wants done: ignored and caught.
    fn dispositions(&self) -> (u64, u64) {
        let (mut ignored, mut caught) = (0, 0);
        for signal in 1..=abi::signal::number::LAST {
            match self.0.change_action(signal, None).handler {
                SIG_DFL => {}
                SIG_IGN => ignored |= 1 << (signal - 1),
                _ => caught |= 1 << (signal - 1),
            }
        }
        (ignored, caught)
    }

    fn areas(&self) -> Vec<AreaInfo> {
        self.0
            .space()
            .and_then(|space| space.areas().ok())
            .unwrap_or_default()
    }

    /// A piece of the program's memory, such as its arguments.
    fn memory(&self, (start, end): (u64, u64)) -> Vec<u8> {
        const MAX: u64 = 2 << 20;
        let Some(space) = self.0.space() else {
            return Vec::new();
        };
        let mut bytes = vec![0; end.saturating_sub(start).min(MAX) as usize];
        match space.read(start, &mut bytes) {
            Ok(()) => bytes,
            Err(_) => Vec::new(),
        }
    }
}

fn bytes_of(areas: &[AreaInfo], wanted: impl Fn(&AreaInfo) -> bool) -> u64 {
    areas
        .iter()
        .filter(|area| wanted(area))
        .map(|area| area.range.end - area.range.start)
        .sum()
}

impl Process for View {
    fn owner(&self, tid: Option<u32>) -> Option<(u32, u32)> {
        if tid.is_some() && self.thread(tid).is_none() {
            return None;
        }
        let credentials = self.0.credentials();
        Some((credentials.euid, credentials.egid))
    }

    fn status(&self, tid: Option<u32>) -> Option<ProcessStatus> {
        let process = &self.0;
        let thread = self.thread(tid);
        if tid.is_some() && thread.is_none() {
            return None;
        }
        let credentials = process.credentials();
        let areas = self.areas();
        let space = process.space();
        let (ignored, caught) = self.dispositions();
        let terminal = process.session().terminal();
        let run_ns = match (tid, &thread) {
            (Some(_), Some(thread)) => thread.sched().run_ns(),
            _ => process.usage().run_ns,
        };
        let affinity = thread
            .as_ref()
            .map_or(0, |thread| thread.sched().affinity());
        let resident = space.as_ref().map_or(0, |space| space.resident_bytes()) / PAGE;
        let mapped = space.as_ref().map_or(0, |space| space.mapped_bytes());
        Some(ProcessStatus {
            name: process.program().name,
            state: self.state(thread.as_deref()),
            pid: process.pid(),
            tid: tid.unwrap_or(process.pid()),
            parent: process.parent_pid(),
            group: process.group(),
            session: process.session().id(),
            terminal: terminal.map_or(0, |terminal| terminal.metadata().rdev),
            foreground: -1,
            uids: [
                credentials.uid,
                credentials.euid,
                credentials.suid,
                credentials.euid,
            ],
            gids: [
                credentials.gid,
                credentials.egid,
                credentials.sgid,
                credentials.egid,
            ],
            groups: credentials.groups.clone(),
            threads: process.threads().len() as u32,
            user_ns: run_ns,
            start_ns: process.started_ns(),
            virtual_bytes: mapped,
            virtual_peak_bytes: mapped,
            resident_pages: resident,
            resident_peak_pages: resident,
            text_bytes: bytes_of(&areas, |area| area.prot.contains(Prot::EXEC)),
            data_bytes: bytes_of(&areas, |area| {
                area.prot.contains(Prot::WRITE) && !area.is_stack
            }),
            stack_bytes: bytes_of(&areas, |area| area.is_stack),
            pending: thread.as_ref().map_or(0, |thread| thread.waiting().0),
            blocked: thread.as_ref().map_or(0, |thread| thread.blocked().0),
            ignored,
            caught,
            cpus: (0..hal::cpu::count())
                .filter(|&cpu| affinity & 1 << cpu != 0)
                .collect(),
            cpu: thread
                .as_ref()
                .map_or(0, |thread| thread.sched().cpu() as u32),
            no_new_privileges: process.has_no_new_privs(),
            ..ProcessStatus::default()
        })
    }

    fn threads(&self) -> Vec<u32> {
        self.0.threads().iter().map(|thread| thread.tid()).collect()
    }

    fn executable(&self) -> Option<Location> {
        self.0.program().file
    }

    fn cwd(&self) -> Option<Location> {
        Some(self.0.fs()?.cwd())
    }

    fn root(&self) -> Option<Location> {
        Some(self.0.fs()?.root())
    }

    fn descriptors(&self) -> Option<Arc<FdTable>> {
        self.0.files()
    }

    fn maps(&self) -> Vec<MapEntry> {
        let program = self.0.program().file;
        let entry = |area: AreaInfo| {
            let access = [Prot::READ, Prot::WRITE, Prot::EXEC].map(|prot| area.prot.contains(prot));
            let offset = area.object.as_ref().map_or(0, |(_, offset)| *offset);
            let label = match &area {
                area if area.is_heap => "[heap]",
                area if area.is_stack => "[stack]",
                _ => "",
            };
            // Only the program's own file is known by its place.
            let file = area
                .object
                .as_ref()
                .and(program.clone())
                .filter(|_| !area.is_shared);
            MapEntry {
                range: area.range,
                access,
                shared: area.is_shared,
                offset,
                file,
                label,
            }
        };
        self.areas().into_iter().map(entry).collect()
    }

    fn command_line(&self) -> Vec<u8> {
        self.memory(self.0.program().arguments)
    }

    fn environment(&self) -> Vec<u8> {
        self.memory(self.0.program().environment)
    }

    fn auxiliary_vector(&self) -> Vec<u8> {
        self.0.program().auxv
    }

    fn limits(&self) -> [Limit; 16] {
        const { assert!(limit::COUNT == 16) };
        core::array::from_fn(|which| {
            let limit = self.0.limit(which);
            Limit {
                soft: limit.soft,
                hard: limit.hard,
            }
        })
    }

    fn set_name(&self, tid: Option<u32>, name: &[u8]) -> vfs::Result<()> {
        let name = String::from_utf8_lossy(name).into_owned();
        let thread = self.thread(tid).ok_or(vfs::Errno::ESRCH)?;
        if tid.is_none_or(|tid| tid == self.0.pid()) {
            self.0.set_name(name.clone());
        }
        thread.sched().set_name(name);
        Ok(())
    }
}
