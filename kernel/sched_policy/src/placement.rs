//! Where a thread that wakes, or is new, goes.

use crate::{CpuSet, RESERVABLE};

/// What a CPU has to do, as its queue last told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpuLoad {
    /// Sum of the weights of all that may run.
    pub weight: u64,
    /// How many may run, the running one included.
    pub runnable: u32,
    /// How many of them wait.
    pub waiting: u32,
    /// Reservations granted, in parts per million.
    pub granted: u32,
}

impl CpuLoad {
    /// The reservation that can still be granted, in parts per million.
    #[must_use]
    pub const fn room(&self) -> u32 {
        RESERVABLE.saturating_sub(self.granted)
    }
}

/// A thread that needs a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The CPU it last ran on, or for a new one its parent's.
    pub previous: usize,
    /// The CPU of the thread that wakes it.
    pub waker: usize,
    /// The waker is about to sleep, as in a call and reply over a pipe.
    pub yielding: bool,
    /// It holds a reservation, granted by `previous`.
    pub reserved: bool,
    /// The CPUs it may use.
    pub allowed: CpuSet,
}

/// Chooses the CPU for a waking thread. `idle` are the CPUs that idle, `online`
/// all there are; `load` tells a CPU's load and is asked only where nothing
/// idles. If no allowed CPU is online, any online one may be chosen.
///
/// In this order: the previous CPU if it idles or holds its reservation; the
/// waker's, if the waker is alone there and about to sleep; an idle one, the
/// next after the previous; the previous one unless another has clearly less
/// to do.
#[inline]
pub fn choose_cpu(
    request: &Request,
    online: CpuSet,
    idle: CpuSet,
    load: impl Fn(usize) -> CpuLoad,
) -> usize {
    let mut allowed = request.allowed.and(online);
    if allowed.is_empty() {
        allowed = online;
    }
    let stays = allowed.contains(request.previous);
    if stays && (request.reserved || idle.contains(request.previous)) {
        return request.previous;
    }
    if request.yielding && allowed.contains(request.waker) && load(request.waker).runnable <= 1 {
        return request.waker;
    }
    if let Some(cpu) = idle.and(allowed).next_from(request.previous) {
        return cpu;
    }
    let least = allowed.iter().min_by_key(|cpu| load(*cpu).weight);
    match least {
        None => request.previous,
        Some(cpu) if !stays => cpu,
        Some(cpu) => {
            let (here, there) = (load(request.previous).weight, load(cpu).weight);
            if here > there + there / 4 {
                cpu
            } else {
                request.previous
            }
        }
    }
}

/// Chooses the CPU that grants a reservation: of the allowed ones with room
/// the one with the least granted. None if none has room.
pub fn choose_home(
    reservation: u32,
    allowed: CpuSet,
    load: impl Fn(usize) -> CpuLoad,
) -> Option<usize> {
    allowed
        .iter()
        .map(|cpu| (cpu, load(cpu)))
        .filter(|(_, load)| load.room() >= reservation)
        .min_by_key(|(_, load)| (load.granted, load.weight))
        .map(|(cpu, _)| cpu)
}
