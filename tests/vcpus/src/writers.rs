//! A VM whose vCPUs write their memory all the time: [`Writers`].
//!
//! Each vCPU has 16 pages of its own, writes an increasing number into the
//! first word of each, round after round, and never leaves by itself: only
//! what the monitor does to its memory gets it out.

use crate::{PAGE, Pages};
use anyhow::{Context, Result, bail, ensure};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

/// How many vCPUs.
pub const VCPUS: usize = 4;
/// Pages of each.
pub const PAGES_EACH: usize = 16;

const CODE_AT: u64 = 0x1000;
/// The vCPUs stop when this byte of the page behind the code is set.
const STOP_PAGE: usize = 1;

/// 16-bit real mode, with the vCPU's pages at ES:0 and the stop byte at DS:2000h.
const CODE: [u8; 25] = [
    0x31, 0xff, // round: xor di, di
    0x66, 0x40, // inc eax
    0x26, 0x66, 0x89, 0x05, // page: mov es:[di], eax
    0x81, 0xc7, 0x00, 0x10, // add di, 1000h
    0x75, 0xf6, // jnz page
    0x80, 0x3e, 0x00, 0x20, 0x00, // cmp byte [2000h], 0
    0x74, 0xeb, // je round
    0xf4, // hlt
    0xeb, 0xfd, // jmp hlt
    0x90,
];

/// What a vCPU's thread and the test tell each other.
#[derive(Debug, Default)]
struct Talk {
    /// How often KVM_RUN said EFAULT.
    faults: u64,
    /// How often the vCPU may go on after that.
    allowed: u64,
    /// The thread has ended.
    ended: Option<Result<(), String>>,
}

#[derive(Debug, Default)]
struct Desk {
    talk: Mutex<Talk>,
    news: Condvar,
}

impl Desk {
    fn change(&self, change: impl FnOnce(&mut Talk)) {
        change(&mut self.talk.lock().expect("invariant: no thread panics"));
        self.news.notify_all();
    }

    fn wait(&self, mut is_there: impl FnMut(&Talk) -> bool) -> Result<()> {
        let mut talk = self.talk.lock().expect("invariant: no thread panics");
        loop {
            if is_there(&talk) {
                return Ok(());
            }
            if let Some(Err(problem)) = &talk.ended {
                bail!("a vCPU ended: {problem}");
            }
            talk = self.news.wait(talk).expect("invariant: no thread panics");
        }
    }
}

/// The VM and the threads of its vCPUs.
pub struct Writers {
    /// The pages that the vCPUs write: vCPU `i` has those from `i * PAGES_EACH`.
    pub pages: Pages,
    code: Pages,
    desks: Vec<Arc<Desk>>,
    threads: Vec<JoinHandle<()>>,
    _vm: VmFd,
}

impl Writers {
    /// Starts them, and waits until each has written all its pages.
    ///
    /// # Errors
    /// The kernel refuses something, or a vCPU ends.
    pub fn start() -> Result<Writers> {
        let vm = Kvm::new().context("/dev/kvm")?.create_vm()?;
        let code = Pages::map(2)?;
        code.load(0, &CODE);
        code.add_to(&vm, 0, CODE_AT)?;
        let pages = Pages::map(VCPUS * PAGES_EACH)?;
        pages.add_to(&vm, 1, window(0))?;
        let mut writers = Writers {
            pages,
            code,
            desks: Vec::new(),
            threads: Vec::new(),
            _vm: vm,
        };
        for index in 0..VCPUS {
            let vcpu = writers._vm.create_vcpu(index as u64)?;
            prepare(&vcpu, index)?;
            let desk = Arc::new(Desk::default());
            writers.desks.push(desk.clone());
            writers
                .threads
                .push(thread::spawn(move || run(vcpu, &desk)));
        }
        for page in 0..writers.pages.count() {
            writers.wait_for_write(page, 0)?;
        }
        Ok(writers)
    }

    /// Waits until a page has another value than `old`.
    ///
    /// # Errors
    /// The vCPU that should write it has ended.
    pub fn wait_for_write(&self, page: usize, old: u32) -> Result<u32> {
        loop {
            let value = self.pages.read(page, 0);
            if value != old {
                return Ok(value);
            }
            let talk = self.desks[page / PAGES_EACH].talk.lock();
            let talk = talk.expect("invariant: no thread panics");
            if let Some(ended) = &talk.ended {
                bail!("the vCPU of page {page} has ended: {ended:?}");
            }
            ensure!(
                talk.faults == talk.allowed,
                "the vCPU of page {page} was told EFAULT, and nothing was taken from it"
            );
            drop(talk);
            thread::yield_now();
        }
    }

    /// Waits until the other vCPUs have gone some rounds.
    ///
    /// # Errors
    /// One has ended.
    pub fn let_others_write(&self, page: usize) -> Result<()> {
        for other in (0..VCPUS).filter(|vcpu| *vcpu != page / PAGES_EACH) {
            let page = other * PAGES_EACH;
            for _ in 0..3 {
                self.wait_for_write(page, self.pages.read(page, 0))?;
            }
        }
        Ok(())
    }

    /// Waits until the vCPU of a page was told that it is not there.
    ///
    /// # Errors
    /// It has ended.
    pub fn wait_for_fault(&self, page: usize) -> Result<()> {
        self.desks[page / PAGES_EACH].wait(|talk| talk.faults == talk.allowed + 1)
    }

    /// Lets it try again.
    pub fn go_on(&self, page: usize) {
        self.desks[page / PAGES_EACH].change(|talk| talk.allowed += 1);
    }

    /// How often vCPUs were told EFAULT.
    pub fn faults(&self) -> u64 {
        let faults = |desk: &Arc<Desk>| {
            let talk = desk.talk.lock();
            talk.expect("invariant: no thread panics").faults
        };
        self.desks.iter().map(faults).sum()
    }

    /// Tells the guests to halt, and takes all of it down.
    ///
    /// # Errors
    /// One ended in another way.
    pub fn stop(mut self) -> Result<()> {
        self.code.write(STOP_PAGE, 0, 1);
        for desk in &self.desks {
            desk.wait(|talk| matches!(talk.ended, Some(Ok(()))))?;
        }
        for thread in self.threads.drain(..) {
            ensure!(thread.join().is_ok(), "a vCPU's thread panicked");
        }
        Ok(())
    }
}

/// Where a vCPU's pages stand in the guest.
fn window(vcpu: usize) -> u64 {
    ((vcpu + 1) * PAGES_EACH * PAGE) as u64
}

fn prepare(vcpu: &VcpuFd, index: usize) -> Result<()> {
    let mut sregs = vcpu.get_sregs()?;
    for segment in [&mut sregs.cs, &mut sregs.ds] {
        segment.base = 0;
        segment.selector = 0;
    }
    sregs.es.base = window(index);
    sregs.es.selector = (window(index) >> 4) as u16;
    vcpu.set_sregs(&sregs)?;
    let mut regs = vcpu.get_regs()?;
    regs.rip = CODE_AT;
    regs.rflags = 2;
    // What is written tells whose it is, and its top bit stays clear for long.
    regs.rax = (index as u64) << 28;
    Ok(vcpu.set_regs(&regs)?)
}

fn run(mut vcpu: VcpuFd, desk: &Desk) {
    let ended = loop {
        match vcpu.run() {
            Ok(VcpuExit::Hlt) => break Ok(()),
            Ok(VcpuExit::MemoryFault { .. }) => {}
            Err(error) if error.errno() == libc::EFAULT => {}
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => continue,
            Ok(exit) => break Err(format!("an exit that is not expected: {exit:?}")),
            Err(error) => break Err(format!("KVM_RUN: {error}")),
        }
        desk.change(|talk| talk.faults += 1);
        let allowed = desk.wait(|talk| talk.faults == talk.allowed);
        if let Err(error) = allowed {
            break Err(error.to_string());
        }
    };
    desk.change(|talk| talk.ended = Some(ended));
}
