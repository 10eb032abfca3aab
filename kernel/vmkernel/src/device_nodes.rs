//! /dev: the nodes of all devices, and what stands behind those that need no
//! driver.

use crate::{console, devices, messages, random, virtualization};
use alloc::string::String;
use alloc::sync::Arc;
use devfs::{Entropy, KernelLog, Nodes, Record};
use hal::mem::Account;
use kernel_log::{Cursor, Line};
use log::Level;
use sync::{Once, SpinLock};
use tmpfs::{Limits, TmpFs};
use vfs::{Credentials, Follow, FsContext, MountFlags, PollHead};

struct HostEntropy;

static SEEDED: PollHead = PollHead::new();

impl Entropy for HostEntropy {
    fn fill(&self, into: &mut [u8]) {
        random::fill(into);
    }

    fn is_seeded(&self) -> bool {
        random::is_seeded()
    }

    fn head(&self) -> &PollHead {
        &SEEDED
    }

    fn stir(&self, bytes: &[u8]) {
        random::stir(bytes);
    }
}

/// Those who wait for the generator to be seeded go on.
pub fn seeded() {
    SEEDED.notify(vfs::Events::IN);
}

struct Log;

static MESSAGES: PollHead = PollHead::new();
/// Where the last read ended: readers ask for one record after the other.
static LAST: Once<SpinLock<Cursor>> = Once::new();

impl KernelLog for Log {
    fn record(&self, sequence: u64) -> Option<Record> {
        let last = LAST.get().or_else(|| {
            let _ = LAST.set(SpinLock::new(Cursor::default()));
            LAST.get()
        })?;
        let mut cursor = *last.lock();
        if cursor.sequence() > sequence {
            cursor = Cursor::default();
        }
        loop {
            let entry = kernel_log::read(&mut cursor)?;
            if entry.sequence >= sequence {
                *last.lock() = cursor;
                return Some(Record {
                    sequence: entry.sequence,
                    level: entry.severity(),
                    time_us: entry.time_ns / 1000,
                    text: String::from(entry.text.as_str()),
                });
            }
        }
    }

    fn add(&self, level: u8, text: &str) {
        let level = match level {
            0..=3 => Level::Error,
            4 => Level::Warn,
            5 | 6 => Level::Info,
            _ => Level::Debug,
        };
        kernel_log::write(level, Line::format(format_args!("{text}")));
    }

    fn head(&self) -> &PollHead {
        &MESSAGES
    }
}

/// Mounts /dev and fills it.
pub fn init(fs: &Arc<FsContext>) {
    let (entropy, log): (Arc<dyn Entropy>, Arc<dyn KernelLog>) =
        (Arc::new(HostEntropy), Arc::new(Log));
    devfs::register(&entropy, &log);
    messages::set_arrival_hook(|| MESSAGES.notify(vfs::Events::IN));
    if let Err(error) = make_nodes(fs) {
        log::error!("/dev is not complete: {error}");
    }
}

fn make_nodes(fs: &Arc<FsContext>) -> vfs::Result<()> {
    let credentials = Credentials::root();
    let view = fs.view(&credentials, None);
    let root = view.root.clone();
    match view.make_dir(&root, b"/dev", 0o755) {
        Ok(_) | Err(vfs::Errno::EEXIST) => {}
        Err(error) => return Err(error),
    }
    let place = view.resolve(&root, b"/dev", Follow::Last)?;
    let files = TmpFs::named("devtmpfs", &Account::kernel(), &Limits::none(), 0o755)?;
    fs.namespace().mount(files, place, MountFlags::empty())?;
    let dir = view.resolve(&root, b"/dev", Follow::Last)?;
    devfs::populate(&view, &dir)?;
    let nodes = Nodes::new(&view, dir);
    nodes.add("ttyS0", false, console::SERIAL, 0o620)?;
    if devices::CONSOLE.get().is_some() {
        nodes.add("hvc0", false, console::VIRTIO, 0o620)?;
    }
    for (index, name) in devices::disk_names().iter().enumerate() {
        nodes.add(name, true, devices::disk_number(index), 0o660)?;
    }
    if let Some(rdev) = virtualization::device_number() {
        nodes.add("kvm", false, rdev, 0o660)?;
    }
    Ok(())
}
