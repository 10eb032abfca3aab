//! The walk through a guest's page tables, from linear to guest-physical:
//! [`translate`]. APM volume 2, chapter 5. The kernel needs it for instruction
//! bytes, string port accesses and KVM_TRANSLATE; ordinary accesses of the
//! guest are translated by the processor.

use x86::paging::{
    ADDRESS, FAULT_FETCH, FAULT_PRESENT, FAULT_USER, FAULT_WRITE, LARGE, NO_EXECUTE, PRESENT, USER,
    WRITE,
};
use x86::register::{cr0, cr4, efer};

/// The memory of a guest by guest-physical address. Each read copies once.
pub trait GuestMemory {
    /// Copies from guest memory.
    fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), Missing>;
    /// Copies to guest memory.
    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Missing>;

    /// A word at an address that is a multiple of 8.
    #[inline]
    fn read_u64(&self, gpa: u64) -> Result<u64, Missing> {
        let mut bytes = [0; 8];
        self.read(gpa, &mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// A word at an address that is a multiple of 4.
    #[inline]
    fn read_u32(&self, gpa: u64) -> Result<u32, Missing> {
        let mut bytes = [0; 4];
        self.read(gpa, &mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }
}

/// No memory is mapped at this guest-physical address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The address.
    pub gpa: u64,
}

/// The registers that steer the walk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paging {
    /// CR0.
    pub cr0: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// EFER.
    pub efer: u64,
}

impl Paging {
    /// Whether the processor is in long mode.
    #[inline]
    #[must_use]
    pub const fn is_long(&self) -> bool {
        self.efer & efer::LMA != 0
    }
}

/// How the address is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// Write.
    pub write: bool,
    /// Instruction fetch.
    pub fetch: bool,
    /// From ring 3.
    pub user: bool,
}

/// Why an address has no translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalkError {
    /// The guest gets a page fault with this error code.
    PageFault(u32),
    /// A page table lies where the guest has no memory.
    Missing(Missing),
}

impl From<Missing> for WalkError {
    fn from(missing: Missing) -> Self {
        WalkError::Missing(missing)
    }
}

/// The translation of one page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The guest-physical address of the byte asked for.
    pub gpa: u64,
    /// The page may be written (by whoever may reach it).
    pub writable: bool,
    /// Ring 3 may use it.
    pub user: bool,
}

/// Translates `linear`; the result holds to the end of its 4 KiB page.
///
/// # Errors
/// The page fault that the guest would take, or the table that is missing.
#[inline]
pub fn translate(
    memory: &impl GuestMemory,
    paging: &Paging,
    linear: u64,
    access: Access,
) -> Result<Translation, WalkError> {
    if paging.cr0 & cr0::PG == 0 {
        return Ok(Translation {
            gpa: linear & 0xFFFF_FFFF,
            writable: true,
            user: true,
        });
    }
    let walked = if paging.is_long() {
        walk_wide(
            memory,
            paging,
            linear,
            paging.cr3 & ADDRESS,
            levels_of(paging),
        )?
    } else if paging.cr4 & cr4::PAE != 0 {
        walk_pae(memory, paging, linear)?
    } else {
        walk_narrow(memory, paging, linear)?
    };
    check(paging, &walked, access)?;
    Ok(Translation {
        gpa: walked.gpa,
        writable: walked.rights & WRITE != 0,
        user: walked.rights & USER != 0,
    })
}

const fn levels_of(paging: &Paging) -> u32 {
    if paging.cr4 & cr4::LA57 != 0 { 5 } else { 4 }
}

/// Where a walk ended and what all its entries allow.
struct Walked {
    gpa: u64,
    rights: u64,
    no_execute: bool,
}

fn not_present() -> WalkError {
    WalkError::PageFault(0)
}

/// Tables of 512 entries of 8 bytes.
#[inline]
fn walk_wide(
    memory: &impl GuestMemory,
    paging: &Paging,
    linear: u64,
    root: u64,
    levels: u32,
) -> Result<Walked, WalkError> {
    let mut table = root;
    let mut rights = WRITE | USER;
    let mut no_execute = 0;
    let mut level = levels;
    loop {
        let shift = 3 + 9 * level;
        let entry = memory.read_u64(table + (linear >> shift & 511) * 8)?;
        if entry & PRESENT == 0 {
            return Err(not_present());
        }
        rights &= entry;
        no_execute |= entry & NO_EXECUTE;
        if level == 1 || (entry & LARGE != 0 && level <= 3) {
            let within = (1 << shift) - 1;
            let gpa = (entry & ADDRESS & !within) | (linear & within);
            let nx = no_execute != 0 && paging.efer & efer::NXE != 0;
            return Ok(Walked {
                gpa,
                rights,
                no_execute: nx,
            });
        }
        table = entry & ADDRESS;
        level -= 1;
    }
}

/// PAE outside long mode: four directory pointers without rights, two levels.
fn walk_pae(memory: &impl GuestMemory, paging: &Paging, linear: u64) -> Result<Walked, WalkError> {
    let linear = linear & 0xFFFF_FFFF;
    let pointer = memory.read_u64((paging.cr3 & 0xFFFF_FFE0) + (linear >> 30) * 8)?;
    if pointer & PRESENT == 0 {
        return Err(not_present());
    }
    walk_wide(memory, paging, linear, pointer & ADDRESS, 2)
}

/// Tables of 1024 entries of 4 bytes.
fn walk_narrow(
    memory: &impl GuestMemory,
    paging: &Paging,
    linear: u64,
) -> Result<Walked, WalkError> {
    let linear = linear & 0xFFFF_FFFF;
    let directory = u64::from(memory.read_u32((paging.cr3 & 0xFFFF_F000) + (linear >> 22) * 4)?);
    if directory & PRESENT == 0 {
        return Err(not_present());
    }
    if directory & LARGE != 0 && paging.cr4 & cr4::PSE != 0 {
        // Bits 20:13 of the entry are bits 39:32 of the address.
        let high = (directory >> 13 & 0xFF) << 32;
        let gpa = high | (directory & 0xFFC0_0000) | (linear & 0x003F_FFFF);
        return Ok(Walked {
            gpa,
            rights: directory,
            no_execute: false,
        });
    }
    let slot = (directory & 0xFFFF_F000) + (linear >> 12 & 1023) * 4;
    let entry = u64::from(memory.read_u32(slot)?);
    if entry & PRESENT == 0 {
        return Err(not_present());
    }
    let gpa = (entry & 0xFFFF_F000) | (linear & 0xFFF);
    Ok(Walked {
        gpa,
        rights: directory & entry,
        no_execute: false,
    })
}

fn check(paging: &Paging, walked: &Walked, access: Access) -> Result<(), WalkError> {
    let mut denied = false;
    denied |= access.user && walked.rights & USER == 0;
    let write_protected = walked.rights & WRITE == 0;
    denied |= access.write && write_protected && (access.user || paging.cr0 & cr0::WP != 0);
    denied |= access.fetch && walked.no_execute;
    denied |=
        access.fetch && !access.user && walked.rights & USER != 0 && paging.cr4 & cr4::SMEP != 0;
    if !denied {
        return Ok(());
    }
    let mut code = FAULT_PRESENT;
    code |= if access.write { FAULT_WRITE } else { 0 };
    code |= if access.user { FAULT_USER } else { 0 };
    code |= if access.fetch { FAULT_FETCH } else { 0 };
    Err(WalkError::PageFault(code as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Ram;

    const READ: Access = Access {
        write: false,
        fetch: false,
        user: false,
    };

    fn long() -> Paging {
        Paging {
            cr0: cr0::PE | cr0::PG | cr0::WP,
            cr3: 0x1000,
            cr4: cr4::PAE,
            efer: efer::LME | efer::LMA | efer::NXE,
        }
    }

    fn long_tables(last: u64) -> Ram {
        let ram = Ram::new(0x10_0000);
        ram.put(0x1000 + 8 * 511, 0x2003_u64);
        ram.put(0x2000 + 8 * 510, 0x3003_u64);
        ram.put(0x3000 + 8 * 8, 0x4003_u64);
        ram.put(0x4000, last);
        ram
    }

    const LINEAR: u64 = 0xFFFF_FFFF_8100_0000;

    #[test]
    fn four_levels() {
        let ram = long_tables(0x9000 | PRESENT | WRITE);
        let found = translate(&ram, &long(), LINEAR + 0x123, READ).unwrap();
        assert_eq!(found.gpa, 0x9123);
        assert!(found.writable && !found.user);
    }

    #[test]
    fn large_pages_end_the_walk() {
        let ram = long_tables(0);
        ram.put(0x3000 + 8 * 8, 0x0060_0000_u64 | PRESENT | LARGE);
        let found = translate(&ram, &long(), LINEAR + 0x1_2345, READ).unwrap();
        assert_eq!(found.gpa, 0x0061_2345);
    }

    #[test]
    fn denials_carry_the_error_code() {
        let ram = long_tables(0x9000 | PRESENT | NO_EXECUTE);
        let write = Access {
            write: true,
            ..READ
        };
        assert_eq!(
            translate(&ram, &long(), LINEAR, write),
            Err(WalkError::PageFault(3))
        );
        let user = Access { user: true, ..READ };
        assert_eq!(
            translate(&ram, &long(), LINEAR, user),
            Err(WalkError::PageFault(5))
        );
        let fetch = Access {
            fetch: true,
            ..READ
        };
        assert_eq!(
            translate(&ram, &long(), LINEAR, fetch),
            Err(WalkError::PageFault(17))
        );
        let absent = translate(&ram, &long(), 0, READ);
        assert_eq!(absent, Err(WalkError::PageFault(0)));
    }

    #[test]
    fn write_protection_is_off_for_the_kernel_without_wp() {
        let ram = long_tables(0x9000 | PRESENT);
        let paging = Paging {
            cr0: cr0::PE | cr0::PG,
            ..long()
        };
        assert!(
            translate(
                &ram,
                &paging,
                LINEAR,
                Access {
                    write: true,
                    ..READ
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn tables_outside_memory_are_told() {
        let ram = Ram::new(0x1000);
        let found = translate(&ram, &long(), LINEAR, READ);
        assert_eq!(
            found,
            Err(WalkError::Missing(Missing {
                gpa: 0x1000 + 8 * 511
            }))
        );
    }

    #[test]
    fn two_levels_of_narrow_tables() {
        let ram = Ram::new(0x1_0000);
        let paging = Paging {
            cr0: cr0::PE | cr0::PG,
            cr3: 0x1000,
            cr4: cr4::PSE,
            efer: 0,
        };
        ram.put(0x1000 + 4 * 2, 0x2007_u32);
        ram.put(0x2000 + 4 * 3, 0x5005_u32);
        ram.put(0x1000 + 4 * 3, 0x0040_0083_u32);
        let found = translate(&ram, &paging, (2 << 22) + (3 << 12) + 7, READ).unwrap();
        assert_eq!(
            (found.gpa, found.writable, found.user),
            (0x5007, false, true)
        );
        let large = translate(&ram, &paging, (3 << 22) + 0x1234, READ).unwrap();
        assert_eq!(large.gpa, 0x0040_1234);
    }

    #[test]
    fn pae_outside_long_mode() {
        let ram = Ram::new(0x1_0000);
        let paging = Paging {
            cr0: cr0::PE | cr0::PG,
            cr3: 0x1020,
            cr4: cr4::PAE,
            efer: 0,
        };
        ram.put(0x1020 + 8, 0x2001_u64);
        ram.put(0x2000, 0x3003_u64);
        ram.put(0x3000 + 8, 0x7003_u64);
        let found = translate(&ram, &paging, 0x4000_1008, READ).unwrap();
        assert_eq!(found.gpa, 0x7008);
    }

    #[test]
    fn no_paging_is_the_identity() {
        let ram = Ram::new(0);
        let found = translate(&ram, &Paging::default(), 0xFFFF_FFF0, READ).unwrap();
        assert_eq!(found.gpa, 0xFFFF_FFF0);
    }
}
