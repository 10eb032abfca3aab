//! [`TestMemory`]: a byte vector as physical memory, with well-formed tables.

use boot_info::{PhysicalMemory, Unreadable};
use std::vec::Vec;

pub struct TestMemory(Vec<u8>);

impl PhysicalMemory for TestMemory {
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
        let error = Unreadable {
            address,
            length: buffer.len() as u64,
        };
        let start = usize::try_from(address).map_err(|_| error)?;
        let end = start.checked_add(buffer.len()).ok_or(error)?;
        buffer.copy_from_slice(self.0.get(start..end).ok_or(error)?);
        Ok(())
    }
}

impl TestMemory {
    pub fn new(size: usize) -> Self {
        Self(std::vec![0; size])
    }

    pub fn put(&mut self, address: u64, bytes: &[u8]) {
        let start = address as usize;
        self.0[start..start + bytes.len()].copy_from_slice(bytes);
    }

    pub fn flip(&mut self, address: u64) {
        self.0[address as usize] ^= 0x10;
    }

    pub fn put_rsdp(&mut self, address: u64, revision: u8, rsdt: u32, xsdt: u64) {
        let mut raw = [0u8; 36];
        raw[..8].copy_from_slice(b"RSD PTR ");
        raw[15] = revision;
        raw[16..20].copy_from_slice(&rsdt.to_le_bytes());
        raw[20..24].copy_from_slice(&36u32.to_le_bytes());
        raw[24..32].copy_from_slice(&xsdt.to_le_bytes());
        raw[8] = 0u8.wrapping_sub(sum(&raw[..20]));
        raw[32] = 0u8.wrapping_sub(sum(&raw));
        self.put(address, &raw);
    }

    /// A table with a valid header around `body`.
    pub fn put_table(&mut self, address: u64, signature: &[u8; 4], body: &[u8]) {
        self.put(address, &table(signature, body));
    }

    pub fn mend_checksum(&mut self, address: u64) {
        let start = address as usize;
        let length = u32::from_le_bytes(self.0[start + 4..start + 8].try_into().unwrap());
        let Some(bytes) = self.0.get_mut(start..start.saturating_add(length as usize)) else {
            return;
        };
        if bytes.len() > 9 {
            bytes[9] = bytes[9].wrapping_sub(sum(bytes));
        }
    }
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The bytes of a table with a valid header around `body`.
pub fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut raw = std::vec![0u8; 36];
    raw[..4].copy_from_slice(signature);
    raw.extend_from_slice(body);
    let length = raw.len() as u32;
    raw[4..8].copy_from_slice(&length.to_le_bytes());
    raw[9] = 0u8.wrapping_sub(sum(&raw));
    raw
}

/// A machine with XSDT, MADT (3 CPUs), FADT, DSDT, HPET and MCFG.
pub fn machine() -> TestMemory {
    let mut memory = TestMemory::new(0x10_0000);
    memory.put_rsdp(0xe_0000, 2, 0x2000, 0x1000);
    let list: Vec<u8> = [0x3000u64, 0x3800, 0x4000, 0x4800]
        .iter()
        .flat_map(|a| a.to_le_bytes())
        .collect();
    memory.put_table(0x1000, b"XSDT", &list);
    memory.put_table(0x2000, b"RSDT", &[]);
    memory.put_table(0x3000, b"APIC", &crate::madt::example_body());
    memory.put_table(0x3800, b"FACP", &crate::fadt::example_body(0x5000));
    memory.put_table(0x4000, b"HPET", &crate::hpet::example_body());
    memory.put_table(0x4800, b"MCFG", &crate::mcfg::example_body());
    let aml = b"\x10\x05\\_SB_\x08_S5_\x12\x08\x04\x0a\x05\x0a\x07\x00\x00";
    memory.put_table(0x5000, b"DSDT", aml);
    memory
}
