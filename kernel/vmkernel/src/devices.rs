//! PCI devices that the kernel itself drives: virtio disks and entropy.

use crate::random;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use block::{BlockDevice, BlockFile, BlockNode, Disks, VirtioBlk};
use device::pci::{ConfigSpace, EcamConfig, Function, PortConfig, enumerate};
use device::virtio::{Console, Entropy, device_type, type_of};
use device::{Machine, PciPorts};
use firmware_tables::Mcfg;
use sync::{Once, SpinLock};

/// Device number of the first disk, from the range for local use; each disk
/// has 16, as if for partitions.
const DISK_MAJOR: u32 = 240;
const MINORS: u32 = 16;

/// All disks, by name.
pub static DISKS: Disks = Disks::new();

/// The first virtio console.
pub static CONSOLE: Once<Arc<Console<Machine>>> = Once::new();

static ENTROPY: SpinLock<Option<Arc<Entropy<Machine>>>> = SpinLock::new(None);

/// Finds the devices: over the memory window, or the ports without one.
pub fn init(mcfg: Option<Mcfg>) {
    match mcfg.and_then(|mcfg| mcfg.segments.first().copied()) {
        Some(segment) => {
            let config = EcamConfig::new(Machine, segment);
            start(
                &config,
                &enumerate(&config, segment.segment, segment.first_bus),
            );
        }
        None => {
            let config = PortConfig::new(PciPorts);
            start(&config, &enumerate(&config, 0, 0));
        }
    }
}

fn start(config: &impl ConfigSpace, functions: &[Function]) {
    log::info!("{} PCI functions", functions.len());
    for function in functions {
        let result = match type_of(function) {
            Some(device_type::BLOCK) => VirtioBlk::open(config, function, Machine).map(add_disk),
            Some(device_type::ENTROPY) => {
                Entropy::open(config, function, &Machine, random::add_host_bytes).map(add_entropy)
            }
            Some(device_type::CONSOLE) => Console::open(config, function, &Machine).map(|console| {
                let _ = CONSOLE.set(console);
            }),
            _ => continue,
        };
        if let Err(error) = result {
            log::warn!("PCI function {} is not used: {error}", function.address);
        }
    }
}

fn add_disk(disk: Arc<VirtioBlk<Machine>>) {
    let geometry = disk.geometry();
    let number = DISKS.list().len() as u32 * MINORS;
    let name = DISKS.add("vd", disk.clone());
    let read_only = if geometry.is_read_only {
        ", read-only"
    } else {
        ""
    };
    log::info!("disk {name}: {} MiB{read_only}", geometry.capacity >> 20);
    let rdev = abi::fs::makedev(DISK_MAJOR, number);
    match BlockFile::new(&Machine, disk, rdev) {
        Some(file) => {
            vfs::device::register(true, rdev, Arc::new(BlockNode(Arc::new(file))));
        }
        None => log::warn!("disk {name} has no file: memory is used up"),
    }
}

/// Asks for the first bytes; they arrive by interrupt.
fn add_entropy(device: Arc<Entropy<Machine>>) {
    device.request();
    ENTROPY.lock().get_or_insert(device);
}

/// The disks' names, in the order of their numbers.
pub fn disk_names() -> Vec<String> {
    DISKS.list().into_iter().map(|disk| disk.name).collect()
}

/// The device number of disk `index`.
pub fn disk_number(index: usize) -> u64 {
    abi::fs::makedev(DISK_MAJOR, index as u32 * MINORS)
}
