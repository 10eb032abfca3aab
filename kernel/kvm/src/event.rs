//! Exceptions, NMIs and interrupts between their cause and their delivery:
//! [`EventQueue`]. At most one of them is delivered by an entry; one whose
//! delivery an exit cut short goes first. APM volume 2, 8.2.9 (#DF), 15.20
//! (event injection).

use x86::vector::{self, Class};

/// Something that the processor delivers through the guest's IDT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception.
    Exception {
        /// Its vector.
        vector: u8,
        /// Its error code, where it has one.
        error: Option<u32>,
    },
    /// A non-maskable interrupt.
    Nmi,
    /// An external interrupt.
    Interrupt(u8),
    /// INT n; the instruction is executed again instead of being injected.
    Software(u8),
}

/// What waits for one vCPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQueue {
    /// Delivered at the next entry.
    pub exception: Option<(u8, Option<u32>)>,
    /// An external interrupt that has left its controller.
    pub interrupt: Option<u8>,
    /// An NMI whose delivery was cut short.
    pub nmi_injected: bool,
    /// NMIs that wait, at most two.
    pub nmi_pending: u8,
    /// NMIs are blocked until IRET.
    pub nmi_masked: bool,
    /// Faults added up to a triple fault.
    pub triple_fault: bool,
}

impl EventQueue {
    /// Nothing waits to be delivered.
    #[inline]
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.exception.is_none()
            && self.interrupt.is_none()
            && !self.nmi_injected
            && self.nmi_pending == 0
            && !self.triple_fault
    }

    /// Adds an exception that the kernel raises on the guest's behalf.
    pub fn raise(&mut self, vector: u8, error: Option<u32>) {
        let Some((first, _)) = self.exception else {
            self.exception = Some((vector, error));
            return;
        };
        if first == vector::DF {
            self.triple_fault = true;
            self.exception = None;
            return;
        }
        let double = matches!(
            (vector::class(first), vector::class(vector)),
            (Class::Contributory, Class::Contributory)
                | (Class::PageFault, Class::Contributory | Class::PageFault)
        );
        self.exception = Some(if double {
            (vector::DF, Some(0))
        } else {
            (vector, error)
        });
    }

    /// Puts back what an exit cut short.
    pub fn put_back(&mut self, event: Event) {
        match event {
            // A breakpoint or overflow instruction is simply executed again.
            Event::Exception {
                vector: vector::BP | vector::OF,
                ..
            }
            | Event::Software(_) => {}
            Event::Exception { vector, error } => self.raise(vector, error),
            Event::Nmi => self.nmi_injected = true,
            Event::Interrupt(vector) => self.interrupt = Some(vector),
        }
    }

    /// Puts back what [`EventQueue::next`] gave out and was not delivered.
    pub fn undo(&mut self, event: Event) {
        match event {
            Event::Exception { vector, error } => self.exception = Some((vector, error)),
            Event::Nmi => self.nmi_injected = true,
            Event::Interrupt(vector) => self.interrupt = Some(vector),
            Event::Software(_) => {}
        }
    }

    /// An NMI arrives.
    pub fn post_nmi(&mut self) {
        let limit = if self.nmi_masked || self.nmi_injected {
            1
        } else {
            2
        };
        self.nmi_pending = (self.nmi_pending + 1).min(limit);
    }

    /// The next event, if the guest's state admits one. External interrupts
    /// that are still in a controller are the caller's to offer.
    pub fn next(&mut self, shadow: bool) -> Option<Event> {
        if let Some((vector, error)) = self.exception.take() {
            return Some(Event::Exception { vector, error });
        }
        if self.nmi_injected {
            self.nmi_injected = false;
            self.nmi_masked = true;
            return Some(Event::Nmi);
        }
        if let Some(vector) = self.interrupt.take() {
            return Some(Event::Interrupt(vector));
        }
        if self.nmi_pending > 0 && !self.nmi_masked && !shadow {
            self.nmi_pending -= 1;
            self.nmi_masked = true;
            return Some(Event::Nmi);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use x86::vector::{DB, DF, GP, NP, PF};

    #[test]
    fn faults_add_up_to_a_triple_fault() {
        let mut queue = EventQueue::default();
        queue.raise(PF, Some(2));
        queue.raise(GP, Some(0));
        assert_eq!(queue.exception, Some((DF, Some(0))));
        queue.raise(NP, Some(0));
        assert!(queue.triple_fault);
    }

    #[test]
    fn benign_exceptions_replace() {
        let mut queue = EventQueue::default();
        queue.raise(GP, Some(0));
        queue.raise(PF, Some(6));
        assert_eq!(queue.exception, Some((PF, Some(6))));
        queue.raise(DB, None);
        assert_eq!(queue.exception, Some((DB, None)));
    }

    #[test]
    fn order_is_exception_cut_short_then_new() {
        let mut queue = EventQueue::default();
        queue.post_nmi();
        queue.put_back(Event::Interrupt(0x30));
        queue.raise(GP, Some(0));
        assert_eq!(
            queue.next(false),
            Some(Event::Exception {
                vector: GP,
                error: Some(0)
            })
        );
        assert_eq!(queue.next(false), Some(Event::Interrupt(0x30)));
        assert_eq!(queue.next(true), None);
        assert_eq!(queue.next(false), Some(Event::Nmi));
        assert!(queue.nmi_masked);
        queue.post_nmi();
        assert_eq!(queue.next(false), None);
        assert!(!queue.is_quiet());
    }

    #[test]
    fn software_events_are_executed_again() {
        let mut queue = EventQueue::default();
        queue.put_back(Event::Software(0x80));
        queue.put_back(Event::Exception {
            vector: vector::BP,
            error: None,
        });
        assert!(queue.is_quiet());
    }
}
