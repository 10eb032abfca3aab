//! Which vector is next: IRR, ISR, TMR and the processor priority.
//!
//! AMD APM vol. 2, 16.6.3 "Interrupt Handling", 16.6.4 "Task Priority",
//! 16.6.5 "Processor Priority". The highest bits of IRR and ISR are cached, so
//! [`Lapic::pending_vector`] is a comparison; finding the next highest bit
//! takes two bit scans with the help of a summary byte of non-zero words.

use super::registers::*;
use super::{Effect, Lapic};
use crate::posted::{Events, Posted};

const CLASS: u8 = 0xf0;

/// The highest bit of eight words that begin at `first`, by their summary.
#[inline]
fn highest(regs: &[u32; 64], first: usize, summary: u8) -> u8 {
    if summary == 0 {
        return 0;
    }
    let word = 7 - summary.leading_zeros() as usize;
    let bit = 31_u32.saturating_sub(regs[first + word].leading_zeros());
    (word as u32 * 32 + bit) as u8
}

#[inline]
fn position(vector: u8) -> (usize, u32) {
    (usize::from(vector >> 5), 1 << (vector & 31))
}

impl Lapic {
    /// The vector that the CPU would take if it had interrupts enabled: the
    /// highest requested one whose class is above the processor's priority.
    #[inline]
    pub fn pending_vector(&self) -> Option<u8> {
        if self.irr_top & CLASS > self.regs[PPR] as u8 & CLASS {
            Some(self.irr_top)
        } else {
            None
        }
    }

    /// The highest requested vector, whatever the priority: if it is there
    /// and [`Lapic::pending_vector`] is not, lowering TPR may release it.
    #[inline]
    pub fn requested_vector(&self) -> Option<u8> {
        (self.irr_top != 0).then_some(self.irr_top)
    }

    /// The CPU takes the pending vector: from IRR to ISR.
    #[inline]
    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending_vector()?;
        let (word, bit) = position(vector);
        self.regs[IRR + word] &= !bit;
        if self.regs[IRR + word] == 0 {
            self.irr_words &= !(1 << word);
        }
        self.irr_top = highest(&self.regs, IRR, self.irr_words);
        self.regs[ISR + word] |= bit;
        self.isr_words |= 1 << word;
        // Its class is above PPR, so above everything in service.
        self.isr_top = vector;
        self.refresh_ppr();
        Some(vector)
    }

    /// Requests a vector. Edges and levels differ only in what their end does.
    #[inline]
    pub fn accept(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            return self.report_error(ESR_RECEIVE_ILLEGAL_VECTOR);
        }
        if !self.is_software_enabled() {
            return;
        }
        let (word, bit) = position(vector);
        if level {
            self.regs[TMR + word] |= bit;
        } else {
            self.regs[TMR + word] &= !bit;
        }
        self.regs[IRR + word] |= bit;
        self.irr_words |= 1 << word;
        self.irr_top = self.irr_top.max(vector);
    }

    /// Takes everything posted by other CPUs: vectors go to IRR, the events
    /// are returned. When nothing is posted this is one load.
    #[inline]
    pub fn take_posted(&mut self, posted: &Posted) -> Events {
        if posted.is_quiet() {
            return Events::default();
        }
        let events = posted.take();
        if events.contains(Events::VECTORS) {
            self.merge(posted);
        }
        events
    }

    /// Takes the posted vectors into IRR.
    pub fn merge(&mut self, posted: &Posted) {
        for word in 0..4 {
            let (vectors, levels) = posted.take_word(word);
            if vectors != 0 {
                self.accept_word(word * 2, vectors as u32, levels as u32);
                self.accept_word(word * 2 + 1, (vectors >> 32) as u32, (levels >> 32) as u32);
            }
        }
        self.irr_top = highest(&self.regs, IRR, self.irr_words);
    }

    fn accept_word(&mut self, word: usize, mut vectors: u32, levels: u32) {
        const ILLEGAL: u32 = (1 << FIRST_VECTOR) - 1;
        if word == 0 && vectors & ILLEGAL != 0 {
            self.report_error(ESR_RECEIVE_ILLEGAL_VECTOR);
            vectors &= !ILLEGAL;
        }
        if vectors == 0 || !self.is_software_enabled() {
            return;
        }
        let tmr = &mut self.regs[TMR + word];
        *tmr = *tmr & !vectors | levels & vectors;
        self.regs[IRR + word] |= vectors;
        self.irr_words |= 1 << word;
    }

    /// A write to EOI: the highest vector in service ends.
    #[inline]
    pub(super) fn end_of_interrupt(&mut self) -> Effect {
        let vector = self.isr_top;
        if vector == 0 {
            return Effect::None;
        }
        let (word, bit) = position(vector);
        self.regs[ISR + word] &= !bit;
        if self.regs[ISR + word] == 0 {
            self.isr_words &= !(1 << word);
        }
        self.isr_top = highest(&self.regs, ISR, self.isr_words);
        self.refresh_ppr();
        if self.regs[TMR + word] & bit != 0 {
            Effect::EndOfInterrupt(vector)
        } else {
            Effect::None
        }
    }

    /// The task priority register; CR8 is its upper four bits.
    #[inline]
    pub fn tpr(&self) -> u8 {
        self.regs[TPR] as u8
    }

    /// Sets the task priority, from the page or from CR8 shifted by four.
    #[inline]
    pub fn set_tpr(&mut self, tpr: u8) {
        self.regs[TPR] = u32::from(tpr);
        self.refresh_ppr();
    }

    /// PPR is TPR, unless something of a higher class is in service; then it
    /// is that class. Both cases are a maximum.
    #[inline]
    fn refresh_ppr(&mut self) {
        self.regs[PPR] = u32::from(self.tpr().max(self.isr_top & CLASS));
    }

    /// Recomputes what is cached of IRR, ISR and PPR from the page.
    pub(super) fn refresh_caches(&mut self) {
        let summary = |first: usize| {
            let words = &self.regs[first..first + 8];
            let bit = |(i, &word): (usize, &u32)| u8::from(word != 0) << i;
            words.iter().enumerate().map(bit).fold(0, |a, b| a | b)
        };
        (self.irr_words, self.isr_words) = (summary(IRR), summary(ISR));
        self.irr_top = highest(&self.regs, IRR, self.irr_words);
        self.isr_top = highest(&self.regs, ISR, self.isr_words);
        self.refresh_ppr();
    }
}
