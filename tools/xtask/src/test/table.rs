//! The table of QEMU tests.
//!
//! Main type: [`MachineTest`], one row: which machine, which words for the kernel, what is typed and expected, how
//! it ends. A program of `tests/` with `world = true` that is named in no row gets a row of its own: it runs as
//! process 1 with two CPUs, and its exit status is the verdict.

use std::time::Duration;

use qemu::Verdict;

/// One test in an emulated machine.
#[derive(Clone, Debug)]
pub struct MachineTest {
    /// Its name, also that of its log.
    pub name: String,
    /// Whose kernel.
    pub host: Host,
    /// Processors.
    pub cpus: u32,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Processor model, in QEMU's words.
    pub cpu: &'static str,
    /// The kernel's command line.
    pub append: String,
    /// More arguments for QEMU.
    pub arguments: Vec<&'static str>,
    /// Size of an empty virtio disk, in MiB, if it has one.
    pub disk_mib: Option<u32>,
    /// Whether the talk is over a virtio console, and there is no serial port.
    pub on_virtio: bool,
    /// What is typed and what must be printed, in order.
    pub talk: Vec<Line>,
    /// How the machine must end.
    pub verdict: Verdict,
    /// How long it may take.
    pub limit: Duration,
}

/// Whose kernel a test boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Host {
    /// Ours.
    Alster,
    /// The peer: Linux with KVM.
    Linux,
}

/// One line of a talk over the serial line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The machine must print this.
    Expect(&'static str),
    /// This is typed.
    Send(&'static str),
}

impl MachineTest {
    /// A row with what most have.
    pub fn new(name: &str) -> MachineTest {
        MachineTest {
            name: name.to_owned(),
            host: Host::Alster,
            cpus: 2,
            memory_mib: 1024,
            cpu: "EPYC",
            append: "verdict".into(),
            arguments: Vec::new(),
            disk_mib: None,
            on_virtio: false,
            talk: Vec::new(),
            verdict: Verdict::Success,
            limit: Duration::from_secs(120),
        }
    }

    fn host(self, host: Host) -> MachineTest {
        MachineTest { host, ..self }
    }

    fn cpus(self, cpus: u32) -> MachineTest {
        MachineTest { cpus, ..self }
    }

    fn cpu(self, model: &'static str) -> MachineTest {
        MachineTest { cpu: model, ..self }
    }

    fn append(self, words: &str) -> MachineTest {
        MachineTest {
            append: words.to_owned(),
            ..self
        }
    }

    fn talk(self, lines: &[Line]) -> MachineTest {
        MachineTest {
            talk: lines.to_vec(),
            ..self
        }
    }

    fn disk_mib(self, size: u32) -> MachineTest {
        MachineTest {
            disk_mib: Some(size),
            ..self
        }
    }

    fn verdict(self, verdict: Verdict) -> MachineTest {
        MachineTest { verdict, ..self }
    }

    fn on_virtio(self) -> MachineTest {
        MachineTest {
            on_virtio: true,
            ..self
        }
    }

    fn arguments(self, arguments: &[&'static str]) -> MachineTest {
        MachineTest {
            arguments: arguments.to_vec(),
            ..self
        }
    }

    fn limit_s(self, seconds: u64) -> MachineTest {
        MachineTest {
            limit: Duration::from_secs(seconds),
            ..self
        }
    }
}

/// All rows; `programs` are the names of the test programs in the boot archive.
pub fn rows(programs: &[String]) -> Vec<MachineTest> {
    let mut rows = fixed();
    rows.extend(selftests());
    for program in programs {
        let path = format!("init=/tests/{program}");
        if !rows
            .iter()
            .any(|row| row.append.split_whitespace().any(|word| word == path))
        {
            rows.push(MachineTest::new(program).append(&format!("verdict {path}")));
        }
    }
    rows
}

/// One row for each of `programs`, on Linux: whether the tests themselves are right about what they expect.
pub fn rows_on_linux(programs: &[String]) -> Vec<MachineTest> {
    let row = |program: &String| {
        let name = format!("{program}_on_linux");
        let test = MachineTest::new(&name).host(Host::Linux);
        test.append(&format!("-- /tests/{program}"))
    };
    programs.iter().map(row).collect()
}

/// A person lands in the demo VM, leaves it for the host's shell, comes back, presses its power button, and
/// switches the host off.
const OPERATOR: [Line; 18] = [
    Line::Expect("in a VM of Alster"),
    Line::Expect("# "),
    Line::Send("echo in-the-guest-$((40 + 2))\n"),
    Line::Expect("in-the-guest-42"),
    Line::Expect("# "),
    Line::Send("\x1d"),
    Line::Expect("host's shell; "),
    Line::Expect("# "),
    Line::Send("alster vm console demo\n"),
    // What the guest printed before is shown again.
    Line::Expect("in-the-guest-42"),
    Line::Expect("# "),
    Line::Send("\x1d"),
    Line::Expect("# "),
    Line::Send("alster vm stop demo\n"),
    Line::Expect("the VM demo ended (exit status 0)"),
    Line::Send("\n"),
    Line::Expect("# "),
    Line::Send("poweroff\n"),
];

/// A token with a time goes from CPU to CPU.
const CLOCK_ORDER: &str = "verdict init=/tests/clock_order";

// LONG: one row a test
fn fixed() -> Vec<MachineTest> {
    use Line::{Expect, Send};
    vec![
        // A person types into busybox's shell on the host's console.
        MachineTest::new("host_shell")
            .append("verdict init=/bin/sh")
            .talk(&[
                Expect("# "),
                Send("echo $((6 * 7)) | cat\n"),
                Expect("42"),
                Expect("# "),
                Send("exit\n"),
            ]),
        // What programs may rely on, with 1, 2 and 4 processors.
        MachineTest::new("user_worlds_1")
            .cpus(1)
            .append("verdict init=/tests/user_worlds")
            .limit_s(900),
        MachineTest::new("user_worlds_2")
            .append("verdict init=/tests/user_worlds")
            .limit_s(900),
        MachineTest::new("user_worlds_4")
            .cpus(4)
            .append("verdict init=/tests/user_worlds")
            .limit_s(900),
        // Random calls with hostile arguments: the kernel stays, and its memory comes back.
        MachineTest::new("syscall_fuzz")
            .append("verdict init=/tests/syscall_fuzz -- 100000 1")
            .limit_s(900),
        // The same over a virtio console, which shows the log as well; more output than it has buffers for.
        MachineTest::new("virtio_console")
            .append("verdict console=hvc0 init=/bin/sh")
            .on_virtio()
            .talk(&[
                Expect("Alster VMkernel"),
                Expect("# "),
                Send("stty -F /dev/hvc0 > /tmp/s && echo stty-$((6 * 7))\n"),
                Expect("stty-42"),
                Expect("# "),
                Send("i=0; while [ $i -lt 1500 ]; do echo line-$i-of-many; i=$((i + 1)); done\n"),
                Expect("line-1499-of-many"),
                Expect("# "),
                Send("exit\n"),
            ]),
        // Time across four CPUs: by the best clock, by each of the others, and with no HPET to measure by.
        MachineTest::new("clock_order")
            .cpus(4)
            .append(CLOCK_ORDER)
            .talk(&[
                Expect("clock tsc"),
                Expect("measured by the HPET"),
                Expect("4 CPUs, "),
            ]),
        MachineTest::new("clock_order_by_hpet")
            .cpus(4)
            .append(&format!("{CLOCK_ORDER} clock=hpet"))
            .talk(&[Expect("clock hpet"), Expect("4 CPUs, ")]),
        MachineTest::new("clock_order_by_acpi_timer")
            .cpus(4)
            .append(&format!("{CLOCK_ORDER} clock=acpi_pm"))
            .talk(&[Expect("clock acpi_pm"), Expect("4 CPUs, ")]),
        MachineTest::new("clock_order_without_hpet")
            .cpus(4)
            .append(&format!("{CLOCK_ORDER} clock=hpet"))
            .arguments(&["-machine", "hpet=off"])
            .talk(&[
                Expect("clock tsc"),
                Expect("measured by the ACPI timer"),
                Expect("4 CPUs, "),
            ]),
        // The whole way: process 1, a monitor, Debian's kernel in a VM, its shell, power-off.
        MachineTest::new("demo_vm")
            .append("verdict -- --headless")
            .talk(&[Expect("in a VM of Alster")])
            .limit_s(300),
        MachineTest::new("operator").talk(&OPERATOR).limit_s(300),
        // Without SVM the host boots, and both the kernel and the monitor say why there are no VMs.
        MachineTest::new("no_svm")
            .cpu("EPYC,-svm")
            .append("verdict init=/bin/sh")
            .talk(&[
                Expect("no virtual machines: "),
                Expect("# "),
                Send("vmx /etc/vms/demo.toml; echo status $((40 + $?))\n"),
                Expect("vmx: /dev/kvm cannot be opened: "),
                Expect("this host cannot run VMs"),
                Expect("status 42"),
                Expect("# "),
                Send("exit\n"),
            ]),
        // Three guests at once on 1, 2 and 4 CPUs.
        MachineTest::new("vm_guests_1")
            .cpus(1)
            .append("verdict init=/tests/vm_guests")
            .limit_s(600),
        MachineTest::new("vm_guests_2")
            .append("verdict init=/tests/vm_guests")
            .limit_s(600),
        MachineTest::new("vm_guests_4")
            .cpus(4)
            .append("verdict init=/tests/vm_guests")
            .limit_s(600),
        MachineTest::new("vm_kills")
            .cpus(4)
            .append("verdict init=/tests/vm_kills -- 200")
            .limit_s(900),
        MachineTest::new("vm_disks")
            .append("verdict init=/tests/vm_disks")
            .disk_mib(16)
            .limit_s(300),
        // vCPUs write memory that is taken away from them, on as many CPUs.
        MachineTest::new("guest_memory")
            .cpus(4)
            .append("verdict init=/tests/guest_memory")
            .limit_s(300),
        // The same programs and the same VM on Linux with KVM.
        MachineTest::new("demo_vm_on_linux")
            .host(Host::Linux)
            .append("-- /bin/init --headless")
            .talk(&[Expect("in a VM of Alster")])
            .limit_s(300),
        MachineTest::new("operator_on_linux")
            .host(Host::Linux)
            .append("-- /bin/init")
            .talk(&OPERATOR)
            .verdict(Verdict::PowerOff)
            .limit_s(300),
    ]
}

/// The kernel's tests of itself. Those that do what must not be possible end in a panic that says what it was.
fn selftests() -> Vec<MachineTest> {
    // The kernel's stack ends in a page that is not mapped: the panic must say so, and where, by name.
    let overflow: &[Line] = &[
        Line::Expect("double fault"),
        Line::Expect("vmkernel::"),
        Line::Expect("times"),
    ];
    let panics = [
        ("fault", overflow),
        (
            "write_text",
            &[
                Line::Expect("page fault in ring 0"),
                Line::Expect("error 0x3"),
            ],
        ),
        (
            "write_text_alias",
            &[Line::Expect("error 0x3, address 0xffff8000")],
        ),
        (
            "execute_data",
            &[Line::Expect("error 0x11, address 0xffffffff8")],
        ),
        (
            "execute_stack",
            &[Line::Expect("error 0x11, address 0xffffc000")],
        ),
        ("smap", &[Line::Expect("error 0x1, address 0x401000")]),
        (
            "smap_after_trap",
            &[Line::Expect("error 0x1, address 0x401000")],
        ),
        ("smep", &[Line::Expect("error 0x11, address 0x400000")]),
    ];
    // On the CPU without SMAP, XSAVE and the like the same code must do.
    let passes = [
        ("boot", 1, "EPYC"),
        ("boot", 4, "qemu64"),
        ("guard_page", 1, "EPYC"),
        ("user_copy", 1, "EPYC"),
        ("user_copy", 1, "qemu64"),
        ("boot_frames", 1, "EPYC"),
        ("out_of_memory", 2, "EPYC"),
        ("stacks", 4, "EPYC"),
        ("single_step", 1, "EPYC"),
        ("segments", 1, "EPYC"),
        ("segments", 1, "qemu64"),
        ("nmi", 2, "EPYC"),
        ("shootdown", 4, "EPYC"),
    ];
    let row = |name: &str| MachineTest::new(&format!("selftest_{name}"));
    let panics = panics.into_iter().map(|(name, talk)| {
        let test = row(name).cpus(1).append(&format!("selftest={name}"));
        test.verdict(Verdict::Panic).talk(talk)
    });
    let passes = passes.into_iter().map(|(name, cpus, cpu)| {
        let suffix = if cpu == "EPYC" { "" } else { "_old_cpu" };
        let test = row(&format!("{name}{suffix}")).cpus(cpus);
        MachineTest {
            cpu,
            ..test.append(&format!("selftest={name}"))
        }
    });
    panics.chain(passes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_without_a_row_get_one() {
        let rows = rows(&["pipes".to_owned(), "fork".to_owned()]);
        let row = rows.iter().find(|row| row.name == "pipes").unwrap();
        assert_eq!(row.append, "verdict init=/tests/pipes");
        assert_eq!(row.verdict, Verdict::Success);
        assert_eq!(rows.len(), fixed().len() + selftests().len() + 2);
    }

    #[test]
    fn programs_run_on_linux_as_a_command() {
        let rows = rows_on_linux(&["pipes".to_owned()]);
        assert_eq!(
            (rows[0].host, rows[0].append.as_str()),
            (Host::Linux, "-- /tests/pipes")
        );
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = rows(&[]).into_iter().map(|row| row.name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
