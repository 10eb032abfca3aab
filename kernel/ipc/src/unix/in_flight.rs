//! [`InFlight`]: ancillary data that lies in a queue, and the search for sockets
//! that only lie in each other's.
//!
//! A socket that was sent over itself, and closed, would keep itself alive for
//! ever. So every Unix socket that lies in a queue is noted. When there are many,
//! those are looked for that nobody can reach: held by queues alone, and only by
//! queues of such sockets. Their queues are emptied.

use super::UnixSocket;
use super::port::Port;
use abi::Errno;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use sync::SpinLock;
use vfs::{ControlMessages, OpenFile, Result};

/// A socket in a queue.
struct Flight {
    open: Weak<OpenFile>,
    id: u64,
    /// The queue's port, by address: it exists as long as this is in it.
    port: usize,
}

struct Flights {
    list: Vec<Flight>,
    /// Length of the list at which a search is worth it.
    search_at: usize,
}

/// Sockets in flight before the first search.
const SEARCH_AT: usize = 32;
/// Most sockets in flight.
const MAX_FLIGHTS: usize = 16 * 1024;

static FLIGHTS: SpinLock<Flights> = SpinLock::new(Flights {
    list: Vec::new(),
    search_at: SEARCH_AT,
});

fn port_number(port: &Port) -> usize {
    core::ptr::from_ref(port).addr()
}

fn is_socket(open: &OpenFile) -> bool {
    let any: &dyn core::any::Any = &**open.file();
    any.is::<UnixSocket>()
}

/// Ancillary data in a queue.
pub(super) struct InFlight {
    control: ControlMessages,
    port: usize,
}

impl InFlight {
    /// `control`, about to be put into the queue of `port`.
    pub fn new(control: ControlMessages, port: &Port) -> Self {
        let port = port_number(port);
        for open in control.files.iter().filter(|open| is_socket(open)) {
            let flight = Flight {
                open: Arc::downgrade(open),
                id: open.id(),
                port,
            };
            FLIGHTS.lock().list.push(flight);
        }
        Self { control, port }
    }

    /// What it holds, taken out of the queue.
    pub fn take(mut self) -> ControlMessages {
        self.land();
        core::mem::take(&mut self.control)
    }

    /// What it holds, which stays in the queue.
    pub fn copy(&self) -> ControlMessages {
        let ControlMessages { files, credentials } = &self.control;
        ControlMessages {
            files: files.clone(),
            credentials: *credentials,
        }
    }

    /// Its sockets are in flight no longer.
    fn land(&self) {
        for open in self.control.files.iter().filter(|open| is_socket(open)) {
            let mut flights = FLIGHTS.lock();
            let same = |flight: &Flight| flight.id == open.id() && flight.port == self.port;
            if let Some(index) = flights.list.iter().position(same) {
                flights.list.swap_remove(index);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.land();
    }
}

/// May these files be sent? Called before they are, without locks; also the time
/// to look for sockets that nobody can reach.
///
/// # Errors
/// `ETOOMANYREFS` where too many sockets are in flight.
pub(super) fn admit(control: &ControlMessages) -> Result<()> {
    if !control.files.iter().any(|open| is_socket(open)) {
        return Ok(());
    }
    let due = {
        let flights = FLIGHTS.lock();
        flights.list.len() >= flights.search_at
    };
    if due {
        empty_unreachable();
        let mut flights = FLIGHTS.lock();
        flights.search_at = SEARCH_AT.max(2 * flights.list.len());
    }
    let full = FLIGHTS.lock().list.len() + control.files.len() > MAX_FLIGHTS;
    if full {
        Err(Errno::ETOOMANYREFS)
    } else {
        Ok(())
    }
}

/// A socket in flight, and the queues that it lies in.
struct Suspect {
    open: Arc<OpenFile>,
    port: usize,
    queues: Vec<usize>,
}

/// Sockets that nothing but queues holds.
fn suspects() -> BTreeMap<u64, Suspect> {
    let noted: Vec<_> = {
        let flights = FLIGHTS.lock();
        flights
            .list
            .iter()
            .map(|flight| (flight.open.clone(), flight.port))
            .collect()
    };
    let mut found: BTreeMap<u64, Suspect> = BTreeMap::new();
    for (open, queue) in noted {
        let Some(open) = open.upgrade() else { continue };
        let Some(socket) = open.file_as::<UnixSocket>() else {
            continue;
        };
        let port = port_number(&socket.port);
        let suspect = found.entry(open.id());
        suspect
            .or_insert(Suspect {
                open,
                port,
                queues: Vec::new(),
            })
            .queues
            .push(queue);
    }
    // One reference is this list's own. What anybody else holds, be it for the
    // length of a call, is no suspect.
    found.retain(|_, suspect| Arc::strong_count(&suspect.open) == suspect.queues.len() + 1);
    found
}

fn empty_unreachable() {
    let mut suspects = suspects();
    loop {
        let closed: BTreeSet<usize> = suspects.values().map(|suspect| suspect.port).collect();
        let before = suspects.len();
        // A queue of a socket that is no suspect can still be received from.
        suspects.retain(|_, suspect| suspect.queues.iter().all(|queue| closed.contains(queue)));
        if suspects.len() == before {
            break;
        }
    }
    for suspect in suspects.values() {
        if let Some(socket) = suspect.open.file_as::<UnixSocket>() {
            socket.port.discard();
        }
    }
}
