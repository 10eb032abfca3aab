//! Looks at a kernel file before anything is loaded: which format it is
//! ([`identify`]) and whether all of it is there.
//!
//! Offsets of the bzImage header are those of the Linux/x86 boot protocol,
//! chapter "The Real-Mode Kernel Header"; ELF offsets those of the ELF-64
//! object file format.

use crate::error::BootError;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes at the start of a bzImage that hold everything looked at here.
pub const BZIMAGE_HEAD: usize = 0x290;
const ELF_HEAD: usize = 64;
const PROGRAM_HEADER: usize = 56;
const PT_LOAD: u32 = 1;

/// The kernel formats that can be booted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageKind {
    /// A compressed Linux kernel with a setup header.
    BzImage,
    /// An ELF-64 executable.
    Elf,
}

/// The part of a bzImage's setup header that loading depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BzImageHeader {
    /// Version of the boot protocol, major in the high byte.
    pub version: u16,
    /// The image can be entered in 64-bit mode, 0x200 bytes after its start.
    pub has_64bit_entry: bool,
    /// Highest address that an initrd may occupy.
    pub initrd_max: u64,
    /// Longest command line without its zero byte.
    pub cmdline_max: usize,
    /// Where the kernel wants to run.
    pub preferred_start: u64,
    /// Bytes from there that it needs before it reads the memory map.
    pub init_size: u64,
    /// Bytes that the file must have.
    pub file_len: u64,
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    let mut value = [0; 2];
    copy_at(bytes, at, &mut value);
    u16::from_le_bytes(value)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    copy_at(bytes, at, &mut value);
    u32::from_le_bytes(value)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    copy_at(bytes, at, &mut value);
    u64::from_le_bytes(value)
}

fn copy_at(bytes: &[u8], at: usize, value: &mut [u8]) {
    if let Some(source) = bytes.get(at..at + value.len()) {
        value.copy_from_slice(source);
    }
}

/// Finds out the format of a kernel file and that it is complete.
///
/// # Errors
/// [`BootError::UnknownFormat`], [`BootError::KernelTruncated`] or a read error.
pub fn identify(file: &mut File) -> Result<ImageKind, BootError> {
    let head = read_head(file)?;
    let len = file.seek(SeekFrom::End(0)).map_err(BootError::ReadKernel)?;
    file.rewind().map_err(BootError::ReadKernel)?;
    if head.starts_with(b"\x7FELF") {
        check_elf(file, &head, len)?;
        return Ok(ImageKind::Elf);
    }
    if head.get(0x202..0x206) == Some(b"HdrS".as_slice()) {
        let need = bzimage_header(&head).file_len;
        if need > len {
            return Err(BootError::KernelTruncated { need, have: len });
        }
        return Ok(ImageKind::BzImage);
    }
    Err(BootError::UnknownFormat)
}

/// Reads the first bytes of a kernel file; fewer if the file is shorter.
pub fn read_head(file: &mut File) -> Result<Vec<u8>, BootError> {
    file.rewind().map_err(BootError::ReadKernel)?;
    let mut head = Vec::with_capacity(BZIMAGE_HEAD);
    file.take(BZIMAGE_HEAD as u64)
        .read_to_end(&mut head)
        .map_err(BootError::ReadKernel)?;
    Ok(head)
}

/// Reads the setup header out of the first bytes of a bzImage.
pub fn bzimage_header(head: &[u8]) -> BzImageHeader {
    let setup_sectors = match head.get(0x1F1) {
        Some(0) | None => 4,
        Some(n) => u64::from(*n),
    };
    let version = u16_at(head, 0x206);
    let cmdline_max = if version >= 0x206 {
        u32_at(head, 0x238) as usize
    } else {
        255
    };
    BzImageHeader {
        version,
        has_64bit_entry: version >= 0x20C && u16_at(head, 0x236) & 1 != 0,
        initrd_max: u64::from(u32_at(head, 0x22C)),
        cmdline_max,
        preferred_start: u64_at(head, 0x258),
        init_size: u64::from(u32_at(head, 0x260)),
        file_len: (setup_sectors + 1) * 512 + u64::from(u32_at(head, 0x1F4)) * 16,
    }
}

/// Checks that the program headers and what they load lie inside the file.
fn check_elf(file: &File, head: &[u8], len: u64) -> Result<(), BootError> {
    if head.len() < ELF_HEAD {
        return Err(BootError::KernelTruncated {
            need: ELF_HEAD as u64,
            have: len,
        });
    }
    if head[4] != 2 || u16_at(head, 18) != 62 {
        return Err(BootError::BadHeader("the ELF file is not for x86-64"));
    }
    if usize::from(u16_at(head, 54)) != PROGRAM_HEADER {
        return Err(BootError::BadHeader(
            "the ELF file's program headers are not 56 bytes long",
        ));
    }
    let table = u64_at(head, 32);
    for index in 0..u64::from(u16_at(head, 56)) {
        let need = |end: Option<u64>| {
            let need = end.unwrap_or(u64::MAX);
            if need > len {
                Err(BootError::KernelTruncated { need, have: len })
            } else {
                Ok(())
            }
        };
        let at = table.saturating_add(index * PROGRAM_HEADER as u64);
        need(at.checked_add(PROGRAM_HEADER as u64))?;
        let mut header = [0; PROGRAM_HEADER];
        file.read_exact_at(&mut header, at).map_err(short_read)?;
        if u32_at(&header, 0) == PT_LOAD {
            need(u64_at(&header, 8).checked_add(u64_at(&header, 32)))?;
        }
    }
    Ok(())
}

fn short_read(error: std::io::Error) -> BootError {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            BootError::BadHeader("the file became shorter while it was read")
        }
        _ => BootError::ReadKernel(error),
    }
}
