//! The guests' code, assembled by hand, in 64-bit mode: [`Loop`].
//!
//! Registers: R8 counts down, RDI is the address that the monitor chose, R9 counts interrupts.

/// Where a guest says that its round is over.
pub const END_PORT: u8 = 0x10;
/// The port that signals an event.
pub const EVENT_PORT: u8 = 0x30;
/// The vector of the interrupt that it sends to itself.
pub const VECTOR: u8 = 0x40;

/// Something that is done many times.
#[derive(Debug)]
pub struct Loop {
    /// What is done once before the first round.
    before: &'static [u8],
    /// What is done over and over.
    body: &'static [u8],
    /// How many instructions of body and loop are not what is measured.
    pub overhead: u64,
}

/// `xor eax, eax; cpuid`
pub const CPUID: Loop = plain(&[0x31, 0xC0, 0x0F, 0xA2], 3);
/// `out 50h, al`
pub const OUT: Loop = plain(&[0xE6, 0x50], 2);
/// `in al, 50h`
pub const IN: Loop = plain(&[0xE4, 0x50], 2);
/// `out 30h, al`
pub const OUT_EVENT: Loop = plain(&[0xE6, EVENT_PORT], 2);
/// `mov [rdi], eax`
pub const STORE: Loop = plain(&[0x89, 0x07], 2);
/// `mov eax, [rdi]`
pub const LOAD: Loop = plain(&[0x8B, 0x07], 2);
/// `mov eax, [rdi + 30h]`: the version
pub const APIC_READ: Loop = plain(&[0x8B, 0x47, 0x30], 2);
/// `mov [rdi], al; add rdi, 1000h`
pub const TOUCH: Loop = plain(&[0x88, 0x07, 0x48, 0x81, 0xC7, 0x00, 0x10, 0x00, 0x00], 3);
/// Before: `mov dword [rdi + F0h], 1FFh; sti`, which turns the local APIC on.
/// Then `mov dword [rdi + 300h], 44040h; nop`: fixed, asserted, to itself, vector 40h.
pub const SELF_IPI: Loop = Loop {
    before: &[
        0xC7, 0x87, 0xF0, 0x00, 0x00, 0x00, 0xFF, 0x01, 0x00, 0x00, 0xFB,
    ],
    body: &[
        0xC7, 0x87, 0x00, 0x03, 0x00, 0x00, VECTOR, 0x40, 0x04, 0x00, 0x90,
    ],
    overhead: 3,
};

/// The interrupt's handler: `inc r9; mov dword [rdi + B0h], 0; iretq`.
pub const HANDLER: &[u8] = &[
    0x49, 0xFF, 0xC1, 0xC7, 0x87, 0xB0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x48, 0xCF,
];

const fn plain(body: &'static [u8], overhead: u64) -> Loop {
    Loop {
        before: &[],
        body,
        overhead,
    }
}

impl Loop {
    /// The code: rounds without end, `times` in each.
    pub fn code(&self, times: u32) -> Vec<u8> {
        let mut code = self.before.to_vec();
        let start = code.len();
        // mov r8d, times
        code.extend([0x41, 0xB8]);
        code.extend(times.to_le_bytes());
        let again = code.len();
        code.extend(self.body);
        // dec r8d; jnz again
        code.extend([0x41, 0xFF, 0xC8, 0x75]);
        code.push(back(code.len(), again));
        // out END_PORT, al; jmp start
        code.extend([0xE6, END_PORT, 0xEB]);
        code.push(back(code.len(), start));
        code
    }
}

/// The displacement byte at `from` of a jump back to `to`. The loops are short.
fn back(from: usize, to: usize) -> u8 {
    (from + 1 - to).wrapping_neg() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_lead_back() {
        let expected = [
            0x41, 0xB8, 5, 0, 0, 0, 0xE6, 0x50, 0x41, 0xFF, 0xC8, 0x75, 0xF9, 0xE6, 0x10, 0xEB,
            0xEF,
        ];
        assert_eq!(OUT.code(5), expected);
    }
}
