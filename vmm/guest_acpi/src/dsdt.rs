//! The namespace (DSDT): CPUs, the PCI root with its windows and interrupt
//! routes, COM1, the CMOS clock, and the soft-off sleep state.
//!
//! The power button is a fixed-feature button of the FADT, so it has no
//! object here. Follows the ACPI specification 6.5, chapters 6 and 20.

use crate::{OEM_ID, OEM_REVISION, OEM_TABLE, pm_block};
use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Interrupt, Memory32Fixed, Name,
    Package, PackageBuilder, Path, ResourceTemplate, Scope,
};
use acpi_tables::sdt::Sdt;
use board::address_map as map;

const PCI_SLOTS: u8 = 32;

pub(crate) fn build(vcpus: u8) -> Sdt {
    let mut body = Vec::new();
    soft_off(&mut body);
    cpus(&mut body, vcpus);
    pci_root(&mut body);
    isa_devices(&mut body);
    let mut dsdt = Sdt::new(*b"DSDT", 36, 6, OEM_ID, OEM_TABLE, OEM_REVISION);
    dsdt.append_slice(&body);
    dsdt
}

/// `_S5_`: what to write to SLP_TYP to switch the machine off.
fn soft_off(body: &mut Vec<u8>) {
    let sleep_type = pm_block::SLEEP_TYPE_S5;
    let package = Package::new(vec![&sleep_type, &0u8, &0u8, &0u8]);
    Name::new("_S5_".into(), &package).to_aml_bytes(body);
}

fn cpus(body: &mut Vec<u8>, vcpus: u8) {
    for id in 0..vcpus {
        let hid = Name::new("_HID".into(), &"ACPI0007");
        let uid = Name::new("_UID".into(), &id);
        let path = format!("_SB_.C{id:03}");
        Device::new(path.as_str().into(), vec![&hid, &uid]).to_aml_bytes(body);
    }
}

/// The PCI Express root: bus 0, one memory window, the configuration ports,
/// and a reservation for configuration space in memory.
fn pci_root(body: &mut Vec<u8>) {
    let window_end = map::PCI_WINDOW_START + map::PCI_WINDOW_LEN - 1;
    let bus = AddressSpace::new_bus_number(0u16, 0u16);
    let config = IO::new(map::PCI_CONFIG_PORT, map::PCI_CONFIG_PORT, 1, 8);
    let window = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        map::PCI_WINDOW_START as u32,
        window_end as u32,
        None,
    );
    let hid = Name::new("_HID".into(), &EISAName::new("PNP0A08"));
    let cid = Name::new("_CID".into(), &EISAName::new("PNP0A03"));
    let uid = Name::new("_UID".into(), &0u8);
    let bbn = Name::new("_BBN".into(), &0u8);
    let resources = ResourceTemplate::new(vec![&bus, &config, &window]);
    let crs = Name::new("_CRS".into(), &resources);
    let routes = interrupt_routes();
    let prt = Name::new("_PRT".into(), &routes);
    let root = Device::new("PCI0".into(), vec![&hid, &cid, &uid, &bbn, &crs, &prt]);

    let ecam = Memory32Fixed::new(true, map::ECAM_START as u32, map::ECAM_LEN as u32);
    let board_resources = ResourceTemplate::new(vec![&ecam]);
    let board_hid = Name::new("_HID".into(), &EISAName::new("PNP0C02"));
    let board_uid = Name::new("_UID".into(), &1u8);
    let board_crs = Name::new("_CRS".into(), &board_resources);
    let motherboard = Device::new("MBRD".into(), vec![&board_hid, &board_uid, &board_crs]);

    Scope::new("_SB_".into(), vec![&root, &motherboard]).to_aml_bytes(body);
}

/// Which global interrupt INTA of each slot drives.
fn interrupt_routes() -> PackageBuilder {
    let mut routes = PackageBuilder::new();
    for slot in 0..PCI_SLOTS {
        let address = u32::from(slot) << 16 | 0xFFFF;
        let gsi = map::intx_gsi(slot);
        routes.add_element(&Package::new(vec![&address, &0u8, &0u8, &gsi]));
    }
    routes
}

fn isa_devices(body: &mut Vec<u8>) {
    let serial_ports = IO::new(map::COM1_PORT, map::COM1_PORT, 0, 8);
    let serial_irq = Interrupt::new(true, true, false, false, map::COM1_IRQ);
    let serial_resources = ResourceTemplate::new(vec![&serial_ports, &serial_irq]);
    device(body, "_SB_.COM1", "PNP0501", &serial_resources);

    // No interrupt: the clock has no alarm, and says so.
    let clock_ports = IO::new(map::CMOS_PORT, map::CMOS_PORT, 0, 2);
    let clock_resources = ResourceTemplate::new(vec![&clock_ports]);
    device(body, "_SB_.RTC_", "PNP0B00", &clock_resources);
}

fn device(body: &mut Vec<u8>, path: &str, id: &str, resources: &ResourceTemplate<'_>) {
    let hid = Name::new("_HID".into(), &EISAName::new(id));
    let uid = Name::new("_UID".into(), &0u8);
    let crs = Name::new("_CRS".into(), resources);
    Device::new(Path::new(path), vec![&hid, &uid, &crs]).to_aml_bytes(body);
}
