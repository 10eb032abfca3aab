//! The kernel's heap: size classes with a free list per CPU, whole frames above.
//!
//! A size class takes frames and cuts them up; a freed object goes to the list
//! of the CPU that frees it, and full lists spill to a shared one in batches.
//! No object has a header: Rust tells the size when it frees.

use super::account::Account;
use super::physical::to_virtual;
use super::{Frame, PAGE_SIZE};
use crate::cpu::this_cpu;
use crate::layout::DIRECT_MAP;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr::null_mut;
use sync::SpinLock;

const CLASSES: [usize; 14] = [
    16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1360, 2048,
];
/// Class of a size in 16-byte steps.
static CLASS_OF: [u8; 129] = classes();
/// Objects a CPU keeps of a class before half of them go to the shared list.
const KEEP: usize = 64;

const fn classes() -> [u8; 129] {
    let mut table = [0; 129];
    let mut step = 0;
    let mut class = 0;
    while step <= 128 {
        while CLASSES[class] < step * 16 {
            class += 1;
        }
        table[step] = class as u8;
        step += 1;
    }
    table
}

/// A free object: a link to the next.
struct Free {
    next: *mut Free,
}

#[derive(Clone, Copy)]
struct List {
    head: *mut Free,
    count: usize,
}

// SAFETY: a list owns its objects; it is used by one CPU or under a lock.
unsafe impl Send for List {}

impl List {
    const EMPTY: Self = Self {
        head: null_mut(),
        count: 0,
    };

    #[inline]
    fn pop(&mut self) -> Option<*mut Free> {
        if self.head.is_null() {
            return None;
        }
        let object = self.head;
        // SAFETY: objects on a list are free memory holding a valid link.
        self.head = unsafe { (*object).next };
        self.count -= 1;
        Some(object)
    }

    /// # Safety
    /// `object` is free memory of this list's class, owned by the caller.
    #[inline]
    unsafe fn push(&mut self, object: *mut Free) {
        // SAFETY: as the caller says.
        unsafe { (*object).next = self.head };
        self.head = object;
        self.count += 1;
    }
}

/// One CPU's lists.
pub(crate) struct CpuHeap {
    lists: [Cell<List>; CLASSES.len()],
}

impl CpuHeap {
    pub(crate) const fn new() -> Self {
        Self {
            lists: [const { Cell::new(List::EMPTY) }; CLASSES.len()],
        }
    }
}

static SHARED: [SpinLock<List>; CLASSES.len()] =
    [const { SpinLock::new(List::EMPTY) }; CLASSES.len()];

struct Heap;

#[global_allocator]
static HEAP: Heap = Heap;

fn class_of(layout: &Layout) -> Option<usize> {
    let size = layout.size().max(layout.align());
    if size > 2048 {
        return None;
    }
    // Objects of a class are aligned to the class's size only where that is a
    // power of two, so large alignments go there.
    let size = if layout.align() > 16 {
        size.next_power_of_two()
    } else {
        size
    };
    Some(usize::from(CLASS_OF[size.div_ceil(16)]))
}

fn order_of(layout: &Layout) -> u8 {
    layout
        .size()
        .max(layout.align())
        .div_ceil(PAGE_SIZE)
        .next_power_of_two()
        .trailing_zeros() as u8
}

// SAFETY: objects are handed out once until freed; sizes and alignments are
// those of the class or of whole frames.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(class) = class_of(&layout) else {
            return alloc_frames(&layout);
        };
        let cell = &this_cpu().memory.heap.lists[class];
        let mut list = cell.get();
        if let Some(object) = list.pop() {
            cell.set(list);
            return object.cast();
        }
        refill(class)
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let Some(class) = class_of(&layout) else {
            // SAFETY: `alloc_frames` made it from `into_raw`; Rust frees once.
            drop(unsafe { Frame::from_raw(pointer as u64 - DIRECT_MAP) });
            return;
        };
        let cell = &this_cpu().memory.heap.lists[class];
        let mut list = cell.get();
        // SAFETY: the object came from this class and is the caller's to free.
        unsafe { list.push(pointer.cast()) };
        if list.count > KEEP {
            spill(class, &mut list);
        }
        cell.set(list);
    }
}

fn alloc_frames(layout: &Layout) -> *mut u8 {
    let account = Account::kernel();
    match super::frames::take(order_of(layout), account.index()) {
        Ok(number) => to_virtual(u64::from(number) * PAGE_SIZE as u64),
        Err(_) => null_mut(),
    }
}

/// Takes objects from the shared list, or cuts up a frame; returns one.
#[cold]
fn refill(class: usize) -> *mut u8 {
    let cell = &this_cpu().memory.heap.lists[class];
    let mut list = cell.get();
    {
        let mut shared = SHARED[class].lock();
        while list.count < KEEP / 2
            && let Some(object) = shared.pop()
        {
            // SAFETY: objects of the shared list are free and of this class.
            unsafe { list.push(object) };
        }
    }
    if list.head.is_null() {
        let Ok(frame) = Frame::alloc(&Account::kernel()) else {
            return null_mut();
        };
        let page = to_virtual(frame.into_raw());
        let size = CLASSES[class];
        for index in (0..PAGE_SIZE / size).rev() {
            // SAFETY: the page was just taken from the frame allocator; the
            // pieces do not overlap.
            unsafe { list.push(page.add(index * size).cast()) };
        }
    }
    let object = list.pop();
    cell.set(list);
    object.map_or(null_mut(), |object| object.cast())
}

#[cold]
fn spill(class: usize, list: &mut List) {
    let mut shared = SHARED[class].lock();
    while list.count > KEEP / 2
        && let Some(object) = list.pop()
    {
        // SAFETY: the object was on a list of this class.
        unsafe { shared.push(object) };
    }
}
