//! Exception vectors (APM volume 2, chapter 8).

macro_rules! vectors {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u8 = $number;)*
    };
}

vectors! {
    DE = 0, "Divide error.";
    DB = 1, "Debug.";
    NMI = 2, "Non-maskable interrupt.";
    BP = 3, "Breakpoint.";
    OF = 4, "Overflow.";
    BR = 5, "Bound range.";
    UD = 6, "Invalid opcode.";
    NM = 7, "Device not available.";
    DF = 8, "Double fault.";
    TS = 10, "Invalid TSS.";
    NP = 11, "Segment not present.";
    SS = 12, "Stack.";
    GP = 13, "General protection.";
    PF = 14, "Page fault.";
    MF = 16, "x87 floating point.";
    AC = 17, "Alignment check.";
    MC = 18, "Machine check.";
    XF = 19, "SIMD floating point.";
    CP = 21, "Control protection.";
    HV = 28, "Hypervisor injection.";
    VC = 29, "VMM communication.";
    SX = 30, "Security.";
}

/// Whether the processor pushes an error code for this exception.
#[must_use]
pub const fn has_error_code(vector: u8) -> bool {
    matches!(vector, DF | TS | NP | SS | GP | PF | AC | CP | VC | SX)
}

/// How an exception counts when another one follows during its delivery
/// (APM volume 2, table "Simultaneous interrupt priorities", #DF conditions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Never leads to a double fault.
    Benign,
    /// #DE, #TS, #NP, #SS, #GP.
    Contributory,
    /// #PF.
    PageFault,
}

/// The class of an exception.
#[must_use]
pub const fn class(vector: u8) -> Class {
    match vector {
        DE | TS | NP | SS | GP => Class::Contributory,
        PF => Class::PageFault,
        _ => Class::Benign,
    }
}
