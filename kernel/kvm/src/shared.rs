//! The part of a vCPU that other threads reach while its own thread runs it:
//! [`VcpuShared`].

use crate::run_page::RunPage;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::Waker;
use irqchip::{Events, Identity, Kick, Message, Posted};
use sync::SpinLock;
use wait::TimerTarget;

/// Requests that other threads post beside interrupts.
pub mod request {
    use irqchip::Events;
    /// Forget cached translations.
    pub const FLUSH: Events = Events::request(0);
    /// Memory slots, ioeventfds or the destination map are new.
    pub const CONFIG: Events = Events::request(1);
    /// The local APIC's timer may have expired.
    pub const TIMER: Events = Events::request(2);
    /// Write the paravirtual clock anew.
    pub const CLOCK: Events = Events::request(3);
    /// Leave the guest and look around.
    pub const LOOK: Events = Events::request(4);
}

const CPU: usize = 0xFF;
const ENTRY: usize = 0x100;

/// One uninterrupted run of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay(usize);

impl Stay {
    /// The CPU on which the guest runs.
    #[inline]
    #[must_use]
    pub const fn cpu(self) -> usize {
        (self.0 & CPU) - 1
    }
}

/// What other threads may touch.
pub struct VcpuShared {
    /// The id that the monitor chose; also the APIC id.
    pub id: u32,
    /// Position in the VM's list.
    pub index: u8,
    /// Interrupts and requests on their way.
    pub posted: Posted,
    /// Low byte: the CPU on which the guest runs, plus one, or 0. Above: counts
    /// entries, so that one stay is told from the next.
    stay: AtomicUsize,
    sleeper: SpinLock<Option<Waker>>,
    /// What messages are compared with.
    identity: SpinLock<Option<Identity>>,
    /// The pages shared with the monitor.
    pub page: RunPage,
}

impl VcpuShared {
    /// Of a new vCPU.
    #[must_use]
    pub fn new(id: u32, index: u8, page: RunPage) -> Self {
        VcpuShared {
            id,
            index,
            posted: Posted::new(),
            stay: AtomicUsize::new(0),
            sleeper: SpinLock::new(None),
            identity: SpinLock::new(None),
            page,
        }
    }

    /// Owner: declares that CPU `cpu` runs the guest from now on. `false`:
    /// something waits, look first.
    #[inline]
    pub fn enter(&self, cpu: usize) -> bool {
        // Before the read-modify-write of `Posted::enter`, so that a poster
        // whose event comes after it sees the stay.
        let stay = self.stay.load(Ordering::Relaxed) + ENTRY;
        self.stay.store(stay | (cpu + 1), Ordering::Relaxed);
        if self.posted.enter() {
            return true;
        }
        self.stay.store(stay, Ordering::Relaxed);
        false
    }

    /// Owner: the guest does not run any more.
    #[inline]
    pub fn leave(&self) {
        self.posted.leave();
        let stay = self.stay.load(Ordering::Relaxed);
        self.stay.store(stay & !CPU, Ordering::Release);
    }

    /// The present stay in the guest, if there is one. Asked after an event was
    /// posted, "none" means that the next entry sees the event.
    #[inline]
    #[must_use]
    pub fn stay(&self) -> Option<Stay> {
        let word = self.stay.load(Ordering::Acquire);
        (word & CPU != 0).then_some(Stay(word))
    }

    /// Interrupts a stay and waits until it is over.
    pub fn end(&self, stay: Stay) {
        hal::cpu::kick(stay.cpu());
        while self.stay.load(Ordering::Acquire) == stay.0 {
            hal::cpu::relax();
        }
    }

    /// Owner: `wake` ends the sleep that follows.
    pub fn set_sleeper(&self, wake: Option<Waker>) {
        *self.sleeper.lock() = wake;
    }

    /// Owner: the local APIC's identity has changed.
    pub fn set_identity(&self, identity: Identity) {
        *self.identity.lock() = Some(identity);
    }

    /// The local APIC's identity, if there is one in the kernel.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        *self.identity.lock()
    }

    /// Posts events and makes the vCPU notice.
    pub fn post(&self, events: Events) {
        self.kick(self.posted.post(events));
    }

    /// Posts an interrupt message and makes the vCPU notice. `false`: it was
    /// pending already.
    #[inline]
    pub fn deliver(&self, message: &Message) -> bool {
        match self.posted.deliver(message) {
            Some(kick) => {
                self.kick(kick);
                true
            }
            None => false,
        }
    }

    /// Does what a poster was told to do.
    #[inline]
    pub fn kick(&self, kick: Kick) {
        match kick {
            Kick::None => {}
            Kick::Interrupt => {
                if let Some(stay) = self.stay() {
                    hal::cpu::kick(stay.cpu());
                }
            }
            Kick::Wake => {
                let sleeper = self.sleeper.lock().clone();
                if let Some(thread) = sleeper {
                    thread.wake();
                }
            }
        }
    }
}

/// The local APIC's timer.
impl TimerTarget for VcpuShared {
    fn expired(&self, _now_ns: u64) {
        self.post(request::TIMER);
    }
}
