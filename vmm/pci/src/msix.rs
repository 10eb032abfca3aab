//! MSI-X of one function: vector table, pending bits, and the two control
//! bits of the capability. Main type: [`Msix`].
//!
//! The chip decides whether a vector may be sent; sending is the caller's
//! business. PCI 3.0, section 6.8.2.

/// Bytes of a table entry.
pub const ENTRY_LEN: usize = 16;
/// Most vectors that a table here has: what fits a page of 4 KiB.
pub const MAX_VECTORS: u16 = 256;

const ENTRY_MASKED: u32 = 1;
const CONTROL_ENABLE: u16 = 1 << 15;
const CONTROL_MASK_ALL: u16 = 1 << 14;

/// What an interrupt message writes, and where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsiMessage {
    /// Address of the write.
    pub address: u64,
    /// The written value.
    pub data: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    words: [u32; 4],
}

impl Entry {
    fn message(&self) -> MsiMessage {
        let [low, high, data, _] = self.words;
        MsiMessage {
            address: u64::from(high) << 32 | u64::from(low & !3),
            data,
        }
    }

    fn is_masked(&self) -> bool {
        self.words[3] & ENTRY_MASKED != 0
    }
}

/// A vector that can be sent now, after a register write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// The vector.
    pub vector: u16,
    /// Its message.
    pub message: MsiMessage,
    /// It was asked for while it was masked and must be sent at once.
    pub send: bool,
}

/// MSI-X registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Msix {
    entries: Vec<Entry>,
    pending: Vec<u64>,
    control: u16,
}

impl Msix {
    /// A table of `vectors` masked vectors, 1 to [`MAX_VECTORS`].
    pub fn new(vectors: u16) -> Self {
        assert!((1..=MAX_VECTORS).contains(&vectors));
        let entry = Entry {
            words: [0, 0, 0, ENTRY_MASKED],
        };
        let count = usize::from(vectors);
        Self {
            entries: vec![entry; count],
            pending: vec![0; count.div_ceil(64)],
            control: 0,
        }
    }

    /// Number of vectors.
    pub fn vectors(&self) -> u16 {
        self.entries.len() as u16
    }

    /// The capability's body for a table and pending bits in `bar`.
    pub fn capability(&self, bar: u8, table: u32, pending: u32) -> [u8; 10] {
        let mut body = [0; 10];
        body[0..2].copy_from_slice(&(self.vectors() - 1).to_le_bytes());
        body[2..6].copy_from_slice(&(table | u32::from(bar)).to_le_bytes());
        body[6..10].copy_from_slice(&(pending | u32::from(bar)).to_le_bytes());
        body
    }

    /// The bits of the capability's body that a guest can write.
    pub const CAPABILITY_WRITABLE: [u8; 2] = (CONTROL_ENABLE | CONTROL_MASK_ALL).to_le_bytes();

    /// Whether the guest uses MSI-X instead of INTx.
    pub fn is_enabled(&self) -> bool {
        self.control & CONTROL_ENABLE != 0
    }

    /// Takes the message control register; returns what can be sent now.
    pub fn set_control(&mut self, control: u16) -> Vec<Live> {
        let was = std::mem::replace(&mut self.control, control);
        if was == control {
            return Vec::new();
        }
        (0..self.vectors())
            .filter_map(|vector| self.refresh(vector))
            .collect()
    }

    /// Asks for a vector: true if it is to be sent now. A masked vector is
    /// kept pending; a vector that does not exist is none.
    pub fn signal(&mut self, vector: u16) -> bool {
        if self.live(vector).is_some() {
            return true;
        }
        if usize::from(vector) < self.entries.len() && self.is_enabled() {
            self.pending[usize::from(vector / 64)] |= 1 << (vector % 64);
        }
        false
    }

    /// The message of a vector that is not masked.
    fn live(&self, vector: u16) -> Option<MsiMessage> {
        let entry = self.entries.get(usize::from(vector))?;
        let is_on = self.control & (CONTROL_ENABLE | CONTROL_MASK_ALL) == CONTROL_ENABLE;
        (is_on && !entry.is_masked()).then(|| entry.message())
    }

    fn refresh(&mut self, vector: u16) -> Option<Live> {
        let message = self.live(vector)?;
        let word = &mut self.pending[usize::from(vector / 64)];
        let bit = 1 << (vector % 64);
        let send = *word & bit != 0;
        *word &= !bit;
        Some(Live {
            vector,
            message,
            send,
        })
    }

    /// Reads from the table: 4 or 8 aligned bytes; otherwise all ones.
    pub fn read_table(&self, offset: u64, data: &mut [u8]) {
        for (at, word) in words(offset, data.len()).zip(data.chunks_exact_mut(4)) {
            let value = at.and_then(|(entry, index)| Some(self.entries.get(entry)?.words[index]));
            word.copy_from_slice(&value.unwrap_or(u32::MAX).to_le_bytes());
        }
    }

    /// Writes to the table: 4 or 8 aligned bytes. Returns the vector, if it
    /// can be sent now.
    pub fn write_table(&mut self, offset: u64, data: &[u8]) -> Option<Live> {
        let mut written = None;
        for (at, word) in words(offset, data.len()).zip(data.chunks_exact(4)) {
            let (number, index) = at?;
            let entry = self.entries.get_mut(number)?;
            let value = u32::from_le_bytes(word.try_into().ok()?);
            entry.words[index] = if index == 3 {
                value & ENTRY_MASKED
            } else {
                value
            };
            written = Some(number as u16);
        }
        self.refresh(written?)
    }

    /// Reads from the pending bits; all zeroes beyond them.
    pub fn read_pending(&self, offset: u64, data: &mut [u8]) {
        for (index, byte) in data.iter_mut().enumerate() {
            let at = usize::try_from(offset)
                .ok()
                .and_then(|start| start.checked_add(index));
            let word = at.and_then(|at| self.pending.get(at / 8));
            *byte = word.map_or(0, |word| word.to_le_bytes()[at.unwrap_or(0) % 8]);
        }
    }

    /// Back to the state after reset.
    pub fn reset(&mut self) {
        *self = Self::new(self.vectors());
    }
}

/// Entry and word index of each aligned 32-bit word of an access.
fn words(offset: u64, len: usize) -> impl Iterator<Item = Option<(usize, usize)>> {
    let is_aligned = matches!(len, 4 | 8) && offset.is_multiple_of(len as u64);
    (0..len / 4).map(move |index| {
        let at = usize::try_from(offset).ok()?.checked_add(4 * index)?;
        is_aligned.then_some((at / ENTRY_LEN, at % ENTRY_LEN / 4))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn program(msix: &mut Msix, vector: u64, data: u32) {
        let at = vector * ENTRY_LEN as u64;
        msix.write_table(at, &0xFEE0_0000u64.to_le_bytes());
        msix.write_table(at + 8, &data.to_le_bytes());
    }

    #[test]
    fn an_unmasked_vector_is_sent_with_its_message() {
        let mut msix = Msix::new(3);
        program(&mut msix, 1, 0x41);
        assert!(!msix.signal(1));
        msix.set_control(CONTROL_ENABLE);
        let live = msix.write_table(16 + 12, &[0; 4]).unwrap();
        assert_eq!((live.vector, live.send), (1, false));
        assert_eq!(
            live.message,
            MsiMessage {
                address: 0xFEE0_0000,
                data: 0x41
            }
        );
        assert!(msix.signal(1));
        assert!(!msix.signal(3));
    }

    #[test]
    fn a_masked_vector_is_pending_until_unmasked() {
        let mut msix = Msix::new(2);
        msix.set_control(CONTROL_ENABLE);
        assert!(!msix.signal(1));
        let mut pending = [0; 8];
        msix.read_pending(0, &mut pending);
        assert_eq!(pending, [2, 0, 0, 0, 0, 0, 0, 0]);
        assert!(msix.write_table(28, &[0; 4]).unwrap().send);
        msix.read_pending(0, &mut pending);
        assert_eq!(pending, [0; 8]);
        assert!(!msix.write_table(28, &[0; 4]).unwrap().send);
    }

    #[test]
    fn the_function_mask_holds_every_vector() {
        let mut msix = Msix::new(2);
        msix.write_table(12, &[0; 4]);
        msix.set_control(CONTROL_ENABLE | CONTROL_MASK_ALL);
        assert!(!msix.signal(0));
        let live = msix.set_control(CONTROL_ENABLE);
        assert_eq!(live.len(), 1);
        assert!(live[0].send);
    }

    #[test]
    fn unaligned_and_foreign_accesses_do_nothing() {
        let mut msix = Msix::new(1);
        let before = msix.clone();
        assert_eq!(msix.write_table(2, &[0; 4]), None);
        assert_eq!(msix.write_table(0, &[0; 2]), None);
        assert_eq!(msix.write_table(16, &[0; 4]), None);
        assert_eq!(msix, before);
    }

    proptest! {
        #[test]
        fn no_access_panics(
            vectors in 1u16..70,
            accesses in prop::collection::vec(
                (any::<u8>(), prop_oneof![0u64..1200, any::<u64>()], prop::collection::vec(any::<u8>(), 0..9), any::<u16>()),
                0..64),
        ) {
            let mut msix = Msix::new(vectors);
            for (kind, offset, data, word) in accesses {
                match kind % 5 {
                    0 => { msix.write_table(offset, &data); }
                    1 => { msix.set_control(word); }
                    2 => { msix.signal(word % 80); }
                    3 => msix.read_table(offset, &mut data.clone()),
                    _ => msix.read_pending(offset, &mut data.clone()),
                }
            }
            prop_assert_eq!(msix.vectors(), vectors);
        }
    }
}
