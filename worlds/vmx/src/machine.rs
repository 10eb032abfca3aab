//! One machine from power-on to power-off: [`Machine::build`] makes the VM,
//! its memory, devices and vCPUs; dropping it takes all of that down.
//!
//! A reboot is a new machine from the same [`Parts`].

use crate::console::{ConsoleInput, ConsoleOutput, RoomSignal};
use crate::devices::{Clock, KeyboardController, PowerBlock, SerialPort};
use crate::interrupts::Interrupts;
use crate::memory;
use crate::outcome::Outcome;
use crate::pci_device::{ConsoleDevice, Doorbells, PciDevice, Slot};
use crate::raw;
use crate::stop::StopSignal;
use crate::vcpu::{self, Shared, VcpuThread};
use board::address_map as map;
use board::{Bus, RamLayout};
use guest_boot::{BootPlan, BootSource};
use guest_cpuid::Identity;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, KVM_PIT_SPEAKER_DUMMY, kvm_pit_config};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use pci::{ConfigPorts, Ecam, PciWindow, RootBus};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;
use virtio_block::{FileStorage, VirtioBlock};
use virtio_console::VirtioConsole;
use virtio_device::VirtioDevice;
use virtio_rng::VirtioRng;
use vm_config::{ConsoleDevice as ConsoleChoice, VmConfig};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::EventFd;

const API_VERSION: i32 = 12;

/// What a machine is made of; it outlives the machine.
pub struct Parts {
    /// The checked configuration.
    pub config: VmConfig,
    /// The kernel's KVM interface.
    pub kvm: Kvm,
    /// The kernel file, open.
    pub kernel: File,
    /// The initrd file, open.
    pub initrd: Option<File>,
    /// The disks, open and locked, in the order of the configuration.
    pub disks: Vec<FileStorage>,
    /// Where console output goes.
    pub output: ConsoleOutput,
    /// Tells when the guest takes input again.
    pub room: Arc<RoomSignal>,
}

/// A running machine.
pub struct Machine {
    stop: Arc<StopSignal>,
    power: Arc<PowerBlock>,
    console: Arc<dyn ConsoleInput>,
    doorbells: Vec<Arc<dyn Doorbells>>,
    started: Instant,
    status: String,
    threads: Vec<VcpuThread>,
    shared: Option<Arc<Shared>>,
    /// Last, so that the kernel lets go of it before it is unmapped.
    _memory: GuestMemoryMmap,
}

/// Opens the KVM interface.
///
/// # Errors
/// A sentence: there is none, or it is not the one expected.
pub fn open_kvm() -> Result<Kvm, String> {
    let kvm = Kvm::new().map_err(|error| {
        format!("/dev/kvm cannot be opened: {error}; this host cannot run VMs, or you may not")
    })?;
    match kvm.get_api_version() {
        API_VERSION => Ok(kvm),
        version => Err(format!(
            "/dev/kvm has API version {version}, {API_VERSION} is needed"
        )),
    }
}

impl Machine {
    /// Builds a machine and starts its vCPUs.
    ///
    /// # Errors
    /// A sentence: what was refused, by whom.
    pub fn build(parts: &mut Parts) -> Result<Self, String> {
        let layout = RamLayout::new(parts.config.memory);
        let memory = memory::allocate(&layout).map_err(|error| {
            let mib = parts.config.memory >> 20;
            format!("{mib} MiB of guest memory cannot be had: {error}")
        })?;
        let plan = load(parts, &memory, &layout)?;
        let host = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
        let vm = create_vm(&parts.kvm, &memory).map_err(host("the kernel refused the VM"))?;
        let vm = Arc::new(vm);
        let vcpus = create_vcpus(&parts.kvm, &vm, parts.config.cpus, &plan)
            .map_err(host("the kernel refused a vCPU"))?;
        let stop = StopSignal::new().map_err(host("no event for the machine"))?;
        let mut builder = Builder {
            interrupts: Arc::new(Interrupts::new(vm.clone())),
            vm,
            stop: Arc::new(stop),
            memory: memory.clone(),
            ports: Bus::new(),
            memory_bus: Bus::new(),
            pci: RootBus::new(),
            doorbells: Vec::new(),
        };
        let power = builder.add_board_chips()?;
        let serial = builder.add_serial(parts)?;
        let console = builder
            .add_virtio(parts)
            .map_err(host("the kernel refused a PCI device"))?
            .unwrap_or(serial);
        builder.attach_pci()?;
        let shared = Arc::new(Shared {
            ports: builder.ports,
            memory: builder.memory_bus,
            stop: builder.stop.clone(),
        });
        let mut machine = Self {
            stop: builder.stop,
            power,
            console,
            doorbells: builder.doorbells,
            started: Instant::now(),
            status: status_of(&parts.config),
            threads: Vec::new(),
            shared: Some(shared.clone()),
            _memory: memory,
        };
        for (index, vcpu) in (0..).zip(vcpus) {
            let thread = VcpuThread::start(index, vcpu, shared.clone())
                .map_err(host("no thread for a vCPU"))?;
            machine.threads.push(thread);
        }
        Ok(machine)
    }

    /// How to stop it, and why it stopped.
    pub fn stop(&self) -> &StopSignal {
        &self.stop
    }

    /// Presses the power button; says whether the guest listens to it.
    pub fn press_power_button(&self) -> bool {
        self.power.press_power_button()
    }

    /// Offers console input; returns how many bytes the guest's device took.
    pub fn offer_input(&self, input: &[u8]) -> usize {
        self.console.offer(input)
    }

    /// The doorbells to watch: device, queue, event.
    pub fn doorbells(&self) -> impl Iterator<Item = (u16, u16, &EventFd)> {
        (0..).zip(&self.doorbells).flat_map(|(device, doorbells)| {
            (0..)
                .zip(doorbells.events())
                .map(move |(queue, event)| (device, queue, event))
        })
    }

    /// A doorbell rang.
    pub fn ring(&self, device: u16, queue: u16) {
        if let Some(doorbells) = self.doorbells.get(usize::from(device)) {
            doorbells.ring(queue.into());
        }
    }

    /// The machine in a line of `key=value`.
    pub fn status(&self) -> String {
        format!(
            "{} uptime_s={}",
            self.status,
            self.started.elapsed().as_secs()
        )
    }
}

impl Drop for Machine {
    /// vCPUs first, then devices and the VM, then memory.
    fn drop(&mut self) {
        self.stop.request(Outcome::Killed);
        for thread in &self.threads {
            thread.kick();
        }
        for thread in self.threads.drain(..) {
            thread.join();
        }
        self.shared = None;
        self.doorbells.clear();
    }
}

fn status_of(config: &VmConfig) -> String {
    format!(
        "state=running name={} cpus={} memory_mib={} pid={}",
        config.name,
        config.cpus,
        config.memory >> 20,
        std::process::id()
    )
}

/// Puts the kernel, its initrd and the firmware tables into guest memory.
fn load(
    parts: &mut Parts,
    memory: &GuestMemoryMmap,
    layout: &RamLayout,
) -> Result<BootPlan, String> {
    let config = &parts.config;
    let source = BootSource {
        kernel: &mut parts.kernel,
        initrd: parts.initrd.as_mut(),
        cmdline: &config.cmdline,
        rsdp: guest_acpi::TABLES_START,
    };
    let initrd = config
        .initrd
        .as_deref()
        .map(|path| format!(", initrd {}", path.display()));
    let plan = guest_boot::load(memory, layout, source).map_err(|error| {
        format!(
            "kernel {}{}: {error}",
            config.kernel.display(),
            initrd.unwrap_or_default()
        )
    })?;
    let tables = guest_acpi::build(config.cpus);
    memory
        .write_slice(&tables, GuestAddress(guest_acpi::TABLES_START))
        .map_err(|error| format!("no room for the ACPI tables: {error}"))?;
    Ok(plan)
}

fn create_vm(kvm: &Kvm, memory: &GuestMemoryMmap) -> io::Result<VmFd> {
    let vm = kvm.create_vm()?;
    if kvm.check_extension(Cap::SetTssAddr) {
        vm.set_tss_address(map::TSS_START as usize)?;
    }
    for (slot, region) in (0..).zip(memory.iter()) {
        raw::add_ram_slot(&vm, slot, region)?;
    }
    vm.create_irq_chip()?;
    vm.create_pit2(kvm_pit_config {
        flags: KVM_PIT_SPEAKER_DUMMY,
        ..Default::default()
    })?;
    Ok(vm)
}

fn create_vcpus(kvm: &Kvm, vm: &VmFd, count: u8, plan: &BootPlan) -> io::Result<Vec<VcpuFd>> {
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    let has_tsc_deadline = kvm.check_extension(Cap::TscDeadlineTimer);
    let vcpu = |index| {
        let vcpu = vm.create_vcpu(u64::from(index))?;
        vcpu::prepare(
            &vcpu,
            &cpuid,
            Identity {
                index,
                count,
                has_tsc_deadline,
            },
            plan,
        )?;
        Ok(vcpu)
    };
    (0..count).map(vcpu).collect()
}

/// A machine whose buses are being filled.
struct Builder {
    vm: Arc<VmFd>,
    interrupts: Arc<Interrupts>,
    stop: Arc<StopSignal>,
    memory: GuestMemoryMmap,
    ports: Bus,
    memory_bus: Bus,
    pci: RootBus,
    doorbells: Vec<Arc<dyn Doorbells>>,
}

impl Builder {
    fn add_board_chips(&mut self) -> Result<Arc<PowerBlock>, String> {
        let keyboard = Arc::new(KeyboardController::new(self.stop.clone()));
        let power = Arc::new(PowerBlock::new(self.interrupts.clone(), self.stop.clone()));
        let clock = Arc::new(Clock::default());
        let power_len = chipset::power_management::BLOCK_LEN;
        let ports = &mut self.ports;
        ports
            .insert(map::I8042_PORT.into(), 5, "keyboard controller", keyboard)
            .and_then(|()| ports.insert(map::CMOS_PORT.into(), 2, "clock", clock))
            .and_then(|()| ports.insert(map::PM_PORT.into(), power_len, "power", power.clone()))
            .map_err(|conflict| conflict.to_string())?;
        Ok(power)
    }

    fn add_serial(&mut self, parts: &Parts) -> Result<Arc<dyn ConsoleInput>, String> {
        let irq = self
            .interrupts
            .edge_line(map::COM1_IRQ)
            .map_err(|error| format!("the kernel refused COM1's interrupt: {error}"))?;
        let serial = Arc::new(SerialPort::new(
            irq,
            parts.room.clone(),
            parts.output.clone(),
        ));
        self.ports
            .insert(map::COM1_PORT.into(), 8, "COM1", serial.clone())
            .map_err(|conflict| conflict.to_string())?;
        Ok(serial)
    }

    /// Adds the virtio devices: disks first, so that their slots do not
    /// depend on the rest. Returns the console if it takes the input.
    fn add_virtio(&mut self, parts: &Parts) -> io::Result<Option<Arc<dyn ConsoleInput>>> {
        for (storage, disk) in parts.disks.iter().zip(&parts.config.disks) {
            let device = VirtioBlock::new(storage.try_clone()?, disk.readonly, &disk.serial);
            let device = self.add_function(device)?;
            self.doorbells.push(device);
        }
        let mut console = None;
        if parts.config.console_device == ConsoleChoice::Virtio {
            let device = self.add_function(VirtioConsole::new(parts.output.clone()))?;
            let device = Arc::new(ConsoleDevice::new(device, parts.room.clone()));
            self.doorbells.push(device.clone());
            console = Some(device as Arc<dyn ConsoleInput>);
        }
        if parts.config.rng {
            let device = self.add_function(VirtioRng::new(HostEntropy))?;
            self.doorbells.push(device);
        }
        Ok(console)
    }

    fn add_function<D: VirtioDevice + 'static>(
        &mut self,
        device: D,
    ) -> io::Result<Arc<PciDevice<D>>> {
        let number = self.pci.next_slot().ok_or(io::ErrorKind::StorageFull)?;
        let slot = Slot::new(
            self.vm.clone(),
            self.interrupts.clone(),
            self.stop.clone(),
            number,
        );
        let device = Arc::new(PciDevice::new(device, slot, self.memory.clone())?);
        self.pci.add(device.clone());
        Ok(device)
    }

    /// Puts the finished PCI bus on the board's buses.
    fn attach_pci(&mut self) -> Result<(), String> {
        let bus = Arc::new(std::mem::take(&mut self.pci));
        let config = Arc::new(ConfigPorts::new(bus.clone()));
        let ecam = Arc::new(Ecam(bus.clone()));
        let window = Arc::new(PciWindow(bus));
        self.ports
            .insert(map::PCI_CONFIG_PORT.into(), 8, "PCI configuration", config)
            .and_then(|()| {
                self.memory_bus
                    .insert(map::ECAM_START, map::ECAM_LEN, "ECAM", ecam)
            })
            .and_then(|()| {
                let (start, len) = (map::PCI_WINDOW_START, map::PCI_WINDOW_LEN);
                self.memory_bus.insert(start, len, "PCI window", window)
            })
            .map_err(|conflict| conflict.to_string())
    }
}

/// The host kernel's random numbers.
struct HostEntropy;

impl Read for HostEntropy {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::rand::getrandom(
            data,
            rustix::rand::GetRandomFlags::empty(),
        )?)
    }
}
