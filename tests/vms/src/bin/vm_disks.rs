//! A VM's virtio disk, kept in a file and on a block node: verified reads and
//! writes, flush and discard inside the guest, what the guest wrote found by
//! the host, and a second VM on the same disk refused.

#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use vms::Config;

const CHECK: &[u8] = include_bytes!("../../../guests/check_devices.sh");
const FILE: &str = "/tmp/disk.img";
const FILE_SIZE: u64 = 16 << 20;
/// The host's own disk, for the VM to have.
const NODE: &str = "/dev/vda";
const SECTOR: u64 = 100;
const MARK: &[u8] = b"written-by-the-guest-42";

fn main() -> ExitCode {
    match all() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm_disks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn all() -> Result<()> {
    let file = File::create(FILE).context(FILE)?;
    file.set_len(FILE_SIZE)?;
    drop(file);
    disk("file", Path::new(FILE)).context(FILE)?;
    println!("ok: {FILE}");
    disk("node", Path::new(NODE)).context(NODE)?;
    println!("ok: {NODE}");
    println!("vm_disks: passed");
    Ok(())
}

fn disk(name: &str, path: &Path) -> Result<()> {
    let mut vm = Config::new(name)
        .disk(path)
        .guest_file("check_devices.sh", CHECK)?
        .start()?;
    vm.wait_for_shell()?;
    refused(name, path)?;
    vm.enter("sh /check_devices.sh")?;
    if vm.expect_one_of(&["DEVICES-OK", "DEVICES-FAIL"])? != 0 {
        bail!("a device does not do what it should");
    }
    let write = "echo written-by-the-guest-$((40 + 2)) | dd of=/dev/vda conv=sync,fsync bs=512";
    vm.command(&format!("{write} seek={SECTOR}"), "1+0 records out")?;
    vm.enter("poweroff")?;
    vm.wait(0)?;
    let mut found = [0; 512];
    File::open(path)?.read_exact_at(&mut found, SECTOR * 512)?;
    ensure!(
        found.starts_with(MARK),
        "the host reads {:?} where the guest wrote {:?}",
        String::from_utf8_lossy(&found[..MARK.len()]),
        String::from_utf8_lossy(MARK)
    );
    Ok(())
}

/// While one VM has the disk, a second one must not get it.
fn refused(name: &str, path: &Path) -> Result<()> {
    let second = Config::new(&format!("{name}2"))
        .disk(path)
        .command()?
        .output()?;
    let sentence = String::from_utf8_lossy(&second.stderr);
    let is_said = sentence.contains(&format!("disk {}: ", path.display()));
    ensure!(
        second.status.code() == Some(2) && is_said,
        "the second VM: {}: {sentence}",
        second.status
    );
    print!("the second VM is told: {sentence}");
    Ok(())
}
