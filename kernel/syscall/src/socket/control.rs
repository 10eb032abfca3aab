//! Ancillary data: descriptors and credentials beside a message's bytes
//! (cmsg(3), unix(7)).

use crate::{Context, Result};
use abi::Errno;
use abi::socket::{Cmsghdr, SCM_CREDENTIALS, SCM_RIGHTS, SOL_SOCKET, Ucred};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use vfs::{Caller, ControlMessages, OpenFile, UserMemory};
use zerocopy::{FromBytes, IntoBytes};

/// The most bytes that are taken, as Linux's default.
const LENGTH_MAX: u64 = 20_480;
/// The most descriptors in one message (unix(7)).
const FILES_MAX: usize = 253;
const HEAD: usize = size_of::<Cmsghdr>();

/// Pieces start at multiples of this.
fn align(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Reads what goes along with a message.
pub(super) fn read_from(context: &Context<'_>, from: u64, len: u64) -> Result<ControlMessages> {
    let mut messages = ControlMessages::default();
    if from == 0 || len == 0 {
        return Ok(messages);
    }
    if len > LENGTH_MAX {
        return Err(Errno::ENOBUFS);
    }
    let mut bytes = vec![0; len as usize];
    context.read_user(from, &mut bytes)?;
    let mut rest = &bytes[..];
    while let Ok((head, _)) = Cmsghdr::read_from_prefix(rest) {
        let size = usize::try_from(head.len).map_err(|_| Errno::EINVAL)?;
        if size < HEAD || size > rest.len() {
            return Err(Errno::EINVAL);
        }
        if head.level as u32 == SOL_SOCKET {
            add(context, &mut messages, head.kind as u32, &rest[HEAD..size])?;
        }
        rest = rest.get(align(size)..).unwrap_or_default();
    }
    Ok(messages)
}

fn add(
    context: &Context<'_>,
    messages: &mut ControlMessages,
    kind: u32,
    data: &[u8],
) -> Result<()> {
    match kind {
        SCM_RIGHTS => {
            let (numbers, _) = data.as_chunks::<4>();
            if messages.files.len() + numbers.len() > FILES_MAX {
                return Err(Errno::EINVAL);
            }
            for number in numbers {
                messages
                    .files
                    .push(context.file(i32::from_le_bytes(*number))?);
            }
            Ok(())
        }
        SCM_CREDENTIALS => {
            let credentials = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
            messages.credentials = Some(credentials);
            Ok(())
        }
        _ => Err(Errno::EINVAL),
    }
}

/// A buffer of the program that is filled with pieces.
struct Room<'a, 'b> {
    context: &'a Context<'b>,
    at: u64,
    used: usize,
    len: usize,
}

impl Room<'_, '_> {
    fn left(&self) -> usize {
        self.len - self.used
    }

    /// Writes a piece, of which at least the head must fit; tells whether it was
    /// cut.
    fn put(&mut self, kind: u32, data: &[u8]) -> Result<bool> {
        let Some(room) = self.left().checked_sub(HEAD) else {
            return Ok(true);
        };
        let kept = data.len().min(room);
        let head = Cmsghdr {
            len: (HEAD + kept) as u64,
            level: SOL_SOCKET as i32,
            kind: kind as i32,
        };
        let to = self.at.wrapping_add(self.used as u64);
        self.context.write_user(to, head.as_bytes())?;
        self.context
            .write_user(to.wrapping_add(HEAD as u64), &data[..kept])?;
        self.used = (self.used + align(HEAD + kept)).min(self.len);
        Ok(kept < data.len())
    }
}

/// Gives the program what came with a message. Returns the bytes used, and
/// whether something did not fit; descriptors that do not fit are closed.
pub(super) fn write_to(
    context: &Context<'_>,
    messages: ControlMessages,
    to: u64,
    len: u64,
    cloexec: bool,
) -> Result<(u64, bool)> {
    let mut room = Room {
        context,
        at: to,
        used: 0,
        len: if to == 0 {
            0
        } else {
            len.min(i32::MAX as u64) as usize
        },
    };
    let mut is_cut = false;
    if let Some(credentials) = messages.credentials {
        is_cut |= room.put(SCM_CREDENTIALS, credentials.as_bytes())?;
    }
    if !messages.files.is_empty() {
        is_cut |= put_files(&mut room, messages.files, cloexec)?;
    }
    Ok((room.used as u64, is_cut))
}

fn put_files(room: &mut Room<'_, '_>, files: Vec<Arc<OpenFile>>, cloexec: bool) -> Result<bool> {
    let count = room.left().saturating_sub(HEAD) / 4;
    let wanted = files.len();
    let mut numbers = Vec::new();
    for file in files.into_iter().take(count) {
        match room.context.install(file, cloexec) {
            Ok(fd) => numbers.extend_from_slice(&fd.to_le_bytes()),
            Err(_) => break,
        }
    }
    if numbers.is_empty() {
        return Ok(true);
    }
    room.put(SCM_RIGHTS, &numbers)?;
    Ok(numbers.len() / 4 < wanted)
}
