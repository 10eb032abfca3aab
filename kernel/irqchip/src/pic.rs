//! The two cascaded interrupt controllers of a PC: [`Pic`].
//!
//! Intel 8259A data sheet: "Initialization Command Words", "Operation Command
//! Words", "Poll Command", "Special Fully Nested Mode". The edge/level
//! registers at 0x4d0 and 0x4d1 are those of the PCI chip sets (Intel 82371SB,
//! ELCR). The second chip's output is input 2 of the first, as a level.

use abi::kvm_irqchip::PicState;

const CASCADE: u8 = 2;

/// Which word the data port expects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expect {
    #[default]
    Mask,
    Icw2,
    Icw3,
    Icw4,
}

#[derive(Clone, Debug, Default)]
struct Chip {
    lines: u8,
    irr: u8,
    imr: u8,
    isr: u8,
    /// The input with the highest priority.
    first: u8,
    vector_base: u8,
    read_isr: bool,
    poll: bool,
    special_mask: bool,
    expect: Expect,
    auto_eoi: bool,
    rotate_on_auto_eoi: bool,
    special_nested: bool,
    icw4_follows: bool,
    elcr: u8,
    elcr_mask: u8,
}

impl Chip {
    /// Position of the best input of `set` in the order of priority; 8: none.
    fn rank(&self, set: u8) -> u32 {
        set.rotate_right(u32::from(self.first)).trailing_zeros()
    }

    fn at_rank(&self, rank: u32) -> u8 {
        (rank as u8 + self.first) & 7
    }

    /// The input that the chip wants served.
    fn pending(&self) -> Option<u8> {
        let request = self.rank(self.irr & !self.imr);
        let mut blocking = self.isr;
        if self.special_mask {
            blocking &= !self.imr;
        }
        if self.special_nested {
            blocking &= !(1 << CASCADE);
        }
        (request < self.rank(blocking)).then(|| self.at_rank(request))
    }

    fn set_line(&mut self, input: u8, level: bool) {
        let bit = 1 << input;
        let rises = level && self.lines & bit == 0;
        if level {
            self.lines |= bit;
        } else {
            self.lines &= !bit;
        }
        if rises {
            self.irr |= bit;
        } else if self.elcr & bit != 0 && !level {
            self.irr &= !bit;
        }
    }

    /// The processor takes `input`. Returns the inputs that end by that.
    fn acknowledge(&mut self, input: u8) -> u8 {
        let bit = 1 << input;
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
        if !self.auto_eoi {
            self.isr |= bit;
            return 0;
        }
        if self.rotate_on_auto_eoi {
            self.first = (input + 1) & 7;
        }
        bit
    }

    fn end(&mut self, input: u8, rotate: bool) -> u8 {
        let bit = 1 << input;
        let ended = self.isr & bit;
        self.isr &= !bit;
        if rotate {
            self.first = (input + 1) & 7;
        }
        ended
    }

    fn end_highest(&mut self, rotate: bool) -> u8 {
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        match self.rank(serving) {
            8 => 0,
            rank => self.end(self.at_rank(rank), rotate),
        }
    }

    fn write_command(&mut self, value: u8) -> u8 {
        if value & 0x10 != 0 {
            self.initialize(value);
        } else if value & 0x08 != 0 {
            self.poll |= value & 4 != 0;
            if value & 2 != 0 {
                self.read_isr = value & 1 != 0;
            }
            if value & 0x40 != 0 {
                self.special_mask = value & 0x20 != 0;
            }
        } else {
            return self.operate(value);
        }
        0
    }

    /// ICW1. The edge detectors start anew: a line that is up must fall and
    /// rise again. Levels stay requested.
    fn initialize(&mut self, icw1: u8) {
        *self = Self {
            lines: self.lines,
            irr: self.lines & self.elcr,
            vector_base: self.vector_base,
            expect: Expect::Icw2,
            icw4_follows: icw1 & 1 != 0,
            elcr: self.elcr,
            elcr_mask: self.elcr_mask,
            ..Self::default()
        };
    }

    /// OCW2: bits 7:5 are rotate, specific, end.
    fn operate(&mut self, value: u8) -> u8 {
        let input = value & 7;
        match value >> 5 {
            0 => self.rotate_on_auto_eoi = false,
            4 => self.rotate_on_auto_eoi = true,
            1 => return self.end_highest(false),
            5 => return self.end_highest(true),
            3 => return self.end(input, false),
            7 => return self.end(input, true),
            6 => self.first = (input + 1) & 7,
            _ => {}
        }
        0
    }

    fn write_data(&mut self, value: u8) {
        self.expect = match self.expect {
            Expect::Mask => {
                self.imr = value;
                Expect::Mask
            }
            Expect::Icw2 => {
                self.vector_base = value & 0xf8;
                Expect::Icw3
            }
            // The wiring of the cascade is fixed.
            Expect::Icw3 if self.icw4_follows => Expect::Icw4,
            Expect::Icw3 => Expect::Mask,
            Expect::Icw4 => {
                self.special_nested = value & 0x10 != 0;
                self.auto_eoi = value & 2 != 0;
                Expect::Mask
            }
        };
    }

    fn write_elcr(&mut self, value: u8) {
        self.elcr = value & self.elcr_mask;
        self.irr = self.irr & !self.elcr | self.lines & self.elcr;
    }

    fn state(&self) -> PicState {
        PicState {
            last_irr: self.lines,
            irr: self.irr,
            imr: self.imr,
            isr: self.isr,
            priority_add: self.first,
            irq_base: self.vector_base,
            read_reg_select: self.read_isr.into(),
            poll: self.poll.into(),
            special_mask: self.special_mask.into(),
            init_state: self.expect as u8,
            auto_eoi: self.auto_eoi.into(),
            rotate_on_auto_eoi: self.rotate_on_auto_eoi.into(),
            special_fully_nested_mode: self.special_nested.into(),
            init4: self.icw4_follows.into(),
            elcr: self.elcr,
            elcr_mask: self.elcr_mask,
        }
    }

    fn set_state(&mut self, state: &PicState) {
        *self = Self {
            lines: state.last_irr,
            irr: state.irr,
            imr: state.imr,
            isr: state.isr,
            first: state.priority_add & 7,
            vector_base: state.irq_base & 0xf8,
            read_isr: state.read_reg_select != 0,
            poll: state.poll != 0,
            special_mask: state.special_mask != 0,
            expect: match state.init_state {
                1 => Expect::Icw2,
                2 => Expect::Icw3,
                3 => Expect::Icw4,
                _ => Expect::Mask,
            },
            auto_eoi: state.auto_eoi != 0,
            rotate_on_auto_eoi: state.rotate_on_auto_eoi != 0,
            special_nested: state.special_fully_nested_mode != 0,
            icw4_follows: state.init4 != 0,
            elcr: state.elcr & self.elcr_mask,
            elcr_mask: self.elcr_mask,
        };
    }
}

/// Whether `port` belongs to the second chip.
fn is_second(port: u16) -> bool {
    if port < 0x4d0 {
        port & 0x80 != 0
    } else {
        port == 0x4d1
    }
}

/// What the processor gets for its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// The vector.
    pub vector: u8,
    /// The input 0 to 15; `None` for a spurious vector.
    pub irq: Option<u8>,
    /// Inputs whose interrupt has ended at once (automatic EOI), a bit each.
    pub ended: u16,
}

/// The pair: inputs 0 to 7 on the first chip, 8 to 15 on the second.
#[derive(Clone, Debug)]
pub struct Pic {
    chips: [Chip; 2],
}

impl Default for Pic {
    fn default() -> Self {
        Self::new()
    }
}

impl Pic {
    /// As after power-up: nothing masked, vectors from 0 until ICW2 comes.
    pub fn new() -> Self {
        let chip = |elcr_mask| Chip {
            elcr_mask,
            ..Chip::default()
        };
        // Timer, keyboard, cascade, clock and coprocessor are edges for ever.
        Self {
            chips: [chip(0xf8), chip(0xde)],
        }
    }

    /// Reads a port of 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1. A poll
    /// acknowledges, and with automatic EOI ends, an interrupt; that is why
    /// there is a set of ended inputs.
    pub fn read(&mut self, port: u16) -> (u8, u16) {
        let second = usize::from(is_second(port));
        let chip = &mut self.chips[second];
        if port >= 0x4d0 {
            return (chip.elcr, 0);
        }
        if chip.poll {
            chip.poll = false;
            let Some(input) = chip.pending() else {
                return (0, 0);
            };
            let ended = chip.acknowledge(input);
            self.cascade();
            return (0x80 | input, u16::from(ended) << (second * 8));
        }
        let value = match (port & 1, chip.read_isr) {
            (1, _) => chip.imr,
            (_, true) => chip.isr,
            (_, false) => chip.irr,
        };
        (value, 0)
    }

    /// Writes a port; returns the inputs whose interrupts have ended, a bit
    /// each. [`Pic::output`] may have changed.
    pub fn write(&mut self, port: u16, value: u8) -> u16 {
        let second = usize::from(is_second(port));
        let chip = &mut self.chips[second];
        let ended = if port >= 0x4d0 {
            chip.write_elcr(value);
            0
        } else if port & 1 != 0 {
            chip.write_data(value);
            0
        } else {
            chip.write_command(value)
        };
        self.cascade();
        u16::from(ended) << (second * 8)
    }

    /// Sets the level of input `irq`; others than 0 to 15, and the cascade
    /// input, are ignored.
    pub fn set_line(&mut self, irq: u8, level: bool) {
        if irq == CASCADE || irq > 15 {
            return;
        }
        self.chips[usize::from(irq >> 3)].set_line(irq & 7, level);
        self.cascade();
    }

    /// INTR: whether the processor is to fetch a vector.
    #[inline]
    pub fn output(&self) -> bool {
        self.chips[0].pending().is_some()
    }

    /// The processor's acknowledgement. If the request has gone meanwhile, the
    /// vector is that of input 7, with nothing in service.
    pub fn acknowledge(&mut self) -> Acknowledged {
        let Some(input) = self.chips[0].pending() else {
            return self.spurious(0);
        };
        let mut ended = u16::from(self.chips[0].acknowledge(input));
        let irq = if input == CASCADE {
            ended = 0;
            let Some(input) = self.chips[1].pending() else {
                self.cascade();
                return self.spurious(1);
            };
            ended |= u16::from(self.chips[1].acknowledge(input)) << 8;
            input + 8
        } else {
            input
        };
        self.cascade();
        let base = self.chips[usize::from(irq >> 3)].vector_base;
        Acknowledged {
            vector: base + (irq & 7),
            irq: Some(irq),
            ended,
        }
    }

    fn spurious(&self, chip: usize) -> Acknowledged {
        Acknowledged {
            vector: self.chips[chip].vector_base + 7,
            irq: None,
            ended: 0,
        }
    }

    /// The second chip's output is a level on the first chip's input 2.
    fn cascade(&mut self) {
        let level = self.chips[1].pending().is_some();
        let bit = 1 << CASCADE;
        let first = &mut self.chips[0];
        if level {
            first.irr |= bit;
            first.lines |= bit;
        } else {
            first.irr &= !bit;
            first.lines &= !bit;
        }
    }

    /// The state of a chip (0 or 1) as `KVM_GET_IRQCHIP` gives it.
    pub fn state(&self, second: bool) -> PicState {
        self.chips[usize::from(second)].state()
    }

    /// Takes the state of a chip over as `KVM_SET_IRQCHIP` does.
    pub fn set_state(&mut self, second: bool, state: &PicState) {
        self.chips[usize::from(second)].set_state(state);
        self.cascade();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Initialized as Linux does it: vectors from 0x30 and 0x38, all unmasked.
    fn pic() -> Pic {
        let mut pic = Pic::new();
        for (port, value) in [
            (0x20, 0x11),
            (0x21, 0x30),
            (0x21, 0x04),
            (0x21, 0x01),
            (0xa0, 0x11),
            (0xa1, 0x38),
            (0xa1, 0x02),
            (0xa1, 0x01),
            (0x21, 0x00),
            (0xa1, 0x00),
        ] {
            assert_eq!(pic.write(port, value), 0);
        }
        pic
    }

    fn vector(pic: &mut Pic) -> u8 {
        pic.acknowledge().vector
    }

    #[test]
    fn edge_is_served_once_and_ended_by_eoi() {
        let mut pic = pic();
        pic.set_line(0, true);
        assert!(pic.output());
        let ack = pic.acknowledge();
        assert_eq!((ack.vector, ack.irq, ack.ended), (0x30, Some(0), 0));
        assert!(!pic.output());
        assert_eq!(pic.write(0x20, 0x60), 1);
        assert!(!pic.output());
        pic.set_line(0, false);
        pic.set_line(0, true);
        assert!(pic.output());
    }

    #[test]
    fn lower_priority_waits_for_eoi() {
        let mut pic = pic();
        pic.set_line(3, true);
        assert_eq!(vector(&mut pic), 0x33);
        pic.set_line(4, true);
        assert!(!pic.output());
        pic.set_line(1, true);
        assert_eq!(vector(&mut pic), 0x31);
        assert_eq!(pic.write(0x20, 0x20), 1 << 1);
        assert_eq!(pic.write(0x20, 0x20), 1 << 3);
        assert_eq!(vector(&mut pic), 0x34);
    }

    #[test]
    fn second_chip_comes_through_the_cascade() {
        let mut pic = pic();
        pic.set_line(12, true);
        let ack = pic.acknowledge();
        assert_eq!((ack.vector, ack.irq), (0x3c, Some(12)));
        pic.set_line(14, true);
        assert!(!pic.output());
        assert_eq!(pic.write(0xa0, 0x64), 1 << 12);
        assert_eq!(pic.write(0x20, 0x62), 1 << 2);
        assert_eq!(vector(&mut pic), 0x3e);
    }

    #[test]
    fn special_fully_nested_mode_lets_the_second_chip_nest() {
        let mut pic = pic();
        pic.set_line(14, true);
        assert_eq!(vector(&mut pic), 0x3e);
        pic.set_line(12, true);
        assert!(!pic.output());
        let mut state = pic.state(false);
        state.special_fully_nested_mode = 1;
        pic.set_state(false, &state);
        assert_eq!(vector(&mut pic), 0x3c);
    }

    #[test]
    fn masking_withdraws_the_request_and_the_vector_is_spurious() {
        let mut pic = pic();
        pic.set_line(5, true);
        pic.write(0x21, 0x20);
        assert!(!pic.output());
        let ack = pic.acknowledge();
        assert_eq!((ack.vector, ack.irq), (0x37, None));
        assert_eq!(pic.state(false).isr, 0);
        pic.write(0x21, 0);
        assert!(pic.output());
    }

    #[test]
    fn level_input_requests_as_long_as_it_is_up() {
        let mut pic = pic();
        pic.write(0x4d0, 0xff);
        pic.write(0x4d1, 0xff);
        assert_eq!((pic.read(0x4d0).0, pic.read(0x4d1).0), (0xf8, 0xde));
        pic.set_line(11, true);
        assert_eq!(vector(&mut pic), 0x3b);
        pic.write(0xa0, 0x20);
        pic.write(0x20, 0x20);
        assert_eq!(vector(&mut pic), 0x3b);
        pic.set_line(11, false);
        pic.write(0xa0, 0x20);
        pic.write(0x20, 0x20);
        assert!(!pic.output());
    }

    #[test]
    fn automatic_eoi_leaves_nothing_in_service() {
        let mut pic = pic();
        for value in [0x11, 0x30, 0x04, 0x03] {
            pic.write(if value == 0x11 { 0x20 } else { 0x21 }, value);
        }
        pic.set_line(4, true);
        let ack = pic.acknowledge();
        assert_eq!((ack.vector, ack.ended), (0x34, 1 << 4));
        assert_eq!(pic.state(false).isr, 0);
    }

    #[test]
    fn registers_read_back_what_ocw3_selects() {
        let mut pic = pic();
        pic.set_line(6, true);
        assert_eq!(pic.read(0x20).0, 0x40);
        vector(&mut pic);
        pic.write(0x20, 0x0b);
        assert_eq!(pic.read(0x20).0, 0x40);
        pic.write(0x20, 0x0a);
        assert_eq!(pic.read(0x20).0, 0);
        pic.write(0x21, 0xfb);
        assert_eq!(pic.read(0x21).0, 0xfb);
    }

    #[test]
    fn poll_acknowledges() {
        let mut pic = pic();
        pic.set_line(6, true);
        pic.write(0x20, 0x0c);
        assert_eq!(pic.read(0x20), (0x86, 0));
        assert_eq!(pic.state(false).isr, 0x40);
        pic.write(0x20, 0x0c);
        assert_eq!(pic.read(0x20), (0, 0));
    }

    #[test]
    fn rotation_gives_the_served_input_the_lowest_priority() {
        let mut pic = pic();
        pic.set_line(0, true);
        vector(&mut pic);
        pic.write(0x20, 0xa0);
        pic.set_line(0, false);
        pic.set_line(0, true);
        pic.set_line(1, true);
        assert_eq!(vector(&mut pic), 0x31);
    }

    #[test]
    fn special_mask_mode_lets_others_through() {
        let mut pic = pic();
        pic.set_line(1, true);
        vector(&mut pic);
        pic.set_line(5, true);
        assert!(!pic.output());
        pic.write(0x21, 0x02);
        pic.write(0x20, 0x68);
        assert_eq!(vector(&mut pic), 0x35);
    }

    #[test]
    fn icw1_forgets_edges_and_masks() {
        let mut pic = pic();
        pic.set_line(3, true);
        pic.write(0x21, 0xff);
        pic.write(0x20, 0x11);
        let state = pic.state(false);
        assert_eq!((state.irr, state.imr, state.init_state), (0, 0, 1));
    }

    #[test]
    fn state_survives_the_round_trip() {
        let mut pic = pic();
        pic.write(0x4d1, 0x0c);
        pic.set_line(10, true);
        pic.set_line(1, true);
        vector(&mut pic);
        let mut other = Pic::new();
        for second in [false, true] {
            other.set_state(second, &pic.state(second));
        }
        for second in [false, true] {
            assert_eq!(other.state(second), pic.state(second));
        }
        other.write(0x20, 0x20);
        assert_eq!(vector(&mut other), 0x3a);
    }
}
