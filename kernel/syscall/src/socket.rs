//! Sockets: socket(2), sendmsg(2) and their kin. What a socket does is its own
//! ([`vfs::Socket`]); here addresses and buffers are copied, and [`control`]
//! holds ancillary data.

mod control;

use crate::arguments::{iovec, read, write};
use crate::read_write::written;
use crate::{Args, Context, Result, arguments};
use abi::Errno;
use abi::event::Timespec;
use abi::fs::Iovec;
use abi::socket::{
    AF_UNIX, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_EOR, MSG_NOSIGNAL, MSG_OOB, MSG_PEEK,
    MSG_TRUNC, MSG_WAITALL, Msghdr, SOCK_CLOEXEC, SOCK_NONBLOCK, Ucred,
};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use ipc::unix::{Kind, UnixSocket};
use vfs::{
    Address, Caller, ControlMessages, File, Message, OpenFile, OpenFlags, Received, Socket,
    UserMemory, UserSink, UserSource,
};

/// Flags beside the type in socket(2), and those of accept4(2).
pub(crate) const TYPE_FLAGS: u32 = SOCK_CLOEXEC | SOCK_NONBLOCK;
/// Flags of sendmsg(2). MSG_EOR has no effect: what is sent keeps its bounds or
/// has none.
pub(crate) const SEND_FLAGS: u32 = MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL | MSG_EOR | MSG_MORE;
/// Flags of recvmsg(2).
pub(crate) const RECEIVE_FLAGS: u32 = MSG_OOB
    | MSG_PEEK
    | MSG_TRUNC
    | MSG_DONTWAIT
    | MSG_WAITALL
    | MSG_NOSIGNAL
    | MSG_CMSG_CLOEXEC
    | MSG_WAITFORONE;
/// More is about to be sent: no effect here.
const MSG_MORE: u32 = 0x8000;
/// recvmmsg(2): only the first message is waited for.
const MSG_WAITFORONE: u32 = 0x1_0000;
/// Longest address of any family, in bytes.
const ADDRESS_MAX: usize = 128;
/// Longest option.
const OPTION_MAX: u64 = 4096;
/// The most messages of one sendmmsg(2) or recvmmsg(2).
const MESSAGES_MAX: u64 = 1024;

/// Calls `what` with the socket that is open as `fd`.
fn with<T>(
    context: &Context<'_>,
    fd: u64,
    what: impl FnOnce(&OpenFile, &dyn Socket) -> Result<T>,
) -> Result<T> {
    let file = context.file(fd as i32)?;
    let socket = file.file().socket().ok_or(Errno::ENOTSOCK)?;
    what(&file, socket)
}

fn is_nonblocking(file: &OpenFile) -> bool {
    file.flags().contains(OpenFlags::NONBLOCK)
}

fn open(file: Arc<dyn File>, flags: u32) -> Arc<OpenFile> {
    let mut status = OpenFlags::RDWR;
    if flags & SOCK_NONBLOCK != 0 {
        status |= OpenFlags::NONBLOCK;
    }
    OpenFile::new(file, status)
}

fn install(context: &Context<'_>, file: Arc<dyn File>, flags: u32) -> Result<i32> {
    context.install(open(file, flags), flags & SOCK_CLOEXEC != 0)
}

fn kind_of(domain: u64, kind: u64, protocol: u64) -> Result<Kind> {
    if domain as u32 != AF_UNIX {
        return Err(Errno::EAFNOSUPPORT);
    }
    if protocol as u32 != 0 && protocol as u32 != AF_UNIX {
        return Err(Errno::EPROTONOSUPPORT);
    }
    Kind::from_number(kind as u32 & !TYPE_FLAGS)
}

fn owner(context: &Context<'_>) -> Ucred {
    let credentials = context.credentials();
    Ucred {
        pid: context.process().pid(),
        uid: credentials.euid,
        gid: credentials.egid,
    }
}

pub(crate) fn socket(context: &mut Context<'_>, [domain, kind, protocol, ..]: Args) -> Result<u64> {
    let socket = UnixSocket::new(
        kind_of(domain, kind, protocol)?,
        owner(context),
        context.process().account(),
    );
    install(context, socket, kind as u32).map(|fd| fd as u64)
}

pub(crate) fn socketpair(
    context: &mut Context<'_>,
    [domain, kind, protocol, to, ..]: Args,
) -> Result<u64> {
    let (one, two) = UnixSocket::pair(
        kind_of(domain, kind, protocol)?,
        owner(context),
        context.process().account(),
    );
    let flags = kind as u32;
    let first = install(context, one, flags)?;
    let undo = |fd: i32, error: Errno| {
        // Nobody else can have closed it but on purpose.
        let _ = context.files().close(fd);
        error
    };
    let second = install(context, two, flags).map_err(|error| undo(first, error))?;
    write(context, to, &[first, second]).map_err(|error| undo(first, undo(second, error)))?;
    Ok(0)
}

/// Copies an address from the program.
fn address_in(context: &Context<'_>, from: u64, len: u64) -> Result<Address> {
    let len = usize::try_from(len as i32).map_err(|_| Errno::EINVAL)?;
    if len > ADDRESS_MAX {
        return Err(Errno::EINVAL);
    }
    let mut address = vec![0; len];
    context.read_user(from, &mut address)?;
    Ok(address)
}

/// Copies an address to the program, whose buffer's length is at `len_at`, and
/// stores the address's own length there.
fn address_out(context: &Context<'_>, address: &[u8], to: u64, len_at: u64) -> Result<()> {
    if to == 0 {
        return Ok(());
    }
    let room: i32 = read(context, len_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    context.write_user(to, &address[..address.len().min(room)])?;
    write(context, len_at, &(address.len() as u32))
}

pub(crate) fn bind(context: &mut Context<'_>, [fd, name, len, ..]: Args) -> Result<u64> {
    with(context, fd, |_, socket| {
        socket.bind(context, &address_in(context, name, len)?)
    })
    .map(|()| 0)
}

pub(crate) fn connect(context: &mut Context<'_>, [fd, name, len, ..]: Args) -> Result<u64> {
    with(context, fd, |file, socket| {
        let address = address_in(context, name, len)?;
        socket.connect(context, &address, is_nonblocking(file))
    })
    .map(|()| 0)
}

pub(crate) fn listen(context: &mut Context<'_>, [fd, backlog, ..]: Args) -> Result<u64> {
    with(context, fd, |_, socket| {
        socket.listen(context, backlog as i32)
    })
    .map(|()| 0)
}

pub(crate) fn accept(context: &mut Context<'_>, [fd, name, len, ..]: Args) -> Result<u64> {
    accept4(context, [fd, name, len, 0, 0, 0])
}

pub(crate) fn accept4(context: &mut Context<'_>, [fd, name, len, flags, ..]: Args) -> Result<u64> {
    let flags = flags as u32;
    if flags & !TYPE_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let accepted = with(context, fd, |file, socket| {
        socket.accept(is_nonblocking(file))
    })?;
    if name != 0 {
        // A peer that has hung up has no name.
        let socket = accepted.socket().ok_or(Errno::ENOTSOCK)?;
        let peer = socket.peer_name().unwrap_or_default();
        address_out(context, &peer, name, len)?;
    }
    install(context, accepted, flags).map(|fd| fd as u64)
}

pub(crate) fn getsockname(context: &mut Context<'_>, [fd, name, len, ..]: Args) -> Result<u64> {
    let address = with(context, fd, |_, socket| socket.name())?;
    named(context, &address, name, len)
}

pub(crate) fn getpeername(context: &mut Context<'_>, [fd, name, len, ..]: Args) -> Result<u64> {
    let address = with(context, fd, |_, socket| socket.peer_name())?;
    named(context, &address, name, len)
}

fn named(context: &Context<'_>, address: &[u8], to: u64, len_at: u64) -> Result<u64> {
    if to == 0 {
        return Err(Errno::EFAULT);
    }
    address_out(context, address, to, len_at).map(|()| 0)
}

pub(crate) fn shutdown(context: &mut Context<'_>, [fd, how, ..]: Args) -> Result<u64> {
    with(context, fd, |_, socket| socket.shutdown(how as u32)).map(|()| 0)
}

pub(crate) fn getsockopt(
    context: &mut Context<'_>,
    [fd, level, option, to, len_at, _]: Args,
) -> Result<u64> {
    let value = with(context, fd, |_, socket| {
        let room: i32 = read(context, len_at)?;
        let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
        let mut value = socket.option(level as u32, option as u32)?;
        value.truncate(room);
        Ok(value)
    })?;
    context.write_user(to, &value)?;
    write(context, len_at, &(value.len() as u32)).map(|()| 0)
}

pub(crate) fn setsockopt(
    context: &mut Context<'_>,
    [fd, level, option, from, len, _]: Args,
) -> Result<u64> {
    with(context, fd, |_, socket| {
        if len > OPTION_MAX {
            return Err(Errno::EINVAL);
        }
        let mut value = vec![0; len as usize];
        context.read_user(from, &mut value)?;
        socket.set_option(level as u32, option as u32, &value)
    })
    .map(|()| 0)
}

/// A message's head and scatter list, copied from the program.
fn head(context: &Context<'_>, at: u64) -> Result<(Msghdr, Vec<Iovec>)> {
    let head: Msghdr = read(context, at)?;
    if head.iovlen > arguments::IOV_MAX {
        return Err(Errno::EMSGSIZE);
    }
    let list = iovec(context, head.iov, head.iovlen)?;
    Ok((head, list))
}

fn transmit(
    context: &Context<'_>,
    fd: u64,
    to: Option<Address>,
    data: &[Iovec],
    control: ControlMessages,
    flags: u32,
) -> Result<u64> {
    if flags & !SEND_FLAGS != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    let sent = with(context, fd, |file, socket| {
        let message = Message {
            to: to.as_deref(),
            data: &mut UserSource::scattered(context, data),
            control,
            flags,
        };
        socket.send(context, message, is_nonblocking(file))
    });
    if flags & MSG_NOSIGNAL != 0 {
        sent.map(|count| count as u64)
    } else {
        written(context, sent)
    }
}

pub(crate) fn sendto(
    context: &mut Context<'_>,
    [fd, buffer, len, flags, name, name_len]: Args,
) -> Result<u64> {
    let to = match name {
        0 => None,
        name => Some(address_in(context, name, name_len)?),
    };
    let data = [Iovec {
        base: buffer,
        len: arguments::clamp(len) as u64,
    }];
    transmit(
        context,
        fd,
        to,
        &data,
        ControlMessages::default(),
        flags as u32,
    )
}

fn send_message(context: &Context<'_>, fd: u64, at: u64, flags: u64) -> Result<u64> {
    let (head, list) = head(context, at)?;
    let to = match head.name {
        0 => None,
        _ if head.namelen == 0 => None,
        name => Some(address_in(context, name, u64::from(head.namelen))?),
    };
    let control = control::read_from(context, head.control, head.controllen)?;
    transmit(context, fd, to, &list, control, flags as u32)
}

pub(crate) fn sendmsg(context: &mut Context<'_>, [fd, at, flags, ..]: Args) -> Result<u64> {
    send_message(context, fd, at, flags)
}

/// The size of `struct mmsghdr`: a message's head and the bytes that it moved.
const MMSGHDR: u64 = 64;
/// Where in it those are counted.
const MMSGHDR_LEN: u64 = 56;

pub(crate) fn sendmmsg(
    context: &mut Context<'_>,
    [fd, list, count, flags, ..]: Args,
) -> Result<u64> {
    let mut done = 0;
    while done < (count & 0xffff_ffff).min(MESSAGES_MAX) {
        let at = list.wrapping_add(done * MMSGHDR);
        let result = send_message(context, fd, at, flags)
            .and_then(|sent| write(context, at.wrapping_add(MMSGHDR_LEN), &(sent as u32)));
        match result {
            Ok(()) => done += 1,
            Err(_) if done != 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn receive(context: &Context<'_>, fd: u64, data: &[Iovec], flags: u32) -> Result<Received> {
    with(context, fd, |file, socket| {
        let mut sink = UserSink::scattered(context, data);
        socket.receive(&mut sink, flags & RECEIVE_FLAGS, is_nonblocking(file))
    })
}

pub(crate) fn recvfrom(
    context: &mut Context<'_>,
    [fd, buffer, len, flags, name, name_len]: Args,
) -> Result<u64> {
    let data = [Iovec {
        base: buffer,
        len: arguments::clamp(len) as u64,
    }];
    let received = receive(context, fd, &data, flags as u32)?;
    if name != 0 {
        let from = received.from.as_deref().unwrap_or_default();
        address_out(context, from, name, name_len)?;
    }
    Ok(received.len as u64)
}

fn receive_message(context: &Context<'_>, fd: u64, at: u64, flags: u64) -> Result<u64> {
    let (mut head, list) = head(context, at)?;
    if (head.namelen as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let flags = flags as u32;
    let received = receive(context, fd, &list, flags)?;
    if head.name != 0 {
        let from = received.from.unwrap_or_default();
        let count = from.len().min(head.namelen as usize);
        context.write_user(head.name, &from[..count])?;
        head.namelen = from.len() as u32;
    }
    let (used, is_cut) = control::write_to(
        context,
        received.control,
        head.control,
        head.controllen,
        flags & MSG_CMSG_CLOEXEC != 0,
    )?;
    head.controllen = used;
    head.flags = received.flags | flags & MSG_CMSG_CLOEXEC;
    if is_cut {
        head.flags |= MSG_CTRUNC;
    }
    write(context, at, &head)?;
    Ok(received.len as u64)
}

pub(crate) fn recvmsg(context: &mut Context<'_>, [fd, at, flags, ..]: Args) -> Result<u64> {
    receive_message(context, fd, at, flags)
}

pub(crate) fn recvmmsg(
    context: &mut Context<'_>,
    [fd, list, count, flags, timeout, _]: Args,
) -> Result<u64> {
    let deadline = arguments::deadline_in(arguments::time_ns(context, timeout)?);
    let mut flags = flags;
    let mut done = 0;
    while done < (count & 0xffff_ffff).min(MESSAGES_MAX) {
        let at = list.wrapping_add(done * MMSGHDR);
        let result = receive_message(context, fd, at, flags)
            .and_then(|got| write(context, at.wrapping_add(MMSGHDR_LEN), &(got as u32)));
        match result {
            Ok(()) => done += 1,
            Err(_) if done != 0 => break,
            Err(error) => return Err(error),
        }
        if flags as u32 & MSG_WAITFORONE != 0 {
            flags |= u64::from(MSG_DONTWAIT);
        }
        // The time-out is looked at between messages only (recvmmsg(2), BUGS).
        if deadline.is_some_and(|deadline| wait::now_ns() >= deadline) {
            break;
        }
    }
    if let Some(deadline) = deadline {
        let left = deadline.saturating_sub(wait::now_ns());
        write(context, timeout, &Timespec::from_ns(left))?;
    }
    Ok(done)
}
