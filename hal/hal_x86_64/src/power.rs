//! Ending: power-off, reset, and the verdict port of an emulated machine.

use crate::{apic, cpu, port};
use core::sync::atomic::{AtomicBool, Ordering};
use sync::Once;

/// How ACPI turns this machine off and resets it (ACPI 6.4, 4.8.3 and 4.8.4.6).
#[derive(Clone, Copy, Debug, Default)]
pub struct AcpiPower {
    /// Port of the PM1a control block, 0 where there is none.
    pub pm1a_control: u16,
    /// Port of the PM1b control block, 0 where there is none.
    pub pm1b_control: u16,
    /// SLP_TYP values of S5 for the two blocks.
    pub s5: Option<(u8, u8)>,
    /// Port and value of the reset register.
    pub reset: Option<(u16, u8)>,
}

static ACPI: Once<AcpiPower> = Once::new();
static STOPPING: AtomicBool = AtomicBool::new(false);

/// Port of QEMU's `isa-debug-exit` device, as `cargo xtask` configures it.
const VERDICT: u16 = 0xf4;

/// Remembers what the firmware's tables say of power.
pub fn set_acpi(power: AcpiPower) {
    let _ = ACPI.set(power);
}

/// Whether the machine is being stopped, as other CPUs are told by NMI.
pub(crate) fn stopping() -> bool {
    STOPPING.load(Ordering::Acquire)
}

/// Stops every other CPU where it stands.
pub fn stop_others() {
    if !STOPPING.swap(true, Ordering::AcqRel) && cpu::count() > 1 {
        apic::send_nmi_to_others();
    }
}

/// Turns the machine off; where that cannot be had, stops.
pub fn off() -> ! {
    if let Some(power) = ACPI.get()
        && let Some((a, b)) = power.s5
    {
        for (control, kind) in [(power.pm1a_control, a), (power.pm1b_control, b)] {
            if control != 0 {
                port::out16(control, u16::from(kind) << 10 | 1 << 13);
            }
        }
    }
    cpu::halt()
}

/// Resets the machine.
pub fn reset() -> ! {
    if let Some(AcpiPower {
        reset: Some((register, value)),
        ..
    }) = ACPI.get()
    {
        port::out8(*register, *value);
    }
    // The PCI host bridge's reset control, then the keyboard controller's line.
    port::out8(0xcf9, 0x02);
    port::out8(0xcf9, 0x06);
    port::out8(0x64, 0xfe);
    cpu::halt()
}

/// Ends an emulated machine with `value` as its verdict, or turns off where no
/// such device answers.
pub fn verdict(value: u8) -> ! {
    port::out8(VERDICT, value);
    off()
}
