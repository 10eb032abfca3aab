//! [`Epoll`]: a set of watched files and the queue of those that are ready
//! (epoll(7)).
//!
//! A watch is an observer at its file's poll head. When told of an event it puts
//! itself into the ready queue, once; a wait looks only at the queue, so its cost
//! does not depend on the size of the set. Locks: poll head of a file, then the
//! set's state; a file is never asked for its readiness with the latter held.

use abi::Errno;
use abi::event::{EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EpollEvent, Events};
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use sync::SpinLock;
use vfs::{CloseWatcher, File, OpenFile, PollHandle, PollHead, PollObserver, Result, file_as};
use wait::Deadline;

/// Bits that say how to watch, not what for.
const HOW: Events = Events::ET
    .union(Events::ONESHOT)
    .union(Events::WAKEUP)
    .union(Events::EXCLUSIVE);
const ALWAYS: Events = Events::ERR.union(Events::HUP);
/// What an exclusive watch may ask for.
const EXCLUSIVE_OK: Events = Events::IN
    .union(Events::OUT)
    .union(ALWAYS)
    .union(HOW)
    .difference(Events::ONESHOT);
/// Most sets in a chain of sets that watch sets.
const MAX_DEPTH: u32 = 5;

/// A watch.
struct Item {
    shared: Arc<Shared>,
    file: Weak<dyn File>,
    slot: u32,
    mask: AtomicU32,
    data: AtomicU64,
    /// In the ready queue? Changes under the state's lock only.
    queued: AtomicBool,
    handle: SpinLock<Option<PollHandle>>,
}

impl Item {
    fn mask(&self) -> Events {
        Events::from_bits_retain(self.mask.load(Ordering::Acquire))
    }

    /// What it is ready for, of what it is watched for. A watch that has fired
    /// its one shot is ready for nothing.
    fn ready(&self, file: &dyn File) -> Events {
        let mask = self.mask();
        if mask.difference(HOW).is_empty() {
            return Events::empty();
        }
        file.poll() & (mask.difference(HOW) | ALWAYS)
    }

    fn unregister(&self) {
        let handle = self.handle.lock().take();
        if let (Some(handle), Some(file)) = (handle, self.file.upgrade())
            && let Some(head) = file.poll_head()
        {
            head.remove(handle);
        }
    }
}

impl PollObserver for Item {
    fn notify(&self, events: Events) {
        let mask = self.mask();
        let wanted = mask.difference(HOW);
        if wanted.is_empty() || !(wanted | ALWAYS).intersects(events) {
            return;
        }
        self.shared.enqueue(self);
        self.shared.head.notify(Events::IN | Events::RDNORM);
    }
}

#[derive(Default)]
struct State {
    /// By descriptor and open file.
    index: BTreeMap<(i32, u64), u32>,
    items: Vec<Option<Arc<Item>>>,
    free: Vec<u32>,
    ready: VecDeque<u32>,
}

/// What watches and set share.
struct Shared {
    state: SpinLock<State>,
    head: PollHead,
    /// Watches of other sets on this one.
    watched_by: SpinLock<Vec<Weak<Item>>>,
}

impl Shared {
    fn enqueue(&self, item: &Item) {
        let mut state = self.state.lock();
        let here = state.items.get(item.slot as usize).and_then(Option::as_ref);
        // A watch that was removed meanwhile stays out.
        let alive = here.is_some_and(|known| core::ptr::eq(&**known, item));
        if alive && !item.queued.swap(true, Ordering::AcqRel) {
            state.ready.push_back(item.slot);
        }
    }

    /// The next ready watch; the queue no longer has it.
    fn dequeue(&self) -> Option<Arc<Item>> {
        let mut state = self.state.lock();
        let slot = state.ready.pop_front()?;
        let item = state.items[slot as usize].clone()?;
        item.queued.store(false, Ordering::Release);
        Some(item)
    }

    fn remove(&self, key: (i32, u64)) -> Option<Arc<Item>> {
        let mut state = self.state.lock();
        let slot = state.index.remove(&key)?;
        let item = state.items[slot as usize].take()?;
        if item.queued.load(Ordering::Acquire) {
            state.ready.retain(|queued| *queued != slot);
        }
        state.free.push(slot);
        Some(item)
    }

    fn find(&self, key: (i32, u64)) -> Option<Arc<Item>> {
        let state = self.state.lock();
        let slot = state.index.get(&key)?;
        state.items[*slot as usize].clone()
    }

    fn has_ready(&self) -> bool {
        !self.state.lock().ready.is_empty()
    }
}

impl CloseWatcher for Shared {
    fn closed(&self, id: u64, _file: &dyn File) {
        loop {
            let key = {
                let state = self.state.lock();
                state.index.keys().find(|key| key.1 == id).copied()
            };
            match key.and_then(|key| self.remove(key)) {
                Some(item) => item.unregister(),
                None => break,
            }
        }
    }
}

/// A set of watched files.
pub struct Epoll {
    shared: Arc<Shared>,
}

impl Epoll {
    /// An empty set.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let shared = Arc::new(Shared {
            state: SpinLock::new(State::default()),
            head: PollHead::new(),
            watched_by: SpinLock::new(Vec::new()),
        });
        Arc::new(Self { shared })
    }

    /// epoll_ctl(2). `event` is not looked at by `EPOLL_CTL_DEL`.
    ///
    /// # Errors
    /// `EEXIST`, `ENOENT`, `EPERM` for files that are always ready, `EINVAL`,
    /// `ELOOP` for circles and chains longer than five.
    pub fn control(
        &self,
        operation: i32,
        fd: i32,
        open: &Arc<OpenFile>,
        event: EpollEvent,
    ) -> Result<()> {
        let head = open.file().poll_head().ok_or(Errno::EPERM)?;
        let nested = open.file_as::<Epoll>();
        if nested
            .as_ref()
            .is_some_and(|nested| Arc::ptr_eq(&nested.shared, &self.shared))
        {
            return Err(Errno::EINVAL);
        }
        let key = (fd, open.id());
        let mask = Events::from_bits_retain(event.events);
        match operation {
            EPOLL_CTL_ADD => {
                let exclusive = mask.contains(Events::EXCLUSIVE);
                if exclusive && (!EXCLUSIVE_OK.contains(mask) || nested.is_some()) {
                    return Err(Errno::EINVAL);
                }
                self.add(key, open, head, event, nested.as_ref())
            }
            EPOLL_CTL_MOD => self.modify(key, open, head, event),
            EPOLL_CTL_DEL => {
                let item = self.shared.remove(key).ok_or(Errno::ENOENT)?;
                item.unregister();
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    }

    fn add(
        &self,
        key: (i32, u64),
        open: &Arc<OpenFile>,
        head: &PollHead,
        event: EpollEvent,
        nested: Option<&Arc<Epoll>>,
    ) -> Result<()> {
        // One at a time, so that two additions cannot close a circle together.
        static NESTING: SpinLock<()> = SpinLock::new(());
        let guard = nested.map(|_| NESTING.lock());
        if let Some(nested) = nested {
            let below = depth_below(&nested.shared, &self.shared, 1)?;
            if below + sets_above(&self.shared, 0) > MAX_DEPTH {
                return Err(Errno::ELOOP);
            }
        }
        let item = self.insert(key, open, event)?;
        if let Some(nested) = nested {
            let mut watched_by = nested.shared.watched_by.lock();
            watched_by.retain(|known| known.strong_count() > 0);
            watched_by.push(Arc::downgrade(&item));
        }
        drop(guard);
        let watcher: Weak<Shared> = Arc::downgrade(&self.shared);
        open.watch_close(watcher);
        register(&item, head);
        self.look_at(&item, &**open.file());
        Ok(())
    }

    fn insert(&self, key: (i32, u64), open: &OpenFile, event: EpollEvent) -> Result<Arc<Item>> {
        let mut state = self.shared.state.lock();
        if state.index.contains_key(&key) {
            return Err(Errno::EEXIST);
        }
        let slot = match state.free.pop() {
            Some(slot) => slot,
            None => {
                state.items.push(None);
                (state.items.len() - 1) as u32
            }
        };
        let item = Arc::new(Item {
            shared: self.shared.clone(),
            file: Arc::downgrade(open.file()),
            slot,
            mask: AtomicU32::new(event.events),
            data: AtomicU64::new(event.data),
            queued: AtomicBool::new(false),
            handle: SpinLock::new(None),
        });
        state.items[slot as usize] = Some(item.clone());
        state.index.insert(key, slot);
        // Each slot is in the queue at most once: from now on no event allocates.
        let (wanted, have) = (state.items.len(), state.ready.len());
        state.ready.reserve(wanted - have.min(wanted));
        Ok(item)
    }

    fn modify(
        &self,
        key: (i32, u64),
        open: &Arc<OpenFile>,
        head: &PollHead,
        event: EpollEvent,
    ) -> Result<()> {
        let item = self.shared.find(key).ok_or(Errno::ENOENT)?;
        let mask = Events::from_bits_retain(event.events);
        if (mask | item.mask()).contains(Events::EXCLUSIVE) {
            return Err(Errno::EINVAL);
        }
        item.unregister();
        item.data.store(event.data, Ordering::Release);
        item.mask.store(event.events, Ordering::Release);
        register(&item, head);
        self.look_at(&item, &**open.file());
        Ok(())
    }

    /// Queues a watch whose file is ready already.
    fn look_at(&self, item: &Item, file: &dyn File) {
        if !item.ready(file).is_empty() {
            self.shared.enqueue(item);
            self.shared.head.notify(Events::IN | Events::RDNORM);
        }
    }

    /// epoll_wait(2): fills `out` and returns how many events those are; none
    /// only when the deadline has passed.
    ///
    /// # Errors
    /// `EINVAL` where `out` is empty; `EINTR`: it is never restarted.
    pub fn wait(&self, out: &mut [EpollEvent], deadline: Deadline) -> Result<usize> {
        if out.is_empty() {
            return Err(Errno::EINVAL);
        }
        let count = self.collect(out);
        if count > 0 || deadline.is_some_and(|deadline| deadline <= wait::now_ns()) {
            return Ok(count);
        }
        let waited =
            self.shared
                .head
                .wait_exclusive(Events::IN, deadline, || match self.collect(out) {
                    0 => None,
                    count => Some(count),
                });
        match waited {
            Ok(count) => Ok(count),
            Err(wait::WaitError::TimedOut) => Ok(0),
            Err(wait::WaitError::Interrupted) => Err(Errno::EINTR),
        }
    }

    /// Reports ready watches, each at most once.
    fn collect(&self, out: &mut [EpollEvent]) -> usize {
        let turns = self.shared.state.lock().ready.len();
        let mut count = 0;
        for _ in 0..turns {
            if count == out.len() {
                break;
            }
            let Some(item) = self.shared.dequeue() else {
                break;
            };
            let Some(file) = item.file.upgrade() else {
                continue;
            };
            let events = item.ready(&*file);
            if events.is_empty() {
                continue;
            }
            let data = item.data.load(Ordering::Acquire);
            out[count] = EpollEvent {
                events: events.bits(),
                data,
            };
            count += 1;
            let mask = item.mask();
            if mask.contains(Events::ONESHOT) {
                item.mask
                    .store(mask.intersection(HOW).bits(), Ordering::Release);
            } else if !mask.contains(Events::ET) {
                self.shared.enqueue(&item);
            }
        }
        if count > 0 && self.shared.head.is_watched() && self.shared.has_ready() {
            // What is left, or still ready, is for the next sleeper.
            self.shared.head.notify(Events::IN | Events::RDNORM);
        }
        count
    }
}

fn register(item: &Arc<Item>, head: &PollHead) {
    let mask = item.mask();
    let handle = if mask.contains(Events::EXCLUSIVE) {
        head.add_exclusive(mask, item.clone())
    } else {
        head.add(mask, item.clone())
    };
    *item.handle.lock() = Some(handle);
}

/// How many sets are in the longest chain from `set` down; `ELOOP` where
/// `forbidden` is among them.
fn depth_below(set: &Arc<Shared>, forbidden: &Arc<Shared>, depth: u32) -> Result<u32> {
    if Arc::ptr_eq(set, forbidden) || depth > MAX_DEPTH {
        return Err(Errno::ELOOP);
    }
    let files: Vec<_> = {
        let state = set.state.lock();
        state
            .items
            .iter()
            .flatten()
            .map(|item| item.file.clone())
            .collect()
    };
    let mut deepest = depth;
    for file in files.iter().filter_map(Weak::upgrade) {
        if let Some(nested) = file_as::<Epoll>(&file) {
            deepest = deepest.max(depth_below(&nested.shared, forbidden, depth + 1)?);
        }
    }
    Ok(deepest)
}

/// How many sets are in the longest chain from `set` up, itself included.
fn sets_above(set: &Arc<Shared>, depth: u32) -> u32 {
    if depth > MAX_DEPTH {
        return 1;
    }
    let watches: Vec<_> = set
        .watched_by
        .lock()
        .iter()
        .filter_map(Weak::upgrade)
        .collect();
    let above = watches
        .iter()
        .map(|item| sets_above(&item.shared, depth + 1));
    above.max().unwrap_or(0) + 1
}

impl Drop for Epoll {
    fn drop(&mut self) {
        let items = {
            let mut state = self.shared.state.lock();
            state.index.clear();
            core::mem::take(&mut state.items)
        };
        for item in items.into_iter().flatten() {
            item.unregister();
        }
        self.shared.state.lock().ready.clear();
    }
}

impl File for Epoll {
    fn poll(&self) -> Events {
        // The queue may hold watches that are no longer ready.
        let turns = self.shared.state.lock().ready.len();
        for _ in 0..turns {
            let Some(item) = self.shared.dequeue() else {
                break;
            };
            let Some(file) = item.file.upgrade() else {
                continue;
            };
            if !item.ready(&*file).is_empty() {
                self.shared.enqueue(&item);
                return Events::IN | Events::RDNORM;
            }
        }
        Events::empty()
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.shared.head)
    }

    fn label(&self) -> String {
        String::from("anon_inode:[eventpoll]")
    }
}
