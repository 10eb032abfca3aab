//! The machine as its firmware describes it: CPUs, interrupt lines, power.

use crate::{command_line, devices, messages, random, virtualization};
use alloc::vec::Vec;
use device::FirmwareMemory;
use firmware_tables::{AddressSpace, Fadt, GenericAddress, Hpet, Madt, Polarity, Tables, Trigger};
use hal::boot::BootInfo;
use hal::mem::Physical;
use hal::power::AcpiPower;
use hal::time::{Timers, Wanted};
use timekeeping::rtc::Cmos;
use sync::Once;
use syscall::SystemHooks;

static MADT: Once<Madt> = Once::new();

/// Reads the tables, starts the CPUs, sets the clock.
pub fn init(info: &BootInfo) {
    let memory = FirmwareMemory::new(device::Machine, Physical);
    let tables = match Tables::find(&memory, (info.rsdp != 0).then_some(info.rsdp)) {
        Ok(tables) => tables,
        Err(error) => {
            log::warn!("no ACPI: {error}; one CPU, no power-off");
            log::info!("{}", hal::time::init(&Timers::default(), Wanted::Best));
            set_clock(None);
            return devices::init(None);
        }
    };
    let fadt = tables
        .fadt(&memory)
        .inspect_err(|error| log::warn!("{error}"))
        .ok();
    if let Some(fadt) = &fadt {
        hal::power::set_acpi(power(fadt));
    }
    hal::time::init(&timers(tables.hpet(&memory).ok(), fadt.as_ref()), wanted_clock());
    set_clock(fadt.as_ref());
    match tables.madt(&memory) {
        Ok(madt) => {
            let _ = MADT.set(madt);
        }
        Err(error) => log::warn!("{error}; one CPU, no interrupt lines"),
    }
    start_cpus();
    log::info!("{}", hal::time::report());
    devices::init(tables.mcfg(&memory).ok());
    let memory = hal::mem::statistics();
    log::info!(
        "{} CPUs, {} MiB of memory, {} MiB in use",
        hal::cpu::count(),
        memory.managed >> 8,
        (memory.managed - memory.free) >> 8
    );
}

fn start_cpus() {
    let Some(madt) = MADT.get() else { return };
    for io in &madt.ioapics {
        hal::apic::init_io_apic(u64::from(io.address), io.gsi_base);
    }
    let enabled: Vec<u32> = madt
        .cpus
        .iter()
        .filter(|cpu| cpu.is_enabled)
        .map(|cpu| cpu.apic_id)
        .collect();
    let running = hal::apic::start_cpus(enabled.iter().copied(), || {
        virtualization::prepare_cpu();
        sched::run_cpu()
    });
    if running < enabled.len() {
        log::warn!("{running} of {} CPUs came up", enabled.len());
    }
}

/// Sends ISA interrupt `irq` to `vector`, as the firmware wired it.
pub fn route_isa(irq: u8, vector: u8) -> bool {
    let wired = MADT
        .get()
        .and_then(|madt| madt.overrides.iter().find(|wired| wired.isa_irq == irq));
    match wired {
        Some(wired) => hal::apic::route(
            wired.gsi,
            vector,
            matches!(wired.trigger, Trigger::Level),
            matches!(wired.polarity, Polarity::Low),
        ),
        None => hal::apic::route(u32::from(irq), vector, false, false),
    }
}

fn power(fadt: &Fadt) -> AcpiPower {
    let port = |address: Option<GenericAddress>| match address {
        Some(address) if address.space == AddressSpace::Port => address.address as u16,
        _ => 0,
    };
    AcpiPower {
        pm1a_control: port(fadt.pm1a_cnt),
        pm1b_control: port(fadt.pm1b_cnt),
        s5: fadt.s5.map(|s5| (s5.a, s5.b)),
        reset: fadt
            .reset
            .map(|reset| (port(Some(reset.register)), reset.value))
            .filter(|(port, _)| *port != 0),
    }
}

fn timers(hpet: Option<Hpet>, fadt: Option<&Fadt>) -> Timers {
    let pm_timer = fadt.and_then(|fadt| fadt.pm_timer);
    Timers {
        hpet: hpet.map(|hpet| hal::time::Hpet { address: hpet.address }),
        pm_timer: pm_timer
            .filter(|timer| timer.register.space == AddressSpace::Port)
            .map(|timer| hal::time::PmTimer { port: timer.register.address as u16, bits: timer.bits }),
    }
}

/// What `clock=` on the command line asks for.
fn wanted_clock() -> Wanted {
    match command_line::value("clock") {
        None => Wanted::Best,
        Some("tsc") => Wanted::Tsc,
        Some("hpet") => Wanted::Hpet,
        Some("acpi_pm") => Wanted::PmTimer,
        Some(other) => {
            log::warn!("clock={other}: there are tsc, hpet and acpi_pm; the best is taken");
            Wanted::Best
        }
    }
}

struct Rtc;

impl Cmos for Rtc {
    fn read(&self, index: u8) -> u8 {
        hal::time::read_cmos(index)
    }
}

fn set_clock(fadt: Option<&Fadt>) {
    match timekeeping::rtc::read(&Rtc, fadt.and_then(|fadt| fadt.century_index)) {
        Ok(seconds) => sched::set_realtime_ns(seconds * 1_000_000_000),
        Err(error) => log::warn!("the hardware clock cannot be read: {error}; it is 1970"),
    }
}

/// What system calls need of the machine.
pub fn hooks() -> SystemHooks {
    SystemHooks {
        random: random::fill_for_program,
        power_off: || {
            log::info!("power off");
            hal::power::stop_others();
            hal::power::off()
        },
        restart: || {
            log::info!("restart");
            hal::power::stop_others();
            hal::power::reset()
        },
        messages: messages::all,
    }
}
