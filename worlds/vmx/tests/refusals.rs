//! Runs the monitor with configurations that it must refuse: one sentence on
//! standard error that names the value and what is allowed, exit status 2.
//! Needs no KVM.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up fails")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

const REFUSED: i32 = 2;

/// A folder of its own for each test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vmx-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Checks a configuration: exit status and what was said.
    fn check(&self, config: &str) -> (Option<i32>, String) {
        run(&["--check".as_ref(), &self.write("vm.toml", config)])
    }

    /// The refusal of a configuration, without the folder's name.
    fn refusal(&self, config: &str) -> String {
        let (status, said) = self.check(config);
        assert_eq!(status, Some(REFUSED), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        said.replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_vmx"))
        .args(arguments)
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// The least that passes for a kernel: a bzImage of two sectors and a bit.
fn kernel() -> Vec<u8> {
    let mut image = vec![0; 1040];
    image[0x1F1] = 1;
    image[0x1F4] = 1;
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020Fu16.to_le_bytes());
    image[0x236] = 1;
    image
}

#[test]
fn a_good_configuration_passes() {
    let folder = Folder::new("good");
    folder.write("vmlinuz", kernel());
    let disk = folder.write("disk", [0; 1024]);
    let config = "kernel = 'vmlinuz'\n[[disk]]\npath = 'disk'\n";
    assert_eq!(folder.check(config), (Some(0), String::new()));
    assert_eq!(fs::read(disk).unwrap(), [0; 1024]);
}

#[test]
fn a_wrong_line_is_named() {
    let folder = Folder::new("line");
    folder.write("vmlinuz", kernel());
    let said = folder.refusal("kernel = 'vmlinuz'\ncpus = 900\n");
    assert_eq!(
        said,
        "vmx: vm.toml, line 2: cpus = 900 is not allowed; use a number from 1 to 64\n"
    );
}

#[test]
fn a_missing_or_broken_kernel_is_named() {
    let folder = Folder::new("kernel");
    let said = folder.refusal("kernel = 'vmlinuz'\n");
    assert!(
        said.starts_with("vmx: kernel vmlinuz: No such file"),
        "{said}"
    );
    folder.write("vmlinuz", &kernel()[..1030]);
    let said = folder.refusal("kernel = 'vmlinuz'\n");
    assert!(
        said.contains("promises 1040 bytes, the file has 1030"),
        "{said}"
    );
    folder.write("vmlinuz", "hello");
    let said = folder.refusal("kernel = 'vmlinuz'\n");
    assert!(
        said.contains("neither a bzImage nor an x86-64 ELF file"),
        "{said}"
    );
    fs::remove_file(folder.0.join("vmlinuz")).unwrap();
    fs::create_dir(folder.0.join("vmlinuz")).unwrap();
    let said = folder.refusal("kernel = 'vmlinuz'\n");
    assert!(said.contains("kernel vmlinuz: "), "{said}");
}

#[test]
fn a_disk_that_is_in_use_or_none_is_named() {
    let folder = Folder::new("disk");
    folder.write("vmlinuz", kernel());
    let config = "kernel = 'vmlinuz'\n[[disk]]\npath = 'disk'\n";
    assert!(
        folder
            .refusal(config)
            .starts_with("vmx: disk disk: No such file")
    );
    let path = folder.write("disk", [7; 1000]);
    assert!(
        folder
            .refusal(config)
            .contains("it has 1000 bytes; a disk has a multiple of 512")
    );
    fs::write(&path, [7; 1024]).unwrap();
    let other_vm = File::open(&path).unwrap();
    other_vm.lock().unwrap();
    assert!(folder.refusal(config).contains("another VM uses this disk"));
    assert_eq!(fs::read(&path).unwrap(), [7; 1024]);
}

#[test]
fn a_missing_configuration_and_a_wrong_option_are_named() {
    let (status, said) = run(&["/nowhere/vm.toml".as_ref()]);
    assert_eq!(status, Some(REFUSED));
    assert!(said.contains("configuration /nowhere/vm.toml"), "{said}");
    let (status, said) = run(&["--turbo".as_ref()]);
    assert_eq!(status, Some(REFUSED));
    assert!(said.contains("--turbo"), "{said}");
}
