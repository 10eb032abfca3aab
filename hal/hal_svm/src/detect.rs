//! Whether this CPU can run guests, and if not, why: [`detect`]. APM volume 2,
//! 15.4 "Enabling SVM".

use core::fmt;
use x86::cpuid::{Answer, amd_ecx, leaf, svm_edx};
use x86::msr::{VM_CR_LOCK, VM_CR_SVMDIS};

/// What the CPU offers beyond plain SVM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// Number of address space identifiers, 0 included.
    pub asids: u32,
    /// Feature bits: see [`x86::cpuid::svm_edx`].
    pub bits: u32,
}

impl Features {
    /// Whether the CPU has this [`x86::cpuid::svm_edx`] bit.
    #[inline]
    #[must_use]
    pub const fn has(self, bit: u32) -> bool {
        self.bits & bit != 0
    }
}

/// Why no guests can run here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// CPUID does not show SVM.
    NoSvm,
    /// The firmware switched it off for good.
    DisabledAndLocked,
    /// The firmware switched it off; the CPU would let it be switched on only
    /// with a key.
    Disabled,
    /// SVM without nested paging.
    NoNestedPaging,
    /// Fewer than two address space identifiers.
    NoAsids(u32),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::NoSvm => f.write_str(
                "this CPU has no AMD-V (CPUID 8000_0001h ECX bit 2 is clear): it cannot run VMs",
            ),
            Unavailable::DisabledAndLocked => f.write_str(
                "AMD-V is disabled by the firmware (VM_CR.SVMDIS is set and locked): \
                 enable SVM in the firmware's setup to run VMs",
            ),
            Unavailable::Disabled => f.write_str(
                "AMD-V is disabled by the firmware (VM_CR.SVMDIS is set): \
                 enable SVM in the firmware's setup to run VMs",
            ),
            Unavailable::NoNestedPaging => f.write_str(
                "this CPU has AMD-V without nested paging (CPUID 8000_000Ah EDX bit 0 is clear): \
                 it cannot run VMs",
            ),
            Unavailable::NoAsids(count) => write!(
                f,
                "this CPU has {count} address space identifiers for guests \
                 (CPUID 8000_000Ah EBX), at least 2 are needed"
            ),
        }
    }
}

/// Asks CPUID and, only where SVM exists, the VM_CR register.
///
/// # Errors
/// The reason why guests cannot run, as an operator reads it.
pub fn detect(
    cpuid: impl Fn(u32) -> Answer,
    vm_cr: impl FnOnce() -> u64,
) -> Result<Features, Unavailable> {
    let largest = cpuid(leaf::EXTENDED).eax;
    if largest < leaf::SVM || cpuid(leaf::AMD_FEATURES).ecx & amd_ecx::SVM == 0 {
        return Err(Unavailable::NoSvm);
    }
    let vm_cr = vm_cr();
    if vm_cr & VM_CR_SVMDIS != 0 {
        let locked = vm_cr & VM_CR_LOCK != 0;
        return Err(if locked {
            Unavailable::DisabledAndLocked
        } else {
            Unavailable::Disabled
        });
    }
    let svm = cpuid(leaf::SVM);
    if svm.edx & svm_edx::NPT == 0 {
        return Err(Unavailable::NoNestedPaging);
    }
    if svm.ebx < 2 {
        return Err(Unavailable::NoAsids(svm.ebx));
    }
    Ok(Features {
        asids: svm.ebx,
        bits: svm.edx,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    fn epyc(function: u32) -> Answer {
        match function {
            leaf::EXTENDED => Answer {
                eax: 0x8000_001F,
                ..Answer::default()
            },
            leaf::AMD_FEATURES => Answer {
                ecx: amd_ecx::SVM,
                ..Answer::default()
            },
            leaf::SVM => Answer {
                ebx: 16,
                edx: svm_edx::NPT,
                ..Answer::default()
            },
            _ => Answer::default(),
        }
    }

    #[test]
    fn a_plain_cpu() {
        assert_eq!(detect(epyc, || 0), Ok(Features { asids: 16, bits: 1 }));
    }

    #[test]
    fn reasons() {
        assert_eq!(
            detect(|_| Answer::default(), || panic!("no such register")),
            Err(Unavailable::NoSvm)
        );
        assert_eq!(detect(epyc, || VM_CR_SVMDIS), Err(Unavailable::Disabled));
        let locked = detect(epyc, || VM_CR_SVMDIS | VM_CR_LOCK);
        assert_eq!(locked, Err(Unavailable::DisabledAndLocked));
        let text = locked.map_err(|reason| reason.to_string());
        assert!(text.is_err_and(|text| text.contains("firmware")));
        let flat = |function| match function {
            leaf::SVM => Answer {
                ebx: 16,
                ..Answer::default()
            },
            other => epyc(other),
        };
        assert_eq!(detect(flat, || 0), Err(Unavailable::NoNestedPaging));
    }
}
