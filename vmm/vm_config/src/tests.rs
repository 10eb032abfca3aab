use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Result<VmConfig, ConfigError> {
    VmConfig::parse(text, Path::new("/vms/web.toml"))
}

fn refusal(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

#[test]
fn three_lines_make_a_vm() {
    let config =
        parse("kernel = 'vmlinuz'\ninitrd = '/boot/initrd'\nmemory = '512 MiB'\n").unwrap();
    assert_eq!(config.name, "web");
    assert_eq!(config.kernel, Path::new("/vms/vmlinuz"));
    assert_eq!(config.initrd.as_deref(), Some(Path::new("/boot/initrd")));
    assert_eq!((config.memory, config.cpus), (512 << 20, 1));
    assert_eq!(config.cmdline, "console=ttyS0");
}

#[test]
fn every_key_is_read() {
    let config = parse(concat!(
        "name = 'a'\nkernel = 'k'\ncmdline = 'quiet'\nmemory = 64\ncpus = 4\nconsole = 'socket'\n",
        "console_device = 'virtio'\nrng = false\non_reboot = 'stop'\n",
        "[[disk]]\npath = 'd0'\n[[disk]]\npath = 'd1'\nreadonly = true\nserial = 'S1'\n",
    ))
    .unwrap();
    assert_eq!(
        (config.name.as_str(), config.memory, config.cpus),
        ("a", 64 << 20, 4)
    );
    assert_eq!(
        (config.console, config.console_device),
        (Console::Socket, ConsoleDevice::Virtio)
    );
    assert_eq!((config.rng, config.on_reboot), (false, OnReboot::Stop));
    assert_eq!(
        (config.disks[0].readonly, config.disks[0].serial.as_str()),
        (false, "disk0")
    );
    assert_eq!(
        (config.disks[1].readonly, config.disks[1].serial.as_str()),
        (true, "S1")
    );
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_allowed_ones() {
    let message = refusal("kernel = 'k'\n\nmemroy = 5\n");
    assert!(
        message.starts_with("line 3: unknown key `memroy`"),
        "{message}"
    );
    assert!(message.contains("memory, cpus"), "{message}");
    let message = refusal("kernel = 'k'\n[[disk]]\npath = 'd'\nsize = 5\n");
    assert_eq!(
        message,
        "line 4: unknown key `size`; the keys allowed here are path, readonly, serial"
    );
}

#[test]
fn bad_values_are_named_with_their_line_and_what_is_allowed() {
    let cases = [
        (
            "cpus = 0",
            "cpus = 0 is not allowed; use a number from 1 to 64",
        ),
        (
            "cpus = -1",
            "cpus = -1 is not allowed; use a number from 1 to 64",
        ),
        (
            "cpus = 'two'",
            "cpus = 'two' is not allowed; use a number from 1 to 64",
        ),
        (
            "memory = '5 apples'",
            "memory = '5 apples' is not allowed; use a number of MiB",
        ),
        (
            "memory = 1",
            "memory is 1048576 bytes; whole MiB from 16 MiB to 1024 GiB are allowed",
        ),
        (
            "console = 'tty'",
            "console = 'tty' is not allowed; use \"stdio\" or \"socket\"",
        ),
        ("rng = 1", "rng = 1 is not allowed; use true or false"),
        (
            "name = '../x'",
            "name \"../x\" is not allowed; use 1 to 64 letters",
        ),
        (
            "disk = 'd'",
            "disk = 'd' is not allowed; use [[disk]] sections",
        ),
        (
            "initrd = ''",
            "initrd = '' is not allowed; use a text in quotes",
        ),
    ];
    for (line, expected) in cases {
        let message = refusal(&format!("kernel = 'k'\n{line}\n"));
        assert!(
            message.starts_with(&format!("line 2: {expected}")),
            "{message}"
        );
    }
}

#[test]
fn a_missing_kernel_and_a_syntax_error_are_named() {
    assert_eq!(
        refusal("memory = 64\n"),
        "line 1: `kernel` is missing; it gives the kernel's file name"
    );
    assert!(refusal("kernel = 'k'\nmemory = \n").starts_with("line 2: "));
    assert!(refusal("kernel = 'k'\nkernel = 'l'\n").starts_with("line 2: "));
}

#[test]
fn a_file_name_that_is_no_vm_name_asks_for_one() {
    let error = VmConfig::parse("kernel = 'k'", Path::new("my vm.toml")).unwrap_err();
    assert!(error.message.contains("set `name`"), "{error}");
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = parse(&text);
    }

    #[test]
    fn no_assignment_panics(
        key in prop::sample::select(KEYS),
        value in "[-+0-9a-zA-Z'\"\\[\\]{}=., ]{0,24}",
    ) {
        let _ = parse(&format!("kernel = 'k'\n{key} = {value}\n"));
        let _ = parse(&format!("kernel = 'k'\n[[disk]]\n{key} = {value}\n"));
    }
}
