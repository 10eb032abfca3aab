//! [`EventFd`]: a counter that is waited for (eventfd(2)).
//!
//! The counter is one atomic word, so that interrupt injection and the exit path
//! of virtual CPUs signal it without a lock.

use abi::Errno;
use abi::event::Events;
use alloc::string::String;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};
use vfs::{File, Io, PollHead, Result, Sink, Source};

/// Largest value that writes may reach.
const MAX: u64 = u64::MAX - 1;

/// A counter that is waited for.
pub struct EventFd {
    count: AtomicU64,
    semaphore: bool,
    head: PollHead,
}

impl EventFd {
    /// A counter that starts at `initial`. With `semaphore` each read takes one.
    #[must_use]
    pub fn new(initial: u32, semaphore: bool) -> Arc<Self> {
        Arc::new(Self {
            count: AtomicU64::new(u64::from(initial)),
            semaphore,
            head: PollHead::new(),
        })
    }

    /// Adds `amount` and tells those who wait. Never blocks; an overflow stays at
    /// the largest number, which polls as an error.
    #[inline]
    pub fn add(&self, amount: u64) {
        // Almost never contended: one exchange in place of a loop of them.
        let mut count = self.count.load(Ordering::Relaxed);
        loop {
            let sum = count.saturating_add(amount);
            let swap =
                self.count
                    .compare_exchange_weak(count, sum, Ordering::AcqRel, Ordering::Relaxed);
            match swap {
                Ok(_) => break,
                Err(now) => count = now,
            }
        }
        self.head.notify(Events::IN);
    }

    /// Takes what a read would, without telling blocked writers: this is for
    /// observers, which run under the poll head's lock. Zero means nothing there.
    #[inline]
    pub fn take(&self) -> u64 {
        if !self.semaphore {
            return self.count.swap(0, Ordering::AcqRel);
        }
        let less_one = |count: u64| count.checked_sub(1);
        match self
            .count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, less_one)
        {
            Ok(_) => 1,
            Err(_) => 0,
        }
    }

    /// The counter.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Adds unless that exceeds the largest value.
    fn try_add(&self, amount: u64) -> bool {
        let sum = |count: u64| count.checked_add(amount).filter(|sum| *sum <= MAX);
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, sum)
            .is_ok()
    }
}

impl File for EventFd {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        if sink.room() < 8 {
            return Err(Errno::EINVAL);
        }
        let mut value = self.take();
        if value == 0 {
            if io.nonblock {
                return Err(Errno::EAGAIN);
            }
            value = self.head.wait(Events::IN, None, || match self.take() {
                0 => None,
                value => Some(value),
            })?;
        }
        self.head.notify(Events::OUT);
        // What could not be handed over stays to be read.
        sink.put(&value.to_ne_bytes())
            .inspect_err(|_| self.add(value))
    }

    fn write(&self, io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let mut bytes = [0; 8];
        if source.left() < 8 || source.take(&mut bytes)? != 8 {
            return Err(Errno::EINVAL);
        }
        let amount = u64::from_ne_bytes(bytes);
        if amount == u64::MAX {
            return Err(Errno::EINVAL);
        }
        if !self.try_add(amount) {
            if io.nonblock {
                return Err(Errno::EAGAIN);
            }
            self.head
                .wait(Events::OUT, None, || self.try_add(amount).then_some(()))?;
        }
        self.head.notify(Events::IN);
        Ok(8)
    }

    fn poll(&self) -> Events {
        let count = self.count();
        let mut events = Events::empty();
        events.set(Events::IN | Events::RDNORM, count > 0);
        events.set(Events::OUT | Events::WRNORM, count < MAX);
        events.set(Events::ERR, count == u64::MAX);
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(&self.head)
    }

    fn label(&self) -> String {
        String::from("anon_inode:[eventfd]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use vfs::{PollObserver, SliceSink, SliceSource};

    const NONBLOCK: Io = Io {
        offset: 0,
        nonblock: true,
        append: false,
    };

    fn read(file: &EventFd, mut io: Io) -> Result<u64> {
        let mut bytes = [0; 8];
        file.read(&mut io, &mut SliceSink::new(&mut bytes))?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn write(file: &EventFd, mut io: Io, value: u64) -> Result<usize> {
        file.write(&mut io, &mut SliceSource::new(&value.to_ne_bytes()))
    }

    #[test]
    fn a_read_takes_all_and_a_semaphores_one() {
        let plain = EventFd::new(2, false);
        write(&plain, NONBLOCK, 3).unwrap();
        assert_eq!(read(&plain, NONBLOCK), Ok(5));
        assert_eq!(read(&plain, NONBLOCK), Err(Errno::EAGAIN));
        let semaphore = EventFd::new(2, true);
        assert_eq!(read(&semaphore, NONBLOCK), Ok(1));
        assert_eq!(read(&semaphore, NONBLOCK), Ok(1));
        assert_eq!(read(&semaphore, NONBLOCK), Err(Errno::EAGAIN));
    }

    #[test]
    fn limits_are_those_of_the_manual() {
        let file = EventFd::new(0, false);
        assert_eq!(write(&file, NONBLOCK, u64::MAX), Err(Errno::EINVAL));
        write(&file, NONBLOCK, u64::MAX - 1).unwrap();
        assert_eq!(write(&file, NONBLOCK, 1), Err(Errno::EAGAIN));
        assert!(!file.poll().contains(Events::OUT));
        file.add(5);
        assert!(file.poll().contains(Events::ERR));
        let mut io = NONBLOCK;
        let short = file.read(&mut io, &mut SliceSink::new(&mut [0; 7]));
        assert_eq!(short, Err(Errno::EINVAL));
    }

    #[test]
    fn blocked_reader_and_writer_are_woken() {
        wait_host::install();
        let file = EventFd::new(0, false);
        let reader = {
            let file = file.clone();
            thread::spawn(move || read(&file, Io::default()))
        };
        wait_host::eventually(|| file.head.is_watched());
        write(&file, NONBLOCK, 7).unwrap();
        assert_eq!(reader.join().unwrap(), Ok(7));
        write(&file, NONBLOCK, MAX).unwrap();
        let writer = {
            let file = file.clone();
            thread::spawn(move || write(&file, Io::default(), 9))
        };
        wait_host::eventually(|| file.head.is_watched());
        assert_eq!(read(&file, NONBLOCK), Ok(MAX));
        assert_eq!(writer.join().unwrap(), Ok(8));
        assert_eq!(file.count(), 9);
    }

    struct Injector {
        file: Arc<EventFd>,
        injected: AtomicU64,
    }
    impl PollObserver for Injector {
        fn notify(&self, _events: Events) {
            self.injected.fetch_add(self.file.take(), Ordering::SeqCst);
        }
    }

    #[test]
    fn an_observer_may_take_the_count() {
        let file = EventFd::new(0, false);
        let observer = Arc::new(Injector {
            file: file.clone(),
            injected: AtomicU64::new(0),
        });
        let handle = file.head.add(Events::IN, observer.clone());
        file.add(1);
        write(&file, NONBLOCK, 2).unwrap();
        assert_eq!(observer.injected.load(Ordering::SeqCst), 3);
        assert_eq!(file.count(), 0);
        file.head.remove(handle);
    }
}
