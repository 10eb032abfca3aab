//! Programs from Debian's packages.
//!
//! Installed only if missing, and only with root's rights (or sudo without a password); otherwise the error names
//! what is missing and the command that installs it.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::{find, output, program, run, timed};
use crate::house::House;

/// Makes sure of QEMU.
pub fn qemu() -> Result<()> {
    if find("qemu-system-x86_64").is_some() {
        return Ok(());
    }
    let mut packages = vec![
        "qemu-system-x86".to_owned(),
        "seabios".into(),
        "ipxe-qemu".into(),
    ];
    if is_installed("qemu-utils") && find("apt-cache").is_some() {
        // A newer qemu-utils breaks the older common files that qemu-system-x86 brings: take it down with it.
        update_if_empty("qemu-utils")?;
        if let Some(version) = first_version(&madison("qemu-utils")?) {
            packages.push(format!("qemu-utils={version}"));
        }
    }
    install("QEMU", &packages)
}

/// Makes sure of cargo-nextest, which runs the host tests; returns where it lies.
pub fn nextest(house: &House) -> Result<PathBuf> {
    let own = house.built("tools/bin/cargo-nextest");
    if let Some(installed) = find("cargo-nextest") {
        return Ok(installed);
    }
    if !own.is_file() {
        timed("Building cargo-nextest (some minutes, once)", || {
            let mut command = program("cargo");
            command.args(["install", "--locked", "--quiet", "cargo-nextest"]);
            // It need not update itself, and need not be fast: half the time to build.
            command.args(["--no-default-features", "--features=default-no-update"]);
            command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1");
            command.env("CARGO_PROFILE_RELEASE_LTO", "off");
            command.arg("--root").arg(house.built("tools"));
            command.arg("--target-dir").arg(house.built("tools/build"));
            run(&mut command)
        })?;
    }
    Ok(own)
}

/// Installs Debian packages. `what` names them for a person.
pub fn install(what: &str, packages: &[String]) -> Result<()> {
    let mut words = vec![
        "install",
        "-y",
        "-q",
        "--no-install-recommends",
        "--allow-downgrades",
    ];
    words.extend(packages.iter().map(String::as_str));
    let Some(apt) = find("apt-get") else {
        bail!(
            "{what} is missing, and this machine has no apt-get to install it with. Please install what \
             Debian calls {}",
            packages.join(" ")
        );
    };
    let Some(mut command) = as_root(&apt.to_string_lossy())? else {
        bail!(
            "{what} is missing, and installing it needs root. Please run:\n    sudo apt-get {}",
            words.join(" ")
        );
    };
    update_if_empty(
        packages
            .first()
            .map_or("", |p| p.split('=').next().unwrap_or(p)),
    )?;
    timed(
        &format!("Installing {what}: {}", packages.join(" ")),
        || {
            command
                .args(&words)
                .env("DEBIAN_FRONTEND", "noninteractive");
            // What apt says is progress for a person; our own output may be read by programs.
            command.stdout(std::io::stderr());
            run(&mut command)
        },
    )
}

/// Fetches the package lists if they do not know `package`, which is how a fresh machine comes.
pub fn update_if_empty(package: &str) -> Result<()> {
    if madison(package)?.trim().is_empty() {
        update(&format!("The package lists do not know {package}."))?;
    }
    Ok(())
}

/// Fetches the package lists; `why` is said if that is not allowed.
pub fn update(why: &str) -> Result<()> {
    let Some(mut command) = as_root("apt-get")? else {
        bail!("{why} Please run:\n    sudo apt-get update");
    };
    timed("Fetching Debian's package lists", || {
        run(command.args(["update", "-q"]).stdout(std::io::stderr()))
    })
}

fn madison(package: &str) -> Result<String> {
    output(program("apt-cache").args(["madison", package]))
}

/// The first version in what `apt-cache madison` prints: `name | version | source`.
fn first_version(madison: &str) -> Option<String> {
    let version = madison.lines().next()?.split('|').nth(1)?.trim();
    (!version.is_empty()).then(|| version.to_owned())
}

fn is_installed(package: &str) -> bool {
    let status = output(program("dpkg-query").args(["-W", "-f=${db:Status-Status}", package]));
    status.is_ok_and(|status| status == "installed")
}

/// A command with root's rights, if they can be had without asking anybody.
fn as_root(name: &str) -> Result<Option<std::process::Command>> {
    let user = output(program("id").arg("-u")).context("Cannot learn which user this is")?;
    if user.trim() == "0" {
        return Ok(Some(program(name)));
    }
    if find("sudo").is_some() && output(program("sudo").args(["-n", "true"])).is_ok() {
        let mut command = program("sudo");
        command.args(["-n", "DEBIAN_FRONTEND=noninteractive", name]);
        return Ok(Some(command));
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_version_is_taken() {
        let text = "qemu-utils | 1:7.2+dfsg-7 | http://deb.debian.org bookworm/main\n\
                    qemu-utils | 1:7.1 | http://deb.debian.org bookworm/main\n";
        assert_eq!(first_version(text).as_deref(), Some("1:7.2+dfsg-7"));
        assert_eq!(first_version(""), None);
    }
}
