//! [`RandomDevice`]: random bytes from the host's generator (random(4)).

use abi::Errno;
use abi::event::Events;
use alloc::string::String;
use alloc::sync::Arc;
use vfs::{File, Io, PollHead, Result, Sink, Source};

/// The host's generator of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills `into`; good for keys once [`Entropy::is_seeded`].
    fn fill(&self, into: &mut [u8]);
    /// Has it been seeded?
    fn is_seeded(&self) -> bool;
    /// Who waits for it to be seeded; notified with `IN` when it is.
    fn head(&self) -> &PollHead;
    /// Stirs bytes of a program in; they count for nothing.
    fn stir(&self, bytes: &[u8]);
}

/// Random bytes.
pub struct RandomDevice {
    entropy: Arc<dyn Entropy>,
    /// Wait until it is seeded?
    waits: bool,
}

/// Bytes made at once.
const CHUNK: usize = 128;

impl RandomDevice {
    /// `/dev/random` (`waits`) or `/dev/urandom`.
    #[must_use]
    pub fn new(entropy: Arc<dyn Entropy>, waits: bool) -> Arc<Self> {
        Arc::new(Self { entropy, waits })
    }

    /// getrandom(2): fills `sink`, after waiting for the seed unless `insecure`.
    ///
    /// # Errors
    /// `EAGAIN` with `nonblock` before there is a seed; `ERESTART`; `EFAULT`.
    pub fn random_bytes(
        entropy: &dyn Entropy,
        sink: &mut dyn Sink,
        nonblock: bool,
        insecure: bool,
    ) -> Result<usize> {
        if !insecure && !entropy.is_seeded() {
            if nonblock {
                return Err(Errno::EAGAIN);
            }
            entropy
                .head()
                .wait(Events::IN, None, || entropy.is_seeded().then_some(()))?;
        }
        let mut done = 0;
        let mut bytes = [0; CHUNK];
        while sink.room() > 0 {
            let part = &mut bytes[..sink.room().min(CHUNK)];
            entropy.fill(part);
            match sink.put(part) {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
            // Long reads end at a signal, but not before they gave something.
            if done >= 4096 && wait::interrupted() {
                break;
            }
        }
        Ok(done)
    }
}

impl File for RandomDevice {
    fn read(&self, io: &mut Io, sink: &mut dyn Sink) -> Result<usize> {
        Self::random_bytes(&*self.entropy, sink, io.nonblock, !self.waits)
    }

    fn write(&self, _io: &mut Io, source: &mut dyn Source) -> Result<usize> {
        let mut done = 0;
        let mut bytes = [0; CHUNK];
        while source.left() > 0 {
            let count = source.take(&mut bytes)?;
            self.entropy.stir(&bytes[..count]);
            done += count;
        }
        Ok(done)
    }

    fn poll(&self) -> Events {
        let mut events = Events::OUT | Events::WRNORM;
        events.set(
            Events::IN | Events::RDNORM,
            !self.waits || self.entropy.is_seeded(),
        );
        events
    }

    fn poll_head(&self) -> Option<&PollHead> {
        Some(self.entropy.head())
    }

    fn label(&self) -> String {
        String::from(if self.waits {
            "/dev/random"
        } else {
            "/dev/urandom"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::sync::atomic::{AtomicBool, Ordering};
    use std::thread;
    use vfs::VecSink;

    struct Counter {
        seeded: AtomicBool,
        head: PollHead,
    }
    impl Entropy for Counter {
        fn fill(&self, into: &mut [u8]) {
            into.fill(7);
        }
        fn is_seeded(&self) -> bool {
            self.seeded.load(Ordering::SeqCst)
        }
        fn head(&self) -> &PollHead {
            &self.head
        }
        fn stir(&self, _bytes: &[u8]) {}
    }

    #[test]
    fn random_waits_for_the_seed_and_urandom_does_not() {
        wait_host::install();
        let entropy = Arc::new(Counter {
            seeded: AtomicBool::new(false),
            head: PollHead::new(),
        });
        let random = RandomDevice::new(entropy.clone(), true);
        let urandom = RandomDevice::new(entropy.clone(), false);
        let mut nonblock = Io {
            nonblock: true,
            ..Io::default()
        };
        let mut sink = VecSink::new(300);
        assert_eq!(random.read(&mut nonblock, &mut sink), Err(Errno::EAGAIN));
        assert_eq!(urandom.read(&mut nonblock, &mut sink), Ok(300));
        let reader = thread::spawn(move || random.read(&mut Io::default(), &mut VecSink::new(5)));
        wait_host::eventually(|| entropy.head.is_watched());
        entropy.seeded.store(true, Ordering::SeqCst);
        entropy.head.notify(Events::IN);
        assert_eq!(reader.join().unwrap(), Ok(5));
    }
}
