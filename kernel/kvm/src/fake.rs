//! Stand-ins for tests: flat guest memory and a scripted processor.

use crate::backend::{Control, PassedMsr, SegmentName, VcpuBackend};
use crate::event::Event;
use crate::exit::Exit;
use crate::platform::{Backing, BackingFault, EventFile, Monitor, Nested, Platform, Ring};
use crate::translate::{GuestMemory, Missing};
use abi::Errno;
use hal::mem::{Account, Frame};
use std::boxed::Box;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::vec;
use std::vec::Vec;
use x86::cpuid::Answer;
use x86::segment::Segment;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Guest memory from address 0 on.
pub struct Ram(RefCell<Vec<u8>>);

impl Ram {
    /// `size` bytes of zero.
    pub fn new(size: usize) -> Self {
        Ram(RefCell::new(vec![0; size]))
    }

    /// Stores a value.
    pub fn put(&self, gpa: u64, value: impl IntoBytes + Immutable) {
        self.write(gpa, value.as_bytes())
            .expect("inside the fake memory");
    }
}

impl GuestMemory for Ram {
    fn read(&self, gpa: u64, bytes: &mut [u8]) -> Result<(), Missing> {
        let memory = self.0.borrow();
        let from = memory
            .get(gpa as usize..gpa as usize + bytes.len())
            .ok_or(Missing { gpa })?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn write(&self, gpa: u64, bytes: &[u8]) -> Result<(), Missing> {
        let mut memory = self.0.borrow_mut();
        let to = memory
            .get_mut(gpa as usize..gpa as usize + bytes.len())
            .ok_or(Missing { gpa })?;
        to.copy_from_slice(bytes);
        Ok(())
    }
}

/// An eventfd.
pub struct FakeEvent {
    count: AtomicU64,
    identity: u64,
    observers: Mutex<Vec<Weak<dyn Ring>>>,
}

impl FakeEvent {
    pub fn new() -> Arc<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Arc::new(FakeEvent {
            count: AtomicU64::new(0),
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            observers: Mutex::new(Vec::new()),
        })
    }
}

impl EventFile for FakeEvent {
    fn signal(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let observers: Vec<_> = self
            .observers
            .lock()
            .unwrap()
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for observer in observers {
            observer.ring();
        }
    }

    fn consume(&self) -> bool {
        self.count.swap(0, Ordering::Relaxed) != 0
    }

    fn subscribe(&self, observer: Weak<dyn Ring>) -> Box<dyn Send + Sync> {
        self.observers.lock().unwrap().push(observer.clone());
        Box::new(observer)
    }

    fn identity(&self) -> u64 {
        self.identity
    }
}

/// What a [`FakeHardware`] does at an entry: what the guest "executes" on the
/// registers, and the exit that ends it.
pub type Step = Box<dyn FnOnce(&mut FakeHardware) -> Exit + Send>;

/// A processor that plays a script.
#[derive(Default)]
pub struct FakeHardware {
    gprs: [u64; 16],
    rip: u64,
    rflags: u64,
    controls: BTreeMap<u8, u64>,
    segments: BTreeMap<u8, Segment>,
    passed: BTreeMap<u8, u64>,
    breakpoints: [u64; 4],
    cpl: u8,
    xcr0: u64,
    tsc_aux: u64,
    tsc_offset: u64,
    priority: u8,
    shadow: bool,
    injected: Option<Event>,
    /// The event whose delivery the next exit cuts short.
    pub interrupted: Option<Event>,
    /// What was delivered, in order.
    pub delivered: Vec<Event>,
    /// Exits asked for: window, task priority, NMI return.
    pub watched: [bool; 3],
    /// How often translations were flushed.
    pub flushes: usize,
    /// What happens at the next entries.
    pub script: VecDeque<Step>,
}

impl FakeHardware {
    /// Adds a step.
    pub fn then(&mut self, step: impl FnOnce(&mut FakeHardware) -> Exit + Send + 'static) {
        self.script.push_back(Box::new(step));
    }

    /// Adds an exit that changes nothing.
    pub fn exits(&mut self, exit: Exit) {
        self.then(move |_| exit);
    }
}

impl VcpuBackend for FakeHardware {
    fn gprs(&self) -> &[u64; 16] {
        &self.gprs
    }
    fn gprs_mut(&mut self) -> &mut [u64; 16] {
        &mut self.gprs
    }
    fn rip(&self) -> u64 {
        self.rip
    }
    fn set_rip(&mut self, rip: u64) {
        self.rip = rip;
    }
    fn rflags(&self) -> u64 {
        self.rflags
    }
    fn set_rflags(&mut self, rflags: u64) {
        self.rflags = rflags;
    }
    fn control(&self, register: Control) -> u64 {
        self.controls.get(&(register as u8)).copied().unwrap_or(0)
    }
    fn set_control(&mut self, register: Control, value: u64) {
        self.controls.insert(register as u8, value);
    }
    fn segment(&self, name: SegmentName) -> Segment {
        self.segments
            .get(&(name as u8))
            .copied()
            .unwrap_or_default()
    }
    fn set_segment(&mut self, name: SegmentName, segment: Segment) {
        self.segments.insert(name as u8, segment);
    }
    fn cpl(&self) -> u8 {
        self.cpl
    }
    fn set_cpl(&mut self, cpl: u8) {
        self.cpl = cpl;
    }
    fn passed_msr(&self, msr: PassedMsr) -> u64 {
        self.passed.get(&(msr as u8)).copied().unwrap_or(0)
    }
    fn set_passed_msr(&mut self, msr: PassedMsr, value: u64) {
        self.passed.insert(msr as u8, value);
    }
    fn breakpoints(&self) -> &[u64; 4] {
        &self.breakpoints
    }
    fn breakpoints_mut(&mut self) -> &mut [u64; 4] {
        &mut self.breakpoints
    }
    fn xcr0(&self) -> u64 {
        self.xcr0
    }
    fn set_xcr0(&mut self, value: u64) {
        self.xcr0 = value;
    }
    fn tsc_aux(&self) -> u64 {
        self.tsc_aux
    }
    fn set_tsc_aux(&mut self, value: u64) {
        self.tsc_aux = value;
    }
    fn tsc_offset(&self) -> u64 {
        self.tsc_offset
    }
    fn set_tsc_offset(&mut self, offset: u64) {
        self.tsc_offset = offset;
    }
    fn task_priority(&self) -> u8 {
        self.priority
    }
    fn set_task_priority(&mut self, priority: u8) {
        self.priority = priority & 0xF;
    }
    fn shadow(&self) -> bool {
        self.shadow
    }
    fn set_shadow(&mut self, shadow: bool) {
        self.shadow = shadow;
    }
    fn inject(&mut self, event: Event) {
        assert!(self.injected.is_none(), "two events at one entry");
        self.injected = Some(event);
    }
    fn cancel_injection(&mut self) {
        self.injected = None;
    }
    fn take_interrupted(&mut self) -> Option<Event> {
        self.interrupted.take()
    }
    fn watch_window(&mut self, on: bool) {
        self.watched[0] = on;
    }
    fn watch_task_priority(&mut self, on: bool) {
        self.watched[1] = on;
    }
    fn watch_nmi_return(&mut self, on: bool) {
        self.watched[2] = on;
    }
    fn watch_exceptions(&mut self, _vectors: u32) {}
    fn next_rip(&self) -> Option<u64> {
        None
    }
    fn fetched(&self) -> Option<([u8; 15], usize)> {
        None
    }
    fn flush(&mut self) {
        self.flushes += 1;
    }
    fn resumed(&mut self) {}
    fn enter(&mut self) -> Exit {
        self.delivered.extend(self.injected.take());
        match self.script.pop_front() {
            Some(step) => step(self),
            None => Exit::Unknown(0xF00D),
        }
    }
}

/// The platform of tests: the fake processor, and a signal for each test thread.
pub struct FakePlatform;

std::thread_local! {
    static SIGNALLED: Cell<bool> = const { Cell::new(false) };
}

/// Sends the calling thread a signal, or takes it back.
pub fn signal(on: bool) {
    SIGNALLED.set(on);
}

impl Platform for FakePlatform {
    type Hardware = FakeHardware;
    type Thread = ();

    fn hardware(_nested: &Nested, _account: &Account) -> Result<FakeHardware, Errno> {
        Ok(FakeHardware::default())
    }
    fn cpuid(function: u32, _index: u32) -> Answer {
        Answer {
            eax: if function == 0xD { 7 } else { 0 },
            ..Answer::default()
        }
    }
    fn tsc_is_stable() -> bool {
        true
    }
    fn tsc_khz() -> u64 {
        1_000_000
    }
    fn thread() {}
    fn interrupted((): &()) -> bool {
        SIGNALLED.get()
    }
    fn preempt() {}
}

/// An address space: pages appear when they are asked for, and can be taken.
pub struct FakeSpace {
    account: Account,
    pages: Mutex<BTreeMap<u64, Frame>>,
    /// Addresses from here on do not exist.
    pub end: u64,
}

impl FakeSpace {
    pub fn new(end: u64) -> Arc<Self> {
        let account = Account::kernel();
        Arc::new(FakeSpace {
            account,
            pages: Mutex::new(BTreeMap::new()),
            end,
        })
    }

    /// Takes a page away; `false` if it was not there.
    pub fn take(&self, address: u64) -> Option<Frame> {
        self.pages.lock().unwrap().remove(&address)
    }
}

impl Backing for Arc<FakeSpace> {
    fn frame(&self, address: u64, _write: bool) -> Result<(Frame, bool), BackingFault> {
        if address >= self.end {
            return Err(BackingFault::Denied);
        }
        let mut pages = self.pages.lock().unwrap();
        let frame = pages
            .entry(address)
            .or_insert_with(|| Frame::zeroed(&self.account).expect("memory for a test"));
        Ok((frame.clone(), true))
    }
}

/// A monitor whose memory is a buffer at address 0, with one eventfd.
pub struct FakeMonitor {
    memory: RefCell<Vec<u8>>,
    pub event: Arc<FakeEvent>,
}

impl FakeMonitor {
    pub fn new() -> Self {
        FakeMonitor {
            memory: RefCell::new(vec![0; 0x1_0000]),
            event: FakeEvent::new(),
        }
    }

    /// Puts a value at an address.
    pub fn put(&self, address: u64, value: &(impl IntoBytes + Immutable)) {
        self.write(address, value.as_bytes())
            .expect("inside the fake monitor");
    }

    /// The value at an address.
    pub fn get<T: FromBytes + IntoBytes>(&self, address: u64) -> T {
        let mut value = T::new_zeroed();
        self.read(address, value.as_mut_bytes())
            .expect("inside the fake monitor");
        value
    }
}

impl Monitor for FakeMonitor {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        let memory = self.memory.borrow();
        let range = address as usize..(address as usize).saturating_add(bytes.len());
        bytes.copy_from_slice(memory.get(range).ok_or(Errno::EFAULT)?);
        Ok(())
    }
    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        let mut memory = self.memory.borrow_mut();
        let range = address as usize..(address as usize).saturating_add(bytes.len());
        memory
            .get_mut(range)
            .ok_or(Errno::EFAULT)?
            .copy_from_slice(bytes);
        Ok(())
    }
    fn event(&self, fd: i32) -> Result<Arc<dyn EventFile>, Errno> {
        if fd == 3 {
            Ok(self.event.clone())
        } else {
            Err(Errno::EBADF)
        }
    }
}
