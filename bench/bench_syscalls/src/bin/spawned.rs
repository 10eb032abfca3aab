//! A small static program that ends at once: what `sys.spawn` runs. Without Rust's start-up code it is what a C
//! program would be.

#![expect(unsafe_code)]
// UNSAFETY: the C library looks for `main` by its name.
#![no_main]

/// What the C library calls.
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    0
}
