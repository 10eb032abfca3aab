//! [`BootModules`]: files the boot loader placed in memory beside the kernel.

/// Most modules kept; a loader that brings more is refused.
pub const MAX_MODULES: usize = 16;

/// One file in physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BootModule {
    /// Physical address of its first byte.
    pub address: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// The modules in the loader's order.
#[derive(Clone, Debug, Default)]
pub struct BootModules {
    entries: [BootModule; MAX_MODULES],
    count: usize,
}

impl BootModules {
    /// Appends a module; false if [`MAX_MODULES`] are there already.
    pub(crate) fn push(&mut self, module: BootModule) -> bool {
        match self.entries.get_mut(self.count) {
            Some(slot) => {
                *slot = module;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// The modules as a slice.
    #[must_use]
    pub fn as_slice(&self) -> &[BootModule] {
        &self.entries[..self.count]
    }
}
