//! /dev/kvm, VMs and vCPUs as files: [`register`]. Everything else in this crate
//! knows the monitor only through [`crate::platform`]; here that is joined to
//! address spaces, descriptors and eventfds.

use crate::memory::VmMemory;
use crate::platform::{Backing, BackingFault, EventFile, Monitor, Platform, Ring};
use crate::shared::VcpuShared;
use crate::system;
use crate::vcpu::Vcpu;
use crate::vm::Vm;
use abi::Errno;
use abi::fs::makedev;
use abi::kvm;
use abi::kvm_run::MMAP_SIZE;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use core::marker::PhantomData;
use core::ops::Range;
use hal::mem::Frame;
use ipc::EventFd;
use mem::{Access, Space};
use pages::{FaultError, MemoryObject, next_object_id};
use vfs::{Caller, Device, Events, File, OpenFile, OpenFlags};
use wait::{PollHandle, PollObserver};

/// Major and minor number of /dev/kvm.
pub const NUMBER: (u32, u32) = (10, 232);
const PAGE: u64 = hal::mem::PAGE_SIZE as u64;

/// Makes /dev/kvm openable.
pub fn register<P: Platform>() {
    let device = Arc::new(KvmDevice::<P>(PhantomData));
    vfs::device::register(false, makedev(NUMBER.0, NUMBER.1), device);
}

/// /dev/kvm.
struct KvmDevice<P>(PhantomData<P>);

impl<P: Platform> Device for KvmDevice<P> {
    fn open(
        &self,
        _flags: OpenFlags,
        _caller: Option<&dyn Caller>,
    ) -> Result<Arc<dyn File>, Errno> {
        Ok(Arc::new(SystemFile::<P>(PhantomData)))
    }
}

/// /dev/kvm, opened.
struct SystemFile<P>(PhantomData<P>);

impl<P: Platform> File for SystemFile<P> {
    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        if command != kvm::CREATE_VM {
            return system::request::<P>(&Asking(caller), command, argument);
        }
        // The argument is the machine type; there is one.
        if argument != 0 {
            return Err(Errno::EINVAL);
        }
        let space = space_of(caller)?;
        let vm = Vm::<P>::new(Arc::new(Behind(space.clone())), caller.account())?;
        let observer: Weak<dyn mem::Invalidate> =
            Arc::downgrade(&vm.memory) as Weak<dyn mem::Invalidate>;
        space.add_observer(observer).map_err(|_| Errno::ENOMEM)?;
        install(caller, Arc::new(VmFile { vm, space }))
    }

    fn label(&self) -> String {
        String::from("/dev/kvm")
    }
}

fn space_of(caller: &dyn Caller) -> Result<Arc<Space>, Errno> {
    caller
        .space()
        .downcast::<Space>()
        .map_err(|_| Errno::EINVAL)
}

fn install(caller: &dyn Caller, file: Arc<dyn File>) -> Result<u64, Errno> {
    let open = OpenFile::new(file, OpenFlags::RDWR);
    caller.install(open, true).map(|fd| fd as u64)
}

/// A VM.
struct VmFile<P: Platform> {
    vm: Arc<Vm<P>>,
    space: Arc<Space>,
}

impl<P: Platform> File for VmFile<P> {
    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        // Addresses in requests mean the memory of the program that made the VM.
        if !Arc::ptr_eq(&space_of(caller)?, &self.space) {
            return Err(Errno::EIO);
        }
        if command != kvm::CREATE_VCPU {
            return self.vm.request(&Asking(caller), command, argument);
        }
        let id = u32::try_from(argument).map_err(|_| Errno::EINVAL)?;
        let (vcpu, shared) = Vcpu::new(&self.vm, id)?;
        let pages = Arc::new(VcpuPages {
            shared,
            id: next_object_id(),
        });
        install(
            caller,
            Arc::new(VcpuFile {
                vcpu: wait::Mutex::new(vcpu),
                pages,
            }),
        )
    }

    fn label(&self) -> String {
        String::from("anon_inode:kvm-vm")
    }
}

/// A vCPU.
struct VcpuFile<P: Platform> {
    vcpu: wait::Mutex<Vcpu<P>>,
    pages: Arc<VcpuPages>,
}

impl<P: Platform> File for VcpuFile<P> {
    #[inline]
    fn ioctl(&self, caller: &dyn Caller, command: u32, argument: u64) -> Result<u64, Errno> {
        self.vcpu.lock().request(&Asking(caller), command, argument)
    }

    fn mmap(&self) -> Result<Arc<dyn MemoryObject>, Errno> {
        Ok(self.pages.clone())
    }

    fn label(&self) -> String {
        String::from("anon_inode:kvm-vcpu")
    }
}

/// The pages that a vCPU shares with its monitor, to be mapped.
struct VcpuPages {
    shared: Arc<VcpuShared>,
    id: u64,
}

impl MemoryObject for VcpuPages {
    fn page(&self, index: u64, _write: bool) -> Result<Frame, FaultError> {
        self.shared.page.frame(index).ok_or(FaultError::BusError)
    }

    fn writes_in_place(&self) -> bool {
        true
    }

    fn id(&self) -> u64 {
        self.id
    }

    fn len_pages(&self) -> u64 {
        MMAP_SIZE as u64 / PAGE
    }
}

/// An address space behind a VM's slots.
struct Behind(Arc<Space>);

impl Backing for Behind {
    fn frame(&self, address: u64, write: bool) -> Result<(Frame, bool), BackingFault> {
        let access = if write { Access::Write } else { Access::Read };
        self.0
            .frame_for(address, access)
            .map_err(|error| match error {
                mem::FaultError::OutOfMemory => BackingFault::OutOfMemory,
                _ => BackingFault::Denied,
            })
    }
}

impl mem::Invalidate for VmMemory {
    fn invalidate(&self, range: Range<u64>) {
        VmMemory::invalidate(self, range);
    }
}

/// The calling program.
struct Asking<'a>(&'a dyn Caller);

impl Monitor for Asking<'_> {
    fn read(&self, address: u64, bytes: &mut [u8]) -> Result<(), Errno> {
        self.0.read_user(address, bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.0.write_user(address, bytes)
    }

    fn event(&self, fd: i32) -> Result<Arc<dyn EventFile>, Errno> {
        let file = self.0.file(fd)?;
        let event = file.file_as::<EventFd>().ok_or(Errno::EINVAL)?;
        Ok(Arc::new(Tied(event)))
    }
}

/// An eventfd that a VM signals or listens to.
struct Tied(Arc<EventFd>);

impl EventFile for Tied {
    #[inline]
    fn signal(&self) {
        self.0.add(1);
    }

    fn consume(&self) -> bool {
        self.0.take() != 0
    }

    fn subscribe(&self, observer: Weak<dyn Ring>) -> Box<dyn Send + Sync> {
        let handle = self
            .0
            .poll_head()
            .map(|head| head.add(Events::IN, Arc::new(Told(observer))));
        Box::new(Subscription {
            event: self.0.clone(),
            handle,
        })
    }

    fn identity(&self) -> u64 {
        Arc::as_ptr(&self.0) as u64
    }
}

/// Passes an eventfd's notification on.
struct Told(Weak<dyn Ring>);

impl PollObserver for Told {
    fn notify(&self, _events: Events) {
        if let Some(observer) = self.0.upgrade() {
            observer.ring();
        }
    }
}

/// Ends the observation when dropped.
struct Subscription {
    event: Arc<EventFd>,
    handle: Option<PollHandle>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let (Some(head), Some(handle)) = (self.event.poll_head(), self.handle) {
            head.remove(handle);
        }
    }
}
