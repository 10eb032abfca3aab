//! x86-64 as data: registers, model-specific registers, CPUID leaves, segment
//! descriptors, page-table bits and the VMCB. No behaviour beyond conversions.
//! Reference: AMD64 Architecture Programmer's Manual (APM), volumes 2 and 3.
#![no_std]
#![forbid(unsafe_code)]

pub mod cpuid;
pub mod msr;
pub mod paging;
pub mod register;
pub mod segment;
pub mod svm_exit;
pub mod vector;
pub mod vmcb;
pub mod xsave;
