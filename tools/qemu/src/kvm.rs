//! Whether this machine's KVM is of use to a hypervisor under test.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::qmp::Qmp;

/// Whether KVM offers SVM to its guests: leaf 8000_0001h, ECX bit 2 of KVM_GET_SUPPORTED_CPUID, which is what
/// QEMU's processor model "host" is made from. An error if there is no usable KVM at all.
pub fn kvm_offers_svm() -> Result<bool> {
    let (ours, its) = UnixStream::pair().context("Cannot make a socket")?;
    let mut command = Command::new("qemu-system-x86_64");
    command.args([
        "-M",
        "q35",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-nodefaults",
        "-S",
    ]);
    command.args(["-display", "none", "-chardev", "socket,id=qmp0,fd=1"]);
    command.args(["-mon", "chardev=qmp0,mode=control"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(its)))
        .stderr(Stdio::piped());
    let child = command.spawn().context("Cannot start qemu-system-x86_64")?;
    drop(command);
    let asked = Qmp::new(ours).and_then(|mut qmp| {
        let model = json!({ "type": "full", "model": { "name": "host" } });
        let answer = qmp.execute("query-cpu-model-expansion", model);
        // It ends either way; the answer is what matters.
        let _ = qmp.execute("quit", json!({}));
        answer
    });
    let output = child
        .wait_with_output()
        .context("Cannot learn how QEMU ended")?;
    match asked {
        Ok(answer) => Ok(answer["model"]["props"]["svm"] == true),
        Err(_) => bail!(
            "QEMU says: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ),
    }
}
