//! A stable compiler for the bare machine.
//!
//! Main type: [`BareToolchain`]. The route is found by asking rustc, in this order:
//! 1. the compiler in use has the target's core library;
//! 2. a core library was built earlier for one of the compilers here;
//! 3. rustup can add the target;
//! 4. one of the compilers here has its library source: core is built from it, once (`sysroot`);
//! 5. Debian's own compiler and its matching source are installed, and then 4.
//!
//! A core library is only ever used with exactly the compiler that built it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{packages, sysroot};
use crate::command::{find, find_all, output, program, step};
use crate::house::House;

/// The kernel's target.
pub const BARE_TARGET: &str = "x86_64-unknown-none";

/// Where Debian's compiler lies, beside a rustup that comes first in PATH.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

/// The oldest compiler that builds this workspace; the same as `rust-version` in Cargo.toml.
const OLDEST: (u32, u32) = (1, 95);

/// A compiler that can build for the bare machine.
#[derive(Clone, Debug)]
pub struct BareToolchain {
    compiler: Compiler,
    /// Where core lies, if not with the compiler.
    sysroot: Option<PathBuf>,
    /// The linker, if the compiler does not bring its own.
    linker: Option<PathBuf>,
}

/// A rustc and the cargo beside it.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// The compiler.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// What `rustc -vV` prints.
    pub version: String,
}

impl Compiler {
    /// Asks a compiler who it is. None if there is none, or one too old.
    fn ask(rustc: &Path) -> Option<Compiler> {
        let version = output(program(rustc).arg("-vV")).ok()?;
        let cargo = rustc.with_file_name("cargo");
        let cargo = if cargo.is_file() {
            cargo
        } else {
            find("cargo")?
        };
        let is_new = release(&version)? >= OLDEST;
        is_new.then_some(Compiler {
            rustc: rustc.to_owned(),
            cargo,
            version,
        })
    }

    fn print(&self, what: &str) -> Result<PathBuf> {
        let text = output(program(&self.rustc).args(["--print", what, "--target", BARE_TARGET]))?;
        Ok(PathBuf::from(text.trim()))
    }

    fn has_bare_core(&self) -> bool {
        self.print("target-libdir")
            .is_ok_and(|folder| sysroot::holds_core(&folder))
    }

    /// Where the library source of exactly this compiler lies, if it is installed.
    pub fn library_source(&self) -> Option<PathBuf> {
        let folder = self
            .print("sysroot")
            .ok()?
            .join("lib/rustlib/src/rust/library");
        folder.join("core/Cargo.toml").is_file().then_some(folder)
    }

    /// Its cargo, made to use it.
    pub fn cargo(&self) -> Command {
        let mut command = program(&self.cargo);
        command.env("RUSTC", &self.rustc);
        // cargo looks for its subcommands in PATH: they must be those of this compiler.
        let own = self.rustc.parent().map(Path::to_owned);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = own.into_iter().chain(std::env::split_paths(&path));
        if let Ok(path) = std::env::join_paths(folders) {
            command.env("PATH", path);
        }
        command
    }

    fn brings_linker(&self) -> bool {
        let host = self
            .version
            .lines()
            .find_map(|line| line.strip_prefix("host: "));
        let Some((host, sysroot)) = host.zip(self.print("sysroot").ok()) else {
            return false;
        };
        sysroot
            .join("lib/rustlib")
            .join(host)
            .join("bin/rust-lld")
            .is_file()
    }
}

impl BareToolchain {
    /// A cargo command for the bare machine; `verb` is `build` or `clippy`.
    pub fn cargo(&self, verb: &str) -> Command {
        let mut flags =
            "-Crelocation-model=static -Ccode-model=kernel -Cforce-frame-pointers=yes".to_owned();
        if let Some(sysroot) = &self.sysroot {
            flags.push_str(&format!(" --sysroot {}", sysroot.display()));
        }
        let mut command = self.compiler.cargo();
        command.args([verb, "--target", BARE_TARGET]);
        command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_RUSTFLAGS", flags);
        if let Some(linker) = &self.linker {
            command.env("CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER", linker);
        }
        command
    }

    /// Whether clippy came with this compiler.
    pub fn has_clippy(&self) -> bool {
        let driver = self.compiler.rustc.with_file_name("clippy-driver");
        driver.is_file() && output(self.compiler.cargo().args(["clippy", "--version"])).is_ok()
    }

    /// One line for a person.
    pub fn describe(&self) -> String {
        let first = self.compiler.version.lines().next().unwrap_or("rustc");
        match &self.sysroot {
            Some(sysroot) => format!("{first}, core in {}", sysroot.display()),
            None => format!("{first}, core from rustup"),
        }
    }
}

/// Finds the toolchain, or makes one.
pub fn provide(house: &House) -> Result<BareToolchain> {
    let in_use = find_rustc("rustc");
    if let Some(compiler) = in_use.iter().find(|compiler| compiler.has_bare_core()) {
        return with_linker(compiler.clone(), None);
    }
    let debian = Compiler::ask(Path::new(DEBIAN_RUSTC));
    for compiler in in_use.iter().chain(&debian) {
        if let Some(sysroot) = sysroot::find(house, compiler) {
            return with_linker(compiler.clone(), Some(sysroot));
        }
    }
    if let Some(compiler) = &in_use
        && add_by_rustup(compiler)
    {
        return with_linker(compiler.clone(), None);
    }
    for compiler in in_use.iter().chain(&debian) {
        if compiler.library_source().is_some() {
            return with_linker(compiler.clone(), Some(sysroot::build(house, compiler)?));
        }
    }
    let compiler = install_debian()?;
    let sysroot = sysroot::build(house, &compiler)?;
    with_linker(compiler, Some(sysroot))
}

/// The compiler behind a name in PATH. rustup's proxies are looked through, so that what is found stays the
/// same whatever folder it is called from.
fn find_rustc(name: &str) -> Option<Compiler> {
    let proxy = find(name)?;
    let sysroot = output(program(&proxy).args(["--print", "sysroot"])).ok()?;
    let real = Path::new(sysroot.trim()).join("bin/rustc");
    Compiler::ask(&real).or_else(|| Compiler::ask(&proxy))
}

fn add_by_rustup(compiler: &Compiler) -> bool {
    if find("rustup").is_none() {
        return false;
    }
    step(&format!("Adding {BARE_TARGET} to the compiler with rustup"));
    let added = output(program("rustup").args(["target", "add", BARE_TARGET]));
    if let Err(error) = &added {
        let reason = format!("{error:#}");
        eprintln!(
            "    rustup cannot: {}",
            reason.lines().last().unwrap_or_default()
        );
    }
    added.is_ok() && compiler.has_bare_core()
}

fn install_debian() -> Result<Compiler> {
    let mut wanted: Vec<String> = ["rustc-web", "cargo-web", "rust-web-src", "rust-web-clippy"]
        .map(str::to_owned)
        .into();
    if linker_by_name().is_none() {
        packages::update_if_empty("rustc-web")?;
        wanted.push(newest_lld_package()?);
    }
    packages::install("Debian's Rust compiler with its library source", &wanted)?;
    let compiler = Compiler::ask(Path::new(DEBIAN_RUSTC));
    compiler.filter(|compiler| compiler.library_source().is_some()).with_context(|| {
        format!(
            "There is no stable Rust of at least {}.{} that can build for {BARE_TARGET} here. Please run: \
             rustup target add {BARE_TARGET}",
            OLDEST.0, OLDEST.1
        )
    })
}

fn with_linker(compiler: Compiler, sysroot: Option<PathBuf>) -> Result<BareToolchain> {
    if compiler.brings_linker() {
        return Ok(BareToolchain {
            compiler,
            sysroot,
            linker: None,
        });
    }
    if linker_by_name().is_none() {
        packages::install("the linker lld", &[newest_lld_package()?])?;
    }
    let linker = linker_by_name();
    if linker.is_none() {
        bail!(
            "There is no linker ld.lld in PATH, and the compiler {} brings none",
            compiler.rustc.display()
        );
    }
    Ok(BareToolchain {
        compiler,
        sysroot,
        linker,
    })
}

/// The newest `ld.lld` or `ld.lld-NN` that is installed.
fn linker_by_name() -> Option<PathBuf> {
    let version = |file: &PathBuf| {
        file.to_string_lossy()
            .rsplit('-')
            .next()?
            .parse::<u32>()
            .ok()
    };
    find_all("ld.lld").into_iter().max_by_key(version)
}

/// Debian's newest `lld-NN`.
fn newest_lld_package() -> Result<String> {
    let text = output(program("apt-cache").args(["search", "--names-only", "^lld-[0-9]+$"]))?;
    newest_lld(&text).context("Debian's package lists name no lld")
}

fn newest_lld(search: &str) -> Option<String> {
    let versions = search.lines().filter_map(|line| {
        line.split_whitespace()
            .next()?
            .strip_prefix("lld-")?
            .parse::<u32>()
            .ok()
    });
    versions.max().map(|version| format!("lld-{version}"))
}

/// Major and minor number in what `rustc -vV` prints.
fn release(version: &str) -> Option<(u32, u32)> {
    let text = version
        .lines()
        .find_map(|line| line.strip_prefix("release: "))?;
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read() {
        assert_eq!(
            release("rustc 1.96.0\nhost: x\nrelease: 1.96.0\n"),
            Some((1, 96))
        );
        assert_eq!(release("release: 1.97.0-beta.1"), Some((1, 97)));
        assert_eq!(release("no compiler"), None);
    }

    #[test]
    fn the_newest_lld_is_the_greatest_number() {
        let text = "lld-9 - old\nlld-14 - LLVM-based linker\nlld-22 - LLVM-based linker\n";
        assert_eq!(newest_lld(text).as_deref(), Some("lld-22"));
        assert_eq!(newest_lld(""), None);
    }
}
