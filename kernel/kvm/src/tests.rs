//! vCPUs over a scripted processor: what the monitor sees, what the guest gets.

use crate::backend::{Control, VcpuBackend, gpr};
use crate::event::Event;
use crate::exit::{Exit, Instruction, NestedFault, PortAccess};
use crate::fake::{FakeEvent, FakeHardware, FakeMonitor, FakePlatform, FakeSpace, signal};
use crate::shared::{VcpuShared, request};
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use abi::Errno;
use abi::kvm::{self, exit, mp_state};
use abi::kvm_run::offset;
use abi::kvm_vcpu::{CpuidEntry2, Interrupt, Regs};
use abi::kvm_vm::{IoEventFd, IrqFd, IrqLevel, UserspaceMemoryRegion};
use hal::mem::Account;
use irqchip::Events;
use std::sync::Arc;
use std::vec;
use x86::register::rflags;

const LAPIC: u64 = 0xFEE0_0000;
const SPACE: u64 = 0x10_0000;

struct Bench {
    vm: Arc<Vm<FakePlatform>>,
    vcpu: Vcpu<FakePlatform>,
    shared: Arc<VcpuShared>,
    space: Arc<FakeSpace>,
    monitor: FakeMonitor,
}

impl Bench {
    /// One MiB of memory at 0, real mode at 1000h.
    fn new(with_chips: bool) -> Self {
        wait_host::install();
        signal(false);
        let space = FakeSpace::new(SPACE * 2);
        let vm = Vm::new(Arc::new(space.clone()), &Account::kernel()).unwrap();
        let monitor = FakeMonitor::new();
        if with_chips {
            vm.request(&monitor, kvm::CREATE_IRQCHIP, 0).unwrap();
        }
        let region = UserspaceMemoryRegion {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: SPACE,
            userspace_addr: SPACE,
        };
        vm.memory.set_region(region).unwrap();
        let (mut vcpu, shared) = Vcpu::new(&vm, 0).unwrap();
        let mut sregs = vcpu.sregs();
        (sregs.cs.base, sregs.cs.selector) = (0, 0);
        vcpu.set_sregs(&sregs).unwrap();
        vcpu.set_regs(&Regs {
            rip: 0x1000,
            rflags: 2,
            ..Regs::default()
        });
        Bench {
            vm,
            vcpu,
            shared,
            space,
            monitor,
        }
    }

    fn code(&self, bytes: &[u8]) {
        self.vm.memory.write(0x1000, bytes).unwrap();
    }

    fn hw(&mut self) -> &mut FakeHardware {
        &mut self.vcpu.hw
    }

    fn run(&mut self) -> Result<u32, Errno> {
        self.vcpu.request(&self.monitor, kvm::RUN, 0)?;
        Ok(self
            .vcpu
            .page()
            .frame(0)
            .unwrap()
            .read_u32(offset::EXIT_REASON))
    }

    fn word(&self, at: usize) -> u64 {
        self.vcpu
            .page()
            .frame(0)
            .unwrap()
            .read_u64(offset::EXIT + at)
    }
}

fn port(port: u16, size: u8, write: bool) -> PortAccess {
    PortAccess {
        port,
        size,
        write,
        string: false,
        repeat: false,
        address_size: 2,
        segment: 3,
        next_rip: 0x1002,
    }
}

fn fault(gpa: u64, write: bool) -> Exit {
    Exit::NestedFault(NestedFault {
        gpa,
        write,
        fetch: false,
        present: false,
        walk: false,
    })
}

#[test]
fn out_tells_the_monitor_and_moves_on() {
    let mut bench = Bench::new(false);
    bench.hw().gprs_mut()[gpr::RAX] = 0x1234_5678;
    bench.hw().exits(Exit::Port(port(0x3F8, 2, true)));
    assert_eq!(bench.run(), Ok(exit::IO));
    assert_eq!(bench.word(0), 1 << 32 | 0x3F8 << 16 | 2 << 8 | 1);
    assert_eq!(bench.vcpu.page().port_data(), 0x5678);
    assert_eq!(bench.vcpu.regs().rip, 0x1002);
}

#[test]
fn in_changes_only_the_bytes_it_reads() {
    for (size, answer) in [(1, 0x1234_56AA), (2, 0x1234_AAAA), (4, 0xAAAA_AAAA)] {
        let mut bench = Bench::new(false);
        bench.hw().gprs_mut()[gpr::RAX] = 0x1234_5678;
        bench.hw().exits(Exit::Port(port(0x60, size, false)));
        bench.hw().exits(Exit::Shutdown);
        assert_eq!(bench.run(), Ok(exit::IO));
        assert_eq!(bench.vcpu.regs().rip, 0x1000, "not before the answer");
        bench.vcpu.page().write_data(&[0xAA; 8]);
        assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
        assert_eq!(
            (bench.vcpu.regs().rax, bench.vcpu.regs().rip),
            (answer, 0x1002)
        );
    }
}

#[test]
fn an_answer_is_taken_even_if_the_guest_must_not_run() {
    let mut bench = Bench::new(false);
    bench.hw().exits(Exit::Port(port(0x60, 1, false)));
    assert_eq!(bench.run(), Ok(exit::IO));
    bench.vcpu.page().write_data(&[7]);
    bench
        .vcpu
        .page()
        .frame(0)
        .unwrap()
        .write(offset::IMMEDIATE_EXIT, &[1]);
    assert_eq!(bench.run(), Err(Errno::EINTR));
    assert_eq!((bench.vcpu.regs().rax, bench.vcpu.regs().rip), (7, 0x1002));
    signal(true);
    bench
        .vcpu
        .page()
        .frame(0)
        .unwrap()
        .write(offset::IMMEDIATE_EXIT, &[0]);
    assert_eq!(bench.run(), Err(Errno::EINTR));
    signal(false);
}

#[test]
fn string_output_takes_memory_up_to_the_page() {
    let mut bench = Bench::new(false);
    bench.vm.memory.write(0x1FFC, &[1, 2, 3, 4, 5, 6]).unwrap();
    let access = PortAccess {
        string: true,
        repeat: true,
        ..port(0x1F0, 2, true)
    };
    bench.hw().gprs_mut()[gpr::RSI] = 0x1FFC;
    bench.hw().gprs_mut()[gpr::RCX] = 3;
    bench.hw().exits(Exit::Port(access));
    bench.hw().exits(Exit::Port(access));
    assert_eq!(bench.run(), Ok(exit::IO));
    assert_eq!(bench.word(0) >> 32, 2);
    assert_eq!(bench.vcpu.page().port_data() as u32, 0x0403_0201);
    assert_eq!((bench.vcpu.regs().rcx, bench.vcpu.regs().rip), (1, 0x1000));
    assert_eq!(bench.run(), Ok(exit::IO));
    assert_eq!(bench.vcpu.page().port_data() as u16, 0x0605);
    assert_eq!((bench.vcpu.regs().rcx, bench.vcpu.regs().rsi), (0, 0x2002));
    assert_eq!(bench.vcpu.regs().rip, 0x1002);
}

#[test]
fn string_input_fills_memory() {
    let mut bench = Bench::new(false);
    let access = PortAccess {
        string: true,
        repeat: true,
        ..port(0x1F0, 4, false)
    };
    bench.hw().gprs_mut()[gpr::RDI] = 0x2000;
    bench.hw().gprs_mut()[gpr::RCX] = 2;
    bench.hw().exits(Exit::Port(access));
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::IO));
    bench.vcpu.page().write_data(b"ABCDEFGH");
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    let mut bytes = [0; 9];
    bench.vm.memory.read(0x2000, &mut bytes).unwrap();
    assert_eq!(&bytes, b"ABCDEFGH\0");
    assert_eq!((bench.vcpu.regs().rcx, bench.vcpu.regs().rip), (0, 0x1002));
}

#[test]
fn cpuid_answers_from_the_table_and_skips_prefixes() {
    let mut bench = Bench::new(false);
    let entry = CpuidEntry2 {
        function: 0,
        eax: 1,
        ebx: 2,
        ecx: 3,
        edx: 4,
        ..Default::default()
    };
    bench
        .vcpu
        .set_cpuid(crate::cpuid::CpuidTable::new(vec![entry]));
    bench.code(&[0x0F, 0xA2, 0x66, 0x0F, 0xA2]);
    bench.hw().exits(Exit::Instruction(Instruction::Cpuid));
    bench.hw().then(|hw| {
        hw.gprs_mut()[gpr::RAX] = u64::MAX;
        Exit::Instruction(Instruction::Cpuid)
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    let regs = bench.vcpu.regs();
    assert_eq!((regs.rip, regs.rax, regs.rdx), (0x1005, 0, 0));
}

#[test]
fn an_instruction_that_was_replaced_meanwhile_runs_again() {
    let mut bench = Bench::new(false);
    bench.code(&[0x90; 8]);
    bench.hw().exits(Exit::Instruction(Instruction::Cpuid));
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.vcpu.regs().rip, 0x1000);
}

#[test]
fn unknown_msrs_fault_and_known_ones_do_not() {
    let mut bench = Bench::new(true);
    bench.code(&[0x0F, 0x32, 0x0F, 0x30]);
    bench.hw().gprs_mut()[gpr::RCX] = u64::from(x86::msr::APIC_BASE);
    bench.hw().exits(Exit::Instruction(Instruction::Rdmsr));
    bench.hw().then(|hw| {
        hw.gprs_mut()[gpr::RCX] = 0xDEAD;
        Exit::Instruction(Instruction::Wrmsr)
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.vcpu.regs().rax, LAPIC | 0x900);
    assert_eq!(bench.vcpu.regs().rip, 0x1002, "WRMSR has not retired");
    let fault = Event::Exception {
        vector: x86::vector::GP,
        error: Some(0),
    };
    assert_eq!(bench.hw().delivered, [fault]);
}

#[test]
fn stores_to_nowhere_reach_the_monitor() {
    let mut bench = Bench::new(false);
    // mov [bx], al
    bench.code(&[0x88, 0x07]);
    bench.hw().gprs_mut()[gpr::RAX] = 0x5A;
    bench.hw().exits(fault(0xD000_0004, true));
    assert_eq!(bench.run(), Ok(exit::MMIO));
    assert_eq!(
        (bench.word(0), bench.word(8), bench.word(16)),
        (0xD000_0004, 0x5A, 1 << 32 | 1)
    );
    assert_eq!(bench.vcpu.regs().rip, 0x1002);
}

#[test]
fn loads_from_nowhere_wait_for_the_monitor() {
    let mut bench = Bench::new(false);
    // mov al, [bx]
    bench.code(&[0x8A, 0x07]);
    bench.hw().gprs_mut()[gpr::RAX] = 0x1100;
    bench.hw().exits(fault(0xD000_0000, false));
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::MMIO));
    let page = bench.vcpu.page().frame(0).unwrap();
    page.write_u64(offset::MMIO_DATA, 0x42);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(
        (bench.vcpu.regs().rax, bench.vcpu.regs().rip),
        (0x1142, 0x1002)
    );
}

#[test]
fn what_nobody_emulates_is_told_with_its_bytes() {
    let mut bench = Bench::new(false);
    // fninit on a device's address: not an access that is emulated.
    bench.code(&[0xDF, 0x07, 0x90]);
    bench.hw().exits(fault(0xD000_0000, false));
    assert_eq!(bench.run(), Ok(exit::INTERNAL_ERROR));
    assert_eq!(bench.word(0) as u32, kvm::internal_error::EMULATION);
    let mut bytes = [0; 4];
    bench
        .vcpu
        .page()
        .frame(0)
        .unwrap()
        .read(offset::EXIT + 16, &mut bytes);
    assert_eq!(bytes[1..3], [0xDF, 0x07]);
}

#[test]
fn memory_appears_when_touched_and_goes_with_the_monitors() {
    let mut bench = Bench::new(false);
    bench.hw().exits(fault(0x5000, true));
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    let nested = |bench: &Bench| bench.vm.memory.nested().lock().lookup(0x5000).is_some();
    assert!(nested(&bench));
    let page = bench.space.take(SPACE + 0x5000).unwrap();
    assert_eq!(page.ref_count(), 2);
    bench.vm.memory.invalidate(SPACE + 0x5000..SPACE + 0x6000);
    assert!(!nested(&bench));
    assert_eq!(page.ref_count(), 1, "nobody else holds the frame");
    assert!(bench.shared.posted.take().contains(request::FLUSH));
}

#[test]
fn memory_that_the_monitor_has_not_ends_the_run() {
    let mut bench = Bench::new(false);
    let region = UserspaceMemoryRegion {
        slot: 1,
        flags: 0,
        guest_phys_addr: SPACE,
        memory_size: 0x1000,
        userspace_addr: SPACE * 2,
    };
    bench.vm.memory.set_region(region).unwrap();
    bench.hw().exits(fault(SPACE, true));
    assert_eq!(bench.run(), Err(Errno::EFAULT));
}

#[test]
fn ioeventfds_do_not_leave_the_kernel() {
    let mut bench = Bench::new(false);
    let event = FakeEvent::new();
    let tie = IoEventFd {
        datamatch: 0,
        addr: 0xC050,
        len: 2,
        fd: 3,
        flags: IoEventFd::PIO,
        pad: [0; 36],
    };
    bench.vm.tie(&tie, event.clone()).unwrap();
    bench.hw().exits(Exit::Port(port(0xC050, 2, true)));
    bench.hw().exits(Exit::Port(port(0xC050, 1, true)));
    assert_eq!(bench.run(), Ok(exit::IO), "the second has another size");
    use crate::platform::EventFile;
    assert!(event.consume());
}

#[test]
fn queued_interrupts_wait_for_the_window() {
    let mut bench = Bench::new(false);
    bench.monitor.put(0, &Interrupt { irq: 0x21 });
    bench
        .vcpu
        .request(&bench.monitor, kvm::INTERRUPT, 0)
        .unwrap();
    assert_eq!(
        bench.vcpu.request(&bench.monitor, kvm::INTERRUPT, 0),
        Err(Errno::EEXIST)
    );
    bench.hw().then(|hw| {
        assert!(hw.watched[0] && hw.delivered.is_empty());
        hw.set_rflags(2 | rflags::IF);
        Exit::Window
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.hw().delivered, [Event::Interrupt(0x21)]);
}

#[test]
fn the_monitor_is_told_when_the_window_opens() {
    let mut bench = Bench::new(false);
    let page = bench.vcpu.page().frame(0).unwrap();
    page.write(offset::REQUEST_INTERRUPT_WINDOW, &[1]);
    bench.hw().then(|hw| {
        assert!(hw.watched[0]);
        hw.set_rflags(2 | rflags::IF);
        Exit::Window
    });
    assert_eq!(bench.run(), Ok(exit::IRQ_WINDOW_OPEN));
    let mut ready = [0];
    page.read(offset::READY_FOR_INTERRUPT_INJECTION, &mut ready);
    assert_eq!(ready, [1]);
}

#[test]
fn a_delivery_that_was_cut_short_is_repeated() {
    let mut bench = Bench::new(false);
    bench.vcpu.queue_interrupt(0x21).unwrap();
    bench.hw().set_rflags(2 | rflags::IF);
    bench.hw().then(|hw| {
        hw.interrupted = Some(Event::Interrupt(0x21));
        hw.set_rflags(2);
        fault(0x6000, true)
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(
        bench.hw().delivered,
        [Event::Interrupt(0x21), Event::Interrupt(0x21)]
    );
}

#[test]
fn self_ipis_arrive_by_the_register_page() {
    let mut bench = Bench::new(true);
    let mut state = bench.vcpu.lapic_state().unwrap();
    state.regs[0xF0..0xF4].copy_from_slice(&0x1FF_u32.to_le_bytes());
    bench.vcpu.set_lapic_state(&state).unwrap();
    // mov [bx], eax
    bench.code(&[0x66, 0x89, 0x07]);
    bench.hw().gprs_mut()[gpr::RAX] = 1 << 18 | 1 << 14 | 0x55;
    bench.hw().set_rflags(2 | rflags::IF);
    bench.hw().exits(fault(LAPIC + 0x300, true));
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.hw().delivered, [Event::Interrupt(0x55)]);
    let state = bench.vcpu.lapic_state().unwrap();
    assert_eq!(state.regs[0x122], 1 << 5, "in service");
}

#[test]
fn a_posted_event_stops_the_entry_and_loses_nothing() {
    let mut bench = Bench::new(false);
    bench.hw().set_rflags(2 | rflags::IF);
    let shared = bench.shared.clone();
    bench.hw().then(move |hw| {
        // While the guest runs, another thread posts; on the way back in the
        // entry is refused once, with an interrupt chosen already.
        shared.post(Events::NMI | request::FLUSH);
        let _ = hw;
        Exit::Interrupt
    });
    bench.hw().exits(Exit::Shutdown);
    let before = bench.hw().flushes;
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.hw().delivered, [Event::Nmi]);
    assert_eq!(bench.hw().flushes, before + 1);
    assert!(
        bench.hw().watched[2],
        "IRET is watched while an NMI is handled"
    );
}

#[test]
fn halt_ends_with_an_interrupt() {
    let mut bench = Bench::new(true);
    let mut state = bench.vcpu.lapic_state().unwrap();
    state.regs[0xF0..0xF4].copy_from_slice(&0x1FF_u32.to_le_bytes());
    bench.vcpu.set_lapic_state(&state).unwrap();
    bench.code(&[0xF4]);
    bench.hw().set_rflags(2 | rflags::IF);
    let shared = bench.shared.clone();
    bench.hw().then(move |_| {
        // From here on another thread posts, at whatever moment of the halt.
        std::thread::spawn(move || {
            let kick = shared.posted.post_vector(0x66, false);
            shared.kick(kick.expect("posted once"));
        });
        Exit::Instruction(Instruction::Hlt)
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.hw().delivered, [Event::Interrupt(0x66)]);
    assert_eq!(bench.vcpu.mp_state(), mp_state::RUNNABLE);
    assert_eq!(bench.vcpu.regs().rip, 0x1001);
}

#[test]
fn halt_without_controllers_is_the_monitors() {
    let mut bench = Bench::new(false);
    bench.code(&[0xF4]);
    bench.hw().exits(Exit::Instruction(Instruction::Hlt));
    assert_eq!(bench.run(), Ok(exit::HLT));
    assert_eq!(bench.vcpu.regs().rip, 0x1001);
}

#[test]
fn other_processors_start_by_init_and_start_up() {
    let bench = Bench::new(true);
    let (mut second, shared) = Vcpu::new(&bench.vm, 1).unwrap();
    assert_eq!(second.mp_state(), mp_state::UNINITIALIZED);
    shared.kick(shared.posted.post_init());
    shared.kick(shared.posted.post_startup(0x9F));
    second.hw.exits(Exit::Shutdown);
    second.request(&bench.monitor, kvm::RUN, 0).unwrap();
    assert_eq!(second.mp_state(), mp_state::RUNNABLE);
    let cs = second.sregs().cs;
    assert_eq!(
        (cs.selector, cs.base, second.regs().rip),
        (0x9F00, 0x9_F000, 0)
    );
}

#[test]
fn lines_and_irqfds_reach_the_guest_through_the_pic() {
    let mut bench = Bench::new(true);
    let chips = bench.vm.chips().unwrap().clone();
    // ICW1 to ICW4: vectors from 20h, then unmask all.
    for (port, value) in [(0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1), (0x21, 0)] {
        assert!(chips.write_port(port, 1, value));
    }
    bench.monitor.put(
        0,
        &IrqFd {
            fd: 3,
            gsi: 5,
            ..IrqFd::default()
        },
    );
    bench.vm.request(&bench.monitor, kvm::IRQFD, 0).unwrap();
    assert_eq!(
        bench.vm.request(&bench.monitor, kvm::IRQFD, 0),
        Err(Errno::EBUSY)
    );
    bench.hw().set_rflags(2 | rflags::IF);
    use crate::platform::EventFile;
    bench.monitor.event.signal();
    bench.hw().then(|hw| {
        hw.set_rflags(2);
        Exit::Interrupt
    });
    bench.hw().exits(Exit::Shutdown);
    assert_eq!(bench.run(), Ok(exit::SHUTDOWN));
    assert_eq!(bench.hw().delivered, [Event::Interrupt(0x25)]);
    bench.monitor.put(0, &IrqLevel { irq: 3, level: 1 });
    bench
        .vm
        .request(&bench.monitor, kvm::IRQ_LINE_STATUS, 0)
        .unwrap();
    assert_eq!(bench.monitor.get::<IrqLevel>(0).irq, 1);
}

#[test]
fn the_clock_is_written_where_the_guest_asks() {
    let mut bench = Bench::new(false);
    assert!(
        bench
            .vcpu
            .monitor_write_msr(x86::msr::KVM_SYSTEM_TIME_NEW, 0x3001)
    );
    let mut record = crate::clock::TimeRecord::default();
    use zerocopy::IntoBytes;
    bench.vm.memory.read(0x3000, record.as_mut_bytes()).unwrap();
    assert_eq!(
        (record.version, record.flags),
        (2, crate::clock::TimeRecord::STABLE)
    );
    assert_eq!(record.tsc_to_system_mul, 1 << 31);
    assert_eq!(
        bench.vcpu.monitor_read_msr(x86::msr::KVM_SYSTEM_TIME),
        Some(0x3001)
    );
    assert!(bench.vcpu.pause_clock().is_ok());
    bench.vm.memory.read(0x3000, record.as_mut_bytes()).unwrap();
    assert_eq!((record.version, record.flags & 2), (4, 2));
    // A record where there is no memory harms nobody.
    assert!(
        bench
            .vcpu
            .monitor_write_msr(x86::msr::KVM_SYSTEM_TIME_NEW, 0xFFFF_FFFF_F001)
    );
}

#[test]
fn states_that_the_processor_would_refuse_are_refused() {
    let mut bench = Bench::new(false);
    let good = bench.vcpu.sregs();
    let bad = [
        abi::kvm_vcpu::Sregs {
            cr0: 0x8000_0000,
            ..good
        },
        abi::kvm_vcpu::Sregs {
            efer: 1 << 12,
            ..good
        },
        abi::kvm_vcpu::Sregs {
            cr0: 0x8000_0011,
            efer: 0x500,
            cr4: 0,
            ..good
        },
        abi::kvm_vcpu::Sregs {
            cr0: 1 << 32,
            ..good
        },
        abi::kvm_vcpu::Sregs {
            efer: 1 << 10,
            ..good
        },
    ];
    for sregs in bad {
        assert_eq!(
            bench.vcpu.set_sregs(&sregs),
            Err(Errno::EINVAL),
            "{sregs:x?}"
        );
    }
    assert_eq!(bench.vcpu.sregs(), good);
    assert!(!bench.vcpu.write_efer(1 << 12), "a guest has no SVM");
    assert_eq!(
        bench.vcpu.set_mp_state(mp_state::HALTED),
        Err(Errno::EINVAL)
    );
}

#[test]
fn state_survives_both_ways() {
    let mut bench = Bench::new(true);
    let regs = Regs {
        rax: 1,
        rbx: 2,
        rsp: 3,
        r15: 4,
        rip: 5,
        rflags: 0x202,
        ..Regs::default()
    };
    bench.vcpu.set_regs(&regs);
    assert_eq!(bench.vcpu.regs(), regs);
    let mut fpu = bench.vcpu.fpu();
    assert_eq!(
        (fpu.fcw, fpu.mxcsr),
        (x86::xsave::FCW_RESET, x86::xsave::MXCSR_RESET)
    );
    fpu.xmm[15][7] = 0xEE;
    fpu.fpr[3][1] = 0x77;
    bench.vcpu.set_fpu(&fpu).unwrap();
    assert_eq!(
        (bench.vcpu.fpu().xmm[15][7], bench.vcpu.fpu().fpr[3][1]),
        (0xEE, 0x77)
    );
    let mut events = bench.vcpu.vcpu_events();
    events.nmi_pending = 2;
    events.exception_injected = 1;
    events.exception_nr = 32;
    assert_eq!(bench.vcpu.set_vcpu_events(&events), Err(Errno::EINVAL));
    events.exception_nr = 13;
    events.exception_has_error_code = 1;
    bench.vcpu.set_vcpu_events(&events).unwrap();
    let back = bench.vcpu.vcpu_events();
    assert_eq!((back.exception_nr, back.nmi_pending), (13, 2));
}

#[test]
fn requests_with_bad_pointers_or_numbers_do_nothing() {
    let mut bench = Bench::new(true);
    for command in 0..=0xFFu32 {
        for direction in [0, 1, 2, 3] {
            for size in [0, 4, 8, 0x138] {
                let request = direction << 30 | size << 16 | 0xAE00 | command;
                if request == kvm::RUN {
                    continue;
                }
                let _ = bench.vm.request(&bench.monitor, request, u64::MAX - 7);
                let _ = bench.vcpu.request(&bench.monitor, request, u64::MAX - 7);
                let _ = crate::system::request::<FakePlatform>(&bench.monitor, request, 1 << 40);
            }
        }
    }
    assert_eq!(
        bench.vm.request(&bench.monitor, 0xAEFF, 0),
        Err(Errno::ENOTTY)
    );
    let cr0 = bench.vcpu.hw.control(Control::Cr0);
    assert_eq!(cr0, x86::register::cr0::RESET);
}
