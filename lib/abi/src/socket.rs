//! Sockets: socket(2), unix(7), recvmsg(2), socket(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Longest path in a Unix socket address, in bytes.
pub const UNIX_PATH_MAX: usize = 108;

/// sendmsg's and recvmsg's `struct msghdr`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Msghdr {
    /// Address of the peer's name.
    pub name: u64,
    /// Its length in bytes.
    pub namelen: u32,
    /// Zero.
    pub pad1: u32,
    /// Address of the scatter list.
    pub iov: u64,
    /// Its entries.
    pub iovlen: u64,
    /// Address of ancillary data.
    pub control: u64,
    /// Its length in bytes.
    pub controllen: u64,
    /// `MSG_*` found on receipt.
    pub flags: u32,
    /// Zero.
    pub pad2: u32,
}

/// The head of one piece of ancillary data; its data follows.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Cmsghdr {
    /// Length with this head, in bytes.
    pub len: u64,
    /// Protocol.
    pub level: i32,
    /// Kind within it.
    pub kind: i32,
}

/// Who is on the other side (`SO_PEERCRED`, `SCM_CREDENTIALS`).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Ucred {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

macro_rules! numbers {
    ($($name:ident = $value:expr, $text:literal;)*) => {
        $(#[doc = $text] pub const $name: u32 = $value;)*

        #[cfg(test)]
        mod number_tests {
            #[test]
            fn numbers_are_those_of_libc() {
                $(assert_eq!(super::$name, libc::$name as u32, stringify!($name));)*
            }
        }
    };
}

numbers! {
    AF_UNSPEC = 0, "No family.";
    AF_UNIX = 1, "Sockets of this host.";
    AF_INET = 2, "IPv4.";
    AF_INET6 = 10, "IPv6.";
    AF_NETLINK = 16, "Kernel messages.";
    SOCK_STREAM = 1, "Bytes, in order.";
    SOCK_DGRAM = 2, "Messages.";
    SOCK_SEQPACKET = 5, "Messages, connected, in order.";
    SOCK_NONBLOCK = 0o4000, "Do not block.";
    SOCK_CLOEXEC = 0o2000000, "Close on exec.";
    SOL_SOCKET = 1, "Options of every socket.";
    SO_DEBUG = 1, "Option: debug.";
    SO_REUSEADDR = 2, "Option: reuse of addresses.";
    SO_TYPE = 3, "Option: type.";
    SO_ERROR = 4, "Option: pending error, cleared by reading.";
    SO_DONTROUTE = 5, "Option: no routing.";
    SO_BROADCAST = 6, "Option: broadcast.";
    SO_SNDBUF = 7, "Option: send buffer.";
    SO_RCVBUF = 8, "Option: receive buffer.";
    SO_KEEPALIVE = 9, "Option: keep alive.";
    SO_OOBINLINE = 10, "Option: out-of-band data in line.";
    SO_PRIORITY = 12, "Option: priority.";
    SO_LINGER = 13, "Option: linger.";
    SO_REUSEPORT = 15, "Option: reuse of ports.";
    SO_PASSCRED = 16, "Option: receive credentials.";
    SO_PEERCRED = 17, "Option: the peer's credentials.";
    SO_RCVLOWAT = 18, "Option: least bytes to receive.";
    SO_SNDLOWAT = 19, "Option: least bytes to send.";
    SO_RCVTIMEO = 20, "Option: time-out of receipt.";
    SO_SNDTIMEO = 21, "Option: time-out of sending.";
    SO_ACCEPTCONN = 30, "Option: listening?";
    SO_PROTOCOL = 38, "Option: protocol.";
    SO_DOMAIN = 39, "Option: family.";
    SCM_RIGHTS = 1, "Ancillary: descriptors.";
    SCM_CREDENTIALS = 2, "Ancillary: credentials.";
    MSG_OOB = 1, "Out-of-band data.";
    MSG_PEEK = 2, "Leave the data there.";
    MSG_CTRUNC = 8, "Ancillary data was cut.";
    MSG_TRUNC = 0x20, "The message was cut.";
    MSG_DONTWAIT = 0x40, "Do not block.";
    MSG_EOR = 0x80, "End of record.";
    MSG_WAITALL = 0x100, "Fill the buffer.";
    MSG_NOSIGNAL = 0x4000, "No SIGPIPE.";
    MSG_CMSG_CLOEXEC = 0x4000_0000, "Received descriptors close on exec.";
    SHUT_RD = 0, "Shut down reading.";
    SHUT_WR = 1, "Shut down writing.";
    SHUT_RDWR = 2, "Shut down both.";
    SOMAXCONN = 4096, "Largest backlog.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{offset_of, size_of};

    #[test]
    fn layouts_are_those_of_libc() {
        assert_eq!(size_of::<Msghdr>(), size_of::<libc::msghdr>());
        assert_eq!(offset_of!(Msghdr, iov), offset_of!(libc::msghdr, msg_iov));
        assert_eq!(
            offset_of!(Msghdr, control),
            offset_of!(libc::msghdr, msg_control)
        );
        assert_eq!(
            offset_of!(Msghdr, flags),
            offset_of!(libc::msghdr, msg_flags)
        );
        assert_eq!(size_of::<Cmsghdr>(), size_of::<libc::cmsghdr>());
        assert_eq!(size_of::<Ucred>(), size_of::<libc::ucred>());
        assert_eq!(size_of::<libc::sockaddr_un>(), UNIX_PATH_MAX + 2);
    }
}
