//! [`Disks`]: all disks by name.

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use sync::SpinLock;

use crate::BlockDevice;

/// A disk with its name.
#[derive(Clone)]
pub struct Disk {
    /// The name that programs see under `/dev`.
    pub name: String,
    /// The disk.
    pub device: Arc<dyn BlockDevice>,
}

/// The disks of the machine, in the order they were found.
#[derive(Default)]
pub struct Disks {
    list: SpinLock<Vec<Disk>>,
}

impl Disks {
    /// A machine without disks.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            list: SpinLock::new(Vec::new()),
        }
    }

    /// Adds a disk and names it: `prefix` and a letter, such as `vda`; after
    /// `z` two letters, and so on. Returns the name.
    pub fn add(&self, prefix: &str, device: Arc<dyn BlockDevice>) -> String {
        let mut list = self.list.lock();
        let taken = |name: &str| list.iter().any(|disk| disk.name == name);
        let names = (0..).map(|index| format!("{prefix}{}", letters(index)));
        let name = names.into_iter().find(|name| !taken(name));
        let name = name.expect("invariant: there are more names than disks");
        list.push(Disk {
            name: name.clone(),
            device,
        });
        name
    }

    /// The disk of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn BlockDevice>> {
        let list = self.list.lock();
        list.iter()
            .find(|disk| disk.name == name)
            .map(|disk| disk.device.clone())
    }

    /// All disks.
    #[must_use]
    pub fn list(&self) -> Vec<Disk> {
        self.list.lock().clone()
    }
}

/// 0 is `a`, 25 is `z`, 26 is `aa`.
fn letters(index: usize) -> String {
    let mut reversed = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        reversed.push(char::from(b'a' + ((rest - 1) % 26) as u8));
        rest = (rest - 1) / 26;
    }
    reversed.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::letters;

    #[test]
    fn names_go_on_after_z() {
        assert_eq!(
            [0, 25, 26, 701, 702].map(letters),
            ["a", "z", "aa", "zz", "aaa"]
        );
    }
}
