//! The first words on a program's stack: arguments, environment and auxiliary
//! vector (System V ABI for x86-64, 3.4.1).

use crate::Result;
use crate::image::Loaded;
use abi::Errno;
use abi::process::auxv;
use alloc::vec::Vec;
use mem::Space;
use vfs::Credentials;

/// What the new program is told.
pub(crate) struct Start<'a> {
    pub path: &'a [u8],
    pub arguments: &'a [Vec<u8>],
    pub environment: &'a [Vec<u8>],
    pub program: Loaded,
    /// Where the interpreter lies, 0 without one.
    pub interpreter_base: u64,
    pub credentials: &'a Credentials,
    pub random: [u8; 16],
}

/// Where things came to lie.
pub(crate) struct Placed {
    pub rsp: u64,
    pub arguments: (u64, u64),
    pub environment: (u64, u64),
    pub auxv: Vec<u8>,
}

/// Writes the strings downwards from an address, remembering where each is.
struct Strings<'a> {
    space: &'a Space,
    at: u64,
}

impl Strings<'_> {
    fn put(&mut self, string: &[u8]) -> Result<u64> {
        self.at = self
            .at
            .checked_sub(string.len() as u64 + 1)
            .ok_or(Errno::E2BIG)?;
        self.space.write(self.at, string)?;
        self.space.write(self.at + string.len() as u64, &[0])?;
        Ok(self.at)
    }

    /// Puts `strings` so that the first lies lowest, as `ps` reads them.
    fn put_all(&mut self, strings: &[Vec<u8>]) -> Result<(Vec<u64>, (u64, u64))> {
        let end = self.at;
        let mut addresses = strings
            .iter()
            .rev()
            .map(|string| self.put(string))
            .collect::<Result<Vec<_>>>()?;
        addresses.reverse();
        Ok((addresses, (self.at, end)))
    }
}

/// Lays out the stack that ends at `top`.
pub(crate) fn build(space: &Space, top: u64, start: &Start<'_>) -> Result<Placed> {
    let mut strings = Strings { space, at: top - 8 };
    let path = strings.put(start.path)?;
    let (environment, environment_range) = strings.put_all(start.environment)?;
    let (arguments, argument_range) = strings.put_all(start.arguments)?;
    let platform = strings.put(b"x86_64")?;
    let random = (strings.at - 16) & !15;
    space.write(random, &start.random)?;

    let auxv = auxiliary(start, path, platform, random);
    let mut words = Vec::new();
    words.push(arguments.len() as u64);
    words.extend(&arguments);
    words.push(0);
    words.extend(&environment);
    words.push(0);
    words.extend(auxv.iter().flat_map(|pair| *pair));
    let rsp = (random - 8 * words.len() as u64) & !15;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    space.write(rsp, &bytes)?;
    Ok(Placed {
        rsp,
        arguments: argument_range,
        environment: environment_range,
        auxv: auxv
            .iter()
            .flatten()
            .flat_map(|word| word.to_le_bytes())
            .collect(),
    })
}

fn auxiliary(start: &Start<'_>, path: u64, platform: u64, random: u64) -> [[u64; 2]; 18] {
    let credentials = start.credentials;
    [
        [auxv::AT_HWCAP, u64::from(hal::cpu::feature_word())],
        [auxv::AT_PAGESZ, mem::PAGE],
        [auxv::AT_CLKTCK, 100],
        [auxv::AT_PHDR, start.program.program_headers],
        [auxv::AT_PHENT, 56],
        [auxv::AT_PHNUM, start.program.header_count],
        [auxv::AT_BASE, start.interpreter_base],
        [auxv::AT_FLAGS, 0],
        [auxv::AT_ENTRY, start.program.entry],
        [auxv::AT_UID, u64::from(credentials.uid)],
        [auxv::AT_EUID, u64::from(credentials.euid)],
        [auxv::AT_GID, u64::from(credentials.gid)],
        [auxv::AT_EGID, u64::from(credentials.egid)],
        [auxv::AT_SECURE, 0],
        [auxv::AT_RANDOM, random],
        [auxv::AT_PLATFORM, platform],
        [auxv::AT_EXECFN, path],
        [auxv::AT_NULL, 0],
    ]
}
