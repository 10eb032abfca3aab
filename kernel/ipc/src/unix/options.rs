//! Options of Unix sockets (socket(7), unix(7)).
//!
//! Options that only matter to networks are accepted and have no effect.

use super::UnixSocket;
use super::port::PACKET_CAPACITY;
use abi::Errno;
use abi::socket::{
    AF_UNIX, SO_ACCEPTCONN, SO_BROADCAST, SO_DEBUG, SO_DOMAIN, SO_DONTROUTE, SO_ERROR,
    SO_KEEPALIVE, SO_LINGER, SO_OOBINLINE, SO_PASSCRED, SO_PEERCRED, SO_PRIORITY, SO_PROTOCOL,
    SO_RCVBUF, SO_RCVLOWAT, SO_RCVTIMEO, SO_REUSEADDR, SO_REUSEPORT, SO_SNDBUF, SO_SNDLOWAT,
    SO_SNDTIMEO, SO_TYPE, SOL_SOCKET, Ucred,
};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use vfs::Result;
use zerocopy::IntoBytes;

fn number(value: u32) -> Result<Vec<u8>> {
    Ok(value.to_ne_bytes().to_vec())
}

/// A `struct timeval`: seconds and microseconds.
fn timeval(timeout_ns: &AtomicU64) -> Result<Vec<u8>> {
    let micros = timeout_ns.load(Ordering::Relaxed) / 1000;
    let pair = [micros / 1_000_000, micros % 1_000_000];
    Ok(pair.as_bytes().to_vec())
}

fn set_timeval(timeout_ns: &AtomicU64, value: &[u8]) -> Result<()> {
    let (seconds, rest) = value.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let micros = rest.first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let (seconds, micros) = (i64::from_ne_bytes(*seconds), i64::from_ne_bytes(*micros));
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno::EDOM);
    }
    // A negative time-out expires at once, as on Linux.
    let ns = match u64::try_from(seconds) {
        Ok(seconds) => seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(micros as u64 * 1000),
        Err(_) => 1,
    };
    timeout_ns.store(ns, Ordering::Relaxed);
    Ok(())
}

impl UnixSocket {
    pub(super) fn get_option(&self, level: u32, option: u32) -> Result<Vec<u8>> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        match option {
            SO_TYPE => number(self.kind.number()),
            SO_DOMAIN => number(AF_UNIX),
            SO_ERROR => number(self.port.take_error() as u32),
            SO_ACCEPTCONN => number(u32::from(self.listener.lock().is_some())),
            SO_PASSCRED => number(u32::from(self.port.passes_credentials())),
            SO_SNDBUF | SO_RCVBUF => number(PACKET_CAPACITY as u32),
            SO_RCVLOWAT | SO_SNDLOWAT => number(1),
            SO_PEERCRED => {
                let unknown = Ucred {
                    pid: 0,
                    uid: u32::MAX,
                    gid: u32::MAX,
                };
                let peer = self.partner().map_or(unknown, |peer| peer.owner());
                Ok(peer.as_bytes().to_vec())
            }
            SO_RCVTIMEO => timeval(&self.receive_timeout_ns),
            SO_SNDTIMEO => timeval(&self.send_timeout_ns),
            SO_LINGER => Ok(alloc::vec![0; 8]),
            SO_DEBUG | SO_REUSEADDR | SO_DONTROUTE | SO_BROADCAST | SO_KEEPALIVE | SO_OOBINLINE
            | SO_PRIORITY | SO_REUSEPORT | SO_PROTOCOL => number(0),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }

    pub(super) fn put_option(&self, level: u32, option: u32, value: &[u8]) -> Result<()> {
        if level != SOL_SOCKET {
            return Err(Errno::EOPNOTSUPP);
        }
        match option {
            SO_RCVTIMEO => return set_timeval(&self.receive_timeout_ns, value),
            SO_SNDTIMEO => return set_timeval(&self.send_timeout_ns, value),
            _ => {}
        }
        let first = value.first_chunk::<4>().ok_or(Errno::EINVAL)?;
        match option {
            SO_PASSCRED => {
                self.port.set_passes_credentials(*first != [0; 4]);
                Ok(())
            }
            SO_DEBUG | SO_REUSEADDR | SO_DONTROUTE | SO_BROADCAST | SO_SNDBUF | SO_RCVBUF
            | SO_KEEPALIVE | SO_OOBINLINE | SO_PRIORITY | SO_LINGER | SO_REUSEPORT
            | SO_RCVLOWAT => Ok(()),
            _ => Err(Errno::ENOPROTOOPT),
        }
    }
}
