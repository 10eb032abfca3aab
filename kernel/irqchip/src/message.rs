//! An interrupt on its way to LAPICs: [`Message`]. I/O APIC entries, MSI
//! writes and inter-processor interrupts all become one of these.
//!
//! Formats: AMD APM vol. 2, 16.5 "Interprocessor Interrupts (IPI)" and 16.13
//! (x2APIC ICR); Intel SDM vol. 3, 11.11 "Message Signalled Interrupts";
//! 82093AA, 3.2.4 "I/O Redirection Table".

/// How a message is delivered: the three-bit delivery mode field that is the
/// same in ICR, LVT, redirection table and MSI data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The vector, at every destination.
    Fixed,
    /// The vector, at one of the destinations.
    LowestPriority,
    /// System management interrupt.
    Smi,
    /// Reserved encoding (remote read, where it ever existed).
    Reserved,
    /// Non-maskable interrupt.
    Nmi,
    /// Reset of the processor to its wait-for-SIPI state.
    Init,
    /// Start-up at `vector << 12`.
    Startup,
    /// The vector comes from an 8259A.
    ExtInt,
}

impl Mode {
    /// From the three bits of the field.
    #[inline]
    pub const fn from_bits(bits: u32) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            3 => Self::Reserved,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::Startup,
            _ => Self::ExtInt,
        }
    }
}

/// The ICR's shorthand: a destination that needs no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shorthand {
    /// None: the address counts.
    None,
    /// The sender.
    OnlySelf,
    /// Every LAPIC.
    All,
    /// Every LAPIC but the sender.
    AllButSelf,
}

/// The address of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// An APIC ID, or a set of logical IDs; [`Destination::BROADCAST`] is all.
    pub id: u32,
    /// `id` is logical (a bit set that each LAPIC compares with its LDR).
    pub logical: bool,
    /// Overrides `id`.
    pub shorthand: Shorthand,
}

impl Destination {
    /// The ID that means every LAPIC, whatever width the sender's field had.
    pub const BROADCAST: u32 = u32::MAX;

    /// An address with the 8-bit ID field of xAPIC, I/O APIC and MSI. The
    /// value 0xff is the broadcast of that field's width.
    #[inline]
    pub const fn narrow(id: u8, logical: bool) -> Self {
        let wide = if id == 0xff {
            Self::BROADCAST
        } else {
            id as u32
        };
        Self {
            id: wide,
            logical,
            shorthand: Shorthand::None,
        }
    }

    /// An address with a 32-bit ID field (x2APIC).
    #[inline]
    pub const fn wide(id: u32, logical: bool) -> Self {
        Self {
            id,
            logical,
            shorthand: Shorthand::None,
        }
    }
}

/// An interrupt with its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where to.
    pub destination: Destination,
    /// How.
    pub mode: Mode,
    /// The vector, or the page number of a start-up message.
    pub vector: u8,
    /// Level-triggered: the LAPIC reports its end of interrupt.
    pub level: bool,
}

impl Message {
    /// Decodes a write of `data` to `address` in the range FEEx_xxxx. Bits
    /// 63:40 of the address extend the destination (what `KVM_SIGNAL_MSI`
    /// calls 32-bit IDs); they are 0 in a device's write.
    pub const fn from_msi(address: u64, data: u32) -> Self {
        let low = (address >> 12) as u8;
        let high = (address >> 32) as u32 & 0xffff_ff00;
        let logical = address & 1 << 2 != 0;
        let destination = if high == 0 {
            Destination::narrow(low, logical)
        } else {
            Destination::wide(high | low as u32, logical)
        };
        let mut mode = Mode::from_bits(data >> 8);
        // The redirection hint asks for one receiver out of a logical set.
        if logical && address & 1 << 3 != 0 && matches!(mode, Mode::Fixed) {
            mode = Mode::LowestPriority;
        }
        Self {
            destination,
            mode,
            vector: data as u8,
            level: data & 1 << 15 != 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msi_fields_are_where_the_manual_puts_them() {
        let message = Message::from_msi(0xfee0_300c, 0x0000_8141);
        assert_eq!(message.destination, Destination::narrow(3, true));
        assert_eq!(message.mode, Mode::LowestPriority);
        assert_eq!((message.vector, message.level), (0x41, true));
    }

    #[test]
    fn redirection_hint_in_logical_mode_means_one_receiver() {
        assert_eq!(
            Message::from_msi(0xfee0_300c, 0x41).mode,
            Mode::LowestPriority
        );
        assert_eq!(Message::from_msi(0xfee0_3008, 0x41).mode, Mode::Fixed);
    }

    #[test]
    fn narrow_broadcast_and_wide_id_255_differ() {
        assert_eq!(
            Message::from_msi(0xfeef_f000, 0).destination.id,
            Destination::BROADCAST
        );
        let wide = Message::from_msi(0x0000_0100_fee0_1000, 0);
        assert_eq!(wide.destination.id, 0x101);
        assert_eq!(Destination::wide(255, false).id, 255);
    }
}
