//! A plugin of QEMU that counts instructions by kind, and by place if asked to.
//!
//! icount prices VMRUN or XSAVE like a NOP; this says how many of them there were. Between the marks of the crate
//! `stopwatch` it counts. When a measurement is over it writes its last round: `span vmrun=1 ... rep=512`, and with
//! `places=on` lines `address count`. With `all=on` there are `all=N`, everything that was executed, and `guest=N`,
//! what of it was executed between VMRUN and the exit. With `entry=ADDRESS` it counts from there on.
//!
//! QEMU's interface is its `qemu-plugin.h`, version 1: `-plugin file=libop_counter.so,out=FILE`. Neighbour:
//! [`kind`], which tells instructions apart.

#![expect(unsafe_code)]
// UNSAFETY: QEMU's plugin interface is C; see `plugin`.

mod kind;
mod plugin;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kind::{KINDS, Kind};

/// A counter that translated code adds to. Never freed: translated code has its address.
type Counter = &'static AtomicU64;

/// What the plugin was asked for, and what it counts.
struct Counting {
    out: Option<File>,
    by_place: bool,
    counts_all: bool,
    entry: Option<u64>,
    /// Where the host goes on when a guest has exited.
    returns: BTreeSet<u64>,
    /// What [`ALL`] was when a guest was entered, while it runs.
    entered: Option<u64>,
    places: BTreeMap<u64, Counter>,
    round: String,
}

/// Executions by kind.
static BY_KIND: [AtomicU64; KINDS.len()] = [const { AtomicU64::new(0) }; KINDS.len()];
/// All executions, and those in guests.
static ALL: AtomicU64 = AtomicU64::new(0);
static GUEST: AtomicU64 = AtomicU64::new(0);
static COUNTING: Mutex<Counting> = Mutex::new(Counting {
    out: None,
    by_place: false,
    counts_all: false,
    entry: None,
    returns: BTreeSet::new(),
    entered: None,
    places: BTreeMap::new(),
    round: String::new(),
});

impl Counting {
    /// Takes one option, `name=value`.
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "out" => {
                let file = File::create(value);
                self.out = Some(file.map_err(|error| format!("cannot write {value}: {error}"))?);
            }
            "places" => self.by_place = value == "on",
            "all" => self.counts_all = value == "on",
            "entry" => {
                let digits = value.trim_start_matches("0x");
                let address = u64::from_str_radix(digits, 16);
                self.entry = Some(address.map_err(|_| format!("entry={value} is no address"))?);
            }
            _ => {
                return Err(format!(
                    "{option} is unknown; there are out, places, all and entry"
                ));
            }
        }
        Ok(())
    }

    /// The counter of the instructions at `address`.
    fn place(&mut self, address: u64) -> Counter {
        self.places
            .entry(address)
            .or_insert_with(|| Box::leak(Box::new(AtomicU64::new(0))))
    }

    /// Forgets what was counted.
    fn begin(&mut self) {
        let all = BY_KIND.iter().chain([&ALL, &GUEST]);
        let all = all.chain(self.places.values().copied());
        all.for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// Remembers what was counted.
    fn end(&mut self) {
        let mut text = "span".to_owned();
        for (name, counter) in KINDS.iter().zip(&BY_KIND) {
            text.push_str(&format!(" {name}={}", counter.load(Ordering::Relaxed)));
        }
        if self.counts_all {
            let [all, guest] = [&ALL, &GUEST].map(|counter| counter.load(Ordering::Relaxed));
            text.push_str(&format!(" all={all} guest={guest}"));
        }
        text.push('\n');
        for (address, counter) in &self.places {
            match counter.load(Ordering::Relaxed) {
                0 => {}
                count => text.push_str(&format!("{address:x} {count}\n")),
            }
        }
        self.round = text;
    }

    /// Writes what was counted in the last round.
    fn publish(&mut self) {
        let text = std::mem::take(&mut self.round);
        self.write(&text);
    }

    /// The first instruction at `entry` is about to run.
    fn started(&mut self) {
        if self.entry.take().is_some() {
            self.begin();
        }
    }

    /// A guest is entered.
    fn enter(&mut self) {
        self.entered = Some(ALL.load(Ordering::Relaxed));
    }

    /// The host goes on.
    fn leave(&mut self) {
        if let Some(before) = self.entered.take() {
            // A round may have begun in the guest.
            let executed = ALL.load(Ordering::Relaxed).saturating_sub(before);
            GUEST.fetch_add(executed, Ordering::Relaxed);
        }
    }

    fn write(&mut self, text: &str) {
        // QEMU may end by `_exit`, so nothing is kept back. A full disk shows as missing lines.
        if let Some(out) = &mut self.out {
            let _ = out.write_all(text.as_bytes());
        }
    }
}
