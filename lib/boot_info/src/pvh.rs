//! Reads the start info of the PVH direct boot protocol into a [`BootInfo`].
//!
//! The loader enters the kernel with the physical address of a start info
//! structure, which points to a module list, a command line, the ACPI root
//! pointer and, from version 1 on, a memory map. Layout: Xen's public
//! documentation of the x86/HVM direct boot ABI.

use core::fmt;

use crate::{
    BootInfo, BootModule, BootModules, CommandLine, MAX_COMMAND_LINE, MAX_MODULES, MapFull,
    MemoryKind, MemoryMap, PhysicalMemory, Unreadable,
};

/// First word of a start info structure.
pub const MAGIC: u32 = 0x336e_c578;

const VERSION_0_LENGTH: usize = 40;
const VERSION_1_LENGTH: usize = 56;
const MODULE_LENGTH: u64 = 32;
const MEMORY_ENTRY_LENGTH: u64 = 24;
/// No loader has more; a greater count is a damaged structure.
const MAX_MEMORY_ENTRIES: u32 = 4096;

/// Why the boot loader's data cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootInfoError {
    /// A structure lies in memory that cannot be read.
    Memory(Unreadable),
    /// The first word is not [`MAGIC`].
    Magic(u32),
    /// Version 0: the loader gave no memory map.
    NoMemoryMap,
    /// More modules than [`MAX_MODULES`].
    TooManyModules(u32),
    /// An implausible number of memory map entries.
    TooManyMemoryEntries(u32),
    /// The memory map has more distinct regions than fit.
    Map(MapFull),
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(error) => error.fmt(f),
            Self::Magic(found) => {
                write!(
                    f,
                    "Start info begins with {found:#x}, only {MAGIC:#x} is allowed"
                )
            }
            Self::NoMemoryMap => {
                f.write_str("Start info is version 0 without a memory map, version 1 is needed")
            }
            Self::TooManyModules(count) => {
                write!(
                    f,
                    "Boot loader passes {count} modules, at most {MAX_MODULES} are allowed"
                )
            }
            Self::TooManyMemoryEntries(count) => write!(
                f,
                "Boot loader's memory map has {count} entries, at most {MAX_MEMORY_ENTRIES} \
                 are allowed"
            ),
            Self::Map(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for BootInfoError {}

impl From<Unreadable> for BootInfoError {
    fn from(error: Unreadable) -> Self {
        Self::Memory(error)
    }
}

impl From<MapFull> for BootInfoError {
    fn from(error: MapFull) -> Self {
        Self::Map(error)
    }
}

/// The fixed part, as found in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StartInfo {
    version: u32,
    module_count: u32,
    modules: u64,
    command_line: u64,
    rsdp: u64,
    memory_map: u64,
    memory_entries: u32,
}

fn word(bytes: &[u8], offset: usize) -> u32 {
    bytes[offset..offset + 4]
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn quad(bytes: &[u8], offset: usize) -> u64 {
    u64::from(word(bytes, offset)) | u64::from(word(bytes, offset + 4)) << 32
}

impl StartInfo {
    fn read(memory: &impl PhysicalMemory, address: u64) -> Result<Self, BootInfoError> {
        let mut bytes = [0; VERSION_1_LENGTH];
        memory.read(address, &mut bytes[..VERSION_0_LENGTH])?;
        let magic = word(&bytes, 0);
        if magic != MAGIC {
            return Err(BootInfoError::Magic(magic));
        }
        let version = word(&bytes, 4);
        if version >= 1 {
            memory.read(address, &mut bytes)?;
        }
        Ok(Self {
            version,
            module_count: word(&bytes, 12),
            modules: quad(&bytes, 16),
            command_line: quad(&bytes, 24),
            rsdp: quad(&bytes, 32),
            memory_map: quad(&bytes, 40),
            memory_entries: word(&bytes, 48),
        })
    }
}

/// Reads all that the structure at `address` leads to. `address_bits` is the
/// CPU's number of physical address bits.
///
/// # Errors
/// [`BootInfoError`] if the data cannot be trusted to describe this machine.
pub fn read(
    memory: &impl PhysicalMemory,
    address: u64,
    address_bits: u32,
) -> Result<BootInfo, BootInfoError> {
    let start = StartInfo::read(memory, address)?;
    if start.version == 0 || start.memory_map == 0 || start.memory_entries == 0 {
        return Err(BootInfoError::NoMemoryMap);
    }
    let mut map = MemoryMap::new(address_bits);
    read_memory_map(memory, &start, &mut map)?;
    map.claim(address, VERSION_1_LENGTH as u64, MemoryKind::BootData)?;
    let modules = read_modules(memory, &start, &mut map)?;
    let command_line = read_command_line(memory, start.command_line, &mut map)?;
    let rsdp_address = (start.rsdp != 0).then_some(start.rsdp);
    Ok(BootInfo {
        command_line,
        modules,
        rsdp_address,
        memory: map,
    })
}

fn read_memory_map(
    memory: &impl PhysicalMemory,
    start: &StartInfo,
    map: &mut MemoryMap,
) -> Result<(), BootInfoError> {
    if start.memory_entries > MAX_MEMORY_ENTRIES {
        return Err(BootInfoError::TooManyMemoryEntries(start.memory_entries));
    }
    let length = u64::from(start.memory_entries) * MEMORY_ENTRY_LENGTH;
    for index in 0..u64::from(start.memory_entries) {
        let mut entry = [0; MEMORY_ENTRY_LENGTH as usize];
        memory.read(
            offset(start.memory_map, index * MEMORY_ENTRY_LENGTH)?,
            &mut entry,
        )?;
        let kind = MemoryKind::from_e820(word(&entry, 16));
        map.claim(quad(&entry, 0), quad(&entry, 8), kind)?;
    }
    map.claim(start.memory_map, length, MemoryKind::BootData)?;
    Ok(())
}

fn read_modules(
    memory: &impl PhysicalMemory,
    start: &StartInfo,
    map: &mut MemoryMap,
) -> Result<BootModules, BootInfoError> {
    let mut modules = BootModules::default();
    if start.module_count as usize > MAX_MODULES {
        return Err(BootInfoError::TooManyModules(start.module_count));
    }
    for index in 0..u64::from(start.module_count) {
        let mut entry = [0; MODULE_LENGTH as usize];
        memory.read(offset(start.modules, index * MODULE_LENGTH)?, &mut entry)?;
        let module = BootModule {
            address: quad(&entry, 0),
            length: quad(&entry, 8),
        };
        map.claim(module.address, module.length, MemoryKind::BootModule)?;
        if !modules.push(module) {
            return Err(BootInfoError::TooManyModules(start.module_count));
        }
    }
    let length = u64::from(start.module_count) * MODULE_LENGTH;
    map.claim(start.modules, length, MemoryKind::BootData)?;
    Ok(modules)
}

/// Reads the NUL-terminated line in small steps, so that it may end just
/// before unreadable memory.
fn read_command_line(
    memory: &impl PhysicalMemory,
    address: u64,
    map: &mut MemoryMap,
) -> Result<CommandLine, BootInfoError> {
    let mut line = CommandLine::empty();
    if address == 0 {
        return Ok(line);
    }
    for index in 0..=MAX_COMMAND_LINE as u64 {
        let mut byte = [0];
        memory.read(offset(address, index)?, &mut byte)?;
        if byte[0] == 0 {
            map.claim(address, index + 1, MemoryKind::BootData)?;
            return Ok(line);
        }
        line.push(byte[0]);
    }
    map.claim(address, MAX_COMMAND_LINE as u64 + 1, MemoryKind::BootData)?;
    Ok(line)
}

fn offset(address: u64, offset: u64) -> Result<u64, Unreadable> {
    address.checked_add(offset).ok_or(Unreadable {
        address,
        length: offset,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    struct Bytes(Vec<u8>);

    impl PhysicalMemory for Bytes {
        fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Unreadable> {
            let length = buffer.len() as u64;
            let error = Unreadable { address, length };
            let start = usize::try_from(address).map_err(|_| error)?;
            let end = start.checked_add(buffer.len()).ok_or(error)?;
            buffer.copy_from_slice(self.0.get(start..end).ok_or(error)?);
            Ok(())
        }
    }

    impl Bytes {
        fn put(&mut self, address: usize, bytes: &[u8]) {
            self.0[address..address + bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Start info at 0x1000, modules at 0x2000, line at 0x3000, map at 0x4000.
    fn example() -> Bytes {
        let mut memory = Bytes(std::vec![0; 0x6000]);
        let mut start = Vec::new();
        for value in [MAGIC, 1, 0, 1] {
            start.extend_from_slice(&value.to_le_bytes());
        }
        for value in [0x2000u64, 0x3000, 0xe_1234, 0x4000] {
            start.extend_from_slice(&value.to_le_bytes());
        }
        start.extend_from_slice(&3u32.to_le_bytes());
        start.extend_from_slice(&0u32.to_le_bytes());
        memory.put(0x1000, &start);
        for (index, value) in [0x80_0000u64, 0x1234, 0, 0].into_iter().enumerate() {
            memory.put(0x2000 + index * 8, &value.to_le_bytes());
        }
        memory.put(0x3000, b"console=ttyS0 verbose\0");
        let map = [
            (0u64, 0x9_fc00u64, 1u64),
            (0x9_fc00, 0x6_0400, 2),
            (0x10_0000, 0x700_0000, 1),
        ];
        for (index, (address, length, kind)) in map.into_iter().enumerate() {
            memory.put(0x4000 + index * 24, &address.to_le_bytes());
            memory.put(0x4008 + index * 24, &length.to_le_bytes());
            memory.put(0x4010 + index * 24, &kind.to_le_bytes());
        }
        memory
    }

    #[test]
    fn reads_a_whole_start_info() {
        let info = read(&example(), 0x1000, 40).unwrap();
        assert_eq!(info.command_line.as_str(), "console=ttyS0 verbose");
        let module = BootModule {
            address: 0x80_0000,
            length: 0x1234,
        };
        assert_eq!(info.modules.as_slice(), [module]);
        assert_eq!(info.rsdp_address, Some(0xe_1234));
        assert_eq!(info.memory.kind_at(0x80_1000), Some(MemoryKind::BootModule));
        assert_eq!(info.memory.kind_at(0x80_2000), Some(MemoryKind::Usable));
        for address in [0x1000, 0x2000, 0x3000, 0x4000] {
            assert_eq!(
                info.memory.kind_at(address),
                Some(MemoryKind::BootData),
                "{address:#x}"
            );
        }
        assert_eq!(info.memory.kind_at(0x5000), Some(MemoryKind::Usable));
        assert_eq!(info.memory.kind_at(0x9_f000), Some(MemoryKind::Reserved));
        assert_eq!(info.memory.memory_end(), 0x710_0000);
    }

    #[test]
    fn refuses_what_it_cannot_trust() {
        let mut memory = example();
        memory.put(0x1000, &[0]);
        assert!(matches!(
            read(&memory, 0x1000, 40),
            Err(BootInfoError::Magic(_))
        ));
        let mut memory = example();
        memory.put(0x1004, &[0]);
        assert_eq!(
            read(&memory, 0x1000, 40).unwrap_err(),
            BootInfoError::NoMemoryMap
        );
        let mut memory = example();
        memory.put(0x100c, &[17]);
        assert_eq!(
            read(&memory, 0x1000, 40).unwrap_err(),
            BootInfoError::TooManyModules(17)
        );
        let mut memory = example();
        memory.put(0x1030, &[0xff; 4]);
        let error = read(&memory, 0x1000, 40).unwrap_err();
        assert_eq!(error, BootInfoError::TooManyMemoryEntries(u32::MAX));
        let error = read(&example(), 0x5ff0, 40).unwrap_err();
        assert_eq!(
            error,
            BootInfoError::Memory(Unreadable {
                address: 0x5ff0,
                length: 40
            })
        );
    }

    proptest! {
        #[test]
        fn damaged_start_info_never_panics(
            damage in prop::collection::vec((0usize..0x6000, any::<u8>()), 1..64),
            head in prop::collection::vec((4usize..56, any::<u8>()), 0..8),
        ) {
            let mut memory = example();
            for (address, byte) in damage {
                memory.put(address, &[byte]);
            }
            for (address, byte) in head {
                memory.put(0x1000 + address, &[byte]);
            }
            let _ = read(&memory, 0x1000, 40);
        }
    }
}
