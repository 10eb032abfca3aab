//! A byte-level model of address spaces, and the two run side by side.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::prelude::rust_2024::*;
use std::rc::Rc;
use std::sync::Arc;
use std::{format, vec};

use abi::Errno;
use hal::mem::{Account, Prot};

use super::{File, Guest, observe};
use crate::{Access, Advice, AreaInfo, MapFlags, MapKind, PAGE, RemapFlags, Space};

/// Where the model's addresses begin, in the middle of nowhere.
pub(super) const BASE: u64 = 0x4000_0000_0000 - 0x8000;
/// Pages it looks at. The region crosses a boundary of every table level.
pub(super) const PAGES: u64 = 16;
pub(super) const FILE_PAGES: u64 = 6;

type Bytes = Rc<RefCell<Vec<u8>>>;

/// What is behind a page.
#[derive(Clone)]
enum Content {
    /// Private bytes.
    Own(Vec<u8>),
    /// A page of something shared, read-only if the mapping is private.
    Of(Rc<Vec<Bytes>>, usize, bool),
}

#[derive(Clone)]
struct Page {
    prot: Prot,
    content: Content,
    /// What DONTNEED makes it again.
    original: Content,
}

/// Steps that both sides take. Addresses are page numbers from [`BASE`].
#[derive(Clone, Debug)]
pub(super) enum Step {
    Map {
        page: u64,
        len: u64,
        prot: u8,
        kind: u8,
        offset: u64,
    },
    Unmap {
        page: u64,
        len: u64,
    },
    Protect {
        page: u64,
        len: u64,
        prot: u8,
    },
    Write {
        at: u64,
        len: u64,
        value: u8,
    },
    Read {
        at: u64,
        len: u64,
    },
    Fork,
    Drop {
        which: usize,
    },
    Switch {
        which: usize,
        active: bool,
    },
    DontNeed {
        page: u64,
        len: u64,
        free: bool,
    },
    Remap {
        page: u64,
        len: u64,
        new: u64,
        to: u64,
    },
    GuestTouch {
        page: u64,
        write: bool,
        value: u8,
    },
}

struct Pair {
    space: Arc<Space>,
    guest: Arc<Guest>,
    pages: BTreeMap<u64, Page>,
}

/// The real spaces and their models.
pub(super) struct World {
    pairs: Vec<Pair>,
    current: usize,
    account: Account,
    file: Arc<File>,
    file_bytes: Rc<Vec<Bytes>>,
    /// A step may fail for lack of memory; then nothing has changed.
    pub(super) may_fail: bool,
    pub(super) failures: usize,
}

fn prot_of(bits: u8) -> Prot {
    [
        Prot::NONE,
        Prot::READ,
        Prot::READ | Prot::WRITE,
        Prot::READ | Prot::EXEC,
    ][bits as usize % 4]
}

fn addr(page: u64) -> u64 {
    BASE + page * PAGE
}

fn zeros() -> Vec<u8> {
    vec![0; PAGE as usize]
}

impl World {
    pub(super) fn new(account: &Account) -> Option<Self> {
        let file = File::new(7, FILE_PAGES, FILE_PAGES, account);
        let page = |n: u64| Rc::new(RefCell::new(vec![n as u8 + 1; PAGE as usize]));
        let file_bytes = Rc::new((0..FILE_PAGES).map(page).collect());
        let mut world = Self {
            pairs: Vec::new(),
            current: 0,
            account: account.clone(),
            file,
            file_bytes,
            may_fail: false,
            failures: 0,
        };
        let space = Space::new(account).ok()?;
        world.add(space, BTreeMap::new());
        Some(world)
    }

    fn add(&mut self, space: Arc<Space>, pages: BTreeMap<u64, Page>) {
        let guest = observe(&space);
        self.pairs.push(Pair {
            space,
            guest,
            pages,
        });
    }

    fn pair(&mut self) -> &mut Pair {
        &mut self.pairs[self.current]
    }

    /// Compares a result with the model's, unless memory ran out. True if the
    /// step was done.
    fn agree<T: std::fmt::Debug + PartialEq>(
        &mut self,
        real: Result<T, Errno>,
        model: Result<T, Errno>,
    ) -> bool {
        if self.may_fail && real == Err(Errno::ENOMEM) && model != Err(Errno::ENOMEM) {
            self.failures += 1;
            return false;
        }
        assert_eq!(real, model);
        true
    }

    pub(super) fn take(&mut self, step: &Step) {
        match *step {
            Step::Map {
                page,
                len,
                prot,
                kind,
                offset,
            } => self.map(page, len, prot, kind, offset),
            Step::Unmap { page, len } => self.unmap(page, len),
            Step::Protect { page, len, prot } => self.protect(page, len, prot_of(prot)),
            Step::Write { at, len, value } => self.write(at, len, value),
            Step::Read { at, len } => self.read(at, len),
            Step::Fork => self.fork(),
            Step::Drop { which } => self.drop_one(which),
            Step::Switch { which, active } => {
                self.current = which % self.pairs.len();
                if active {
                    self.pair().space.activate();
                }
            }
            Step::DontNeed { page, len, free } => self.dont_need(page, len, free),
            Step::Remap { page, len, new, to } => self.remap(page, len, new, to),
            Step::GuestTouch { page, write, value } => self.guest_touch(page, write, value),
        }
    }

    fn map(&mut self, page: u64, len: u64, prot: u8, kind: u8, offset: u64) {
        let prot = prot_of(prot);
        let (what, contents): (MapKind, Vec<Content>) = match kind % 4 {
            0 => (
                MapKind::Anonymous { shared: false },
                (0..len).map(|_| Content::Own(zeros())).collect(),
            ),
            1 => {
                let bytes = (0..len).map(|_| Rc::new(RefCell::new(zeros()))).collect();
                let bytes: Rc<Vec<Bytes>> = Rc::new(bytes);
                let content = |n| Content::Of(bytes.clone(), n, true);
                (
                    MapKind::Anonymous { shared: true },
                    (0..len as usize).map(content).collect(),
                )
            }
            kind => {
                let offset = offset.min(FILE_PAGES);
                let shared = kind == 2;
                let content = |n| Content::Of(self.file_bytes.clone(), n as usize, shared);
                let contents = (offset..offset + len).map(content).collect();
                (self.file.kind(offset, shared), contents)
            }
        };
        let real = self
            .pair()
            .space
            .mmap(addr(page), len * PAGE, prot, what, MapFlags::FIXED);
        if self.agree(real, Ok(addr(page))) {
            for (number, content) in (page..).zip(contents) {
                let original = content.clone();
                self.pair().pages.insert(
                    number,
                    Page {
                        prot,
                        content,
                        original,
                    },
                );
            }
        }
    }

    fn unmap(&mut self, page: u64, len: u64) {
        let real = self.pair().space.munmap(addr(page), len * PAGE);
        if self.agree(real, Ok(())) {
            self.pair()
                .pages
                .retain(|number, _| !(page..page + len).contains(number));
        }
    }

    fn protect(&mut self, page: u64, len: u64, prot: Prot) {
        let real = self.pair().space.mprotect(addr(page), len * PAGE, prot);
        let pages = &self.pairs[self.current].pages;
        let end = (page..page + len).find(|number| !pages.contains_key(number));
        let model = if end.is_some() {
            Err(Errno::ENOMEM)
        } else {
            Ok(())
        };
        if self.may_fail && end.is_some() {
            // Which of the two reasons it was cannot be told apart; the range
            // before the gap may or may not have changed.
            self.forget_protection(page, len);
            return;
        }
        if self.agree(real, model) {
            for number in page..end.unwrap_or(page + len) {
                self.pair().pages.get_mut(&number).unwrap().prot = prot;
            }
        }
    }

    /// The listing of the real space, whatever is to fail.
    fn areas(&mut self) -> Vec<AreaInfo> {
        let space = self.pair().space.clone();
        hal::inject::suspended(|| space.areas().unwrap())
    }

    /// Learns from the listing what the protection is.
    fn forget_protection(&mut self, page: u64, len: u64) {
        let areas = self.areas();
        for number in page..page + len {
            if let Some(known) = self.pair().pages.get_mut(&number) {
                let area = areas.iter().find(|area| area.range.contains(&addr(number)));
                known.prot = area.unwrap().prot;
            }
        }
    }

    /// The model's write: how many bytes it stores before it fails.
    fn model_write(&mut self, at: u64, len: u64, value: u8) -> Result<(), Errno> {
        for byte in at..at + len {
            let page = self.pair().pages.get_mut(&(byte / PAGE));
            let page = page
                .filter(|page| page.prot.contains(Prot::WRITE))
                .ok_or(Errno::EFAULT)?;
            page.store((byte % PAGE) as usize, value)?;
        }
        Ok(())
    }

    fn write(&mut self, at: u64, len: u64, value: u8) {
        let data = vec![value; len as usize];
        let real = self.pair().space.write(BASE + at, &data);
        if self.may_fail && real == Err(Errno::ENOMEM) {
            self.failures += 1;
            return;
        }
        let model = self.model_write(at, len, value);
        assert_eq!(real, model);
    }

    fn read(&mut self, at: u64, len: u64) {
        let mut data = vec![0xee; len as usize];
        let real = self.pair().space.read(BASE + at, &mut data);
        let model = self.pair().model_read(at, len);
        let real = real.map(|()| data);
        self.agree(real, model);
    }

    fn fork(&mut self) {
        if self.pairs.len() >= 4 {
            return;
        }
        let account = self.account.clone();
        match self.pair().space.fork(&account) {
            Ok(space) => {
                let pages = self.pair().pages.clone();
                self.add(space, pages);
            }
            Err(error) => {
                assert!(self.may_fail && error == Errno::ENOMEM, "fork: {error}");
                self.failures += 1;
            }
        }
    }

    fn drop_one(&mut self, which: usize) {
        if self.pairs.len() > 1 {
            self.pairs.remove(which % self.pairs.len());
            self.current %= self.pairs.len();
        }
    }

    fn dont_need(&mut self, page: u64, len: u64, free: bool) {
        let advice = if free { Advice::Free } else { Advice::DontNeed };
        let real = self.pair().space.madvise(addr(page), len * PAGE, advice);
        let pair = self.pair();
        let range = page..page + len;
        let private = |page: &Page| matches!(page.original, Content::Own(_));
        let model = if free
            && pair
                .pages
                .range(range.clone())
                .any(|(_, page)| !private(page))
        {
            Err(Errno::EINVAL)
        } else {
            for (_, page) in pair.pages.range_mut(range.clone()) {
                if !matches!(page.content, Content::Of(_, _, true)) {
                    page.content = page.original.clone();
                }
            }
            let whole = pair.pages.range(range).count() as u64 == len;
            if whole { Ok(()) } else { Err(Errno::ENOMEM) }
        };
        self.agree(real, model);
    }

    fn remap(&mut self, page: u64, len: u64, new: u64, to: u64) {
        let flags = RemapFlags::MAY_MOVE | RemapFlags::FIXED;
        let areas = self.areas();
        let pair = self.pair();
        let overlaps = page < to + new && to < page + len;
        let real = pair
            .space
            .mremap(addr(page), len * PAGE, new * PAGE, flags, addr(to));
        let range = addr(page)..addr(page + len);
        let within = areas
            .iter()
            .find(|it| it.range.start <= range.start && range.end <= it.range.end);
        let model = match within {
            _ if overlaps => Err(Errno::EINVAL),
            None => Err(Errno::EFAULT),
            Some(_) => Ok(addr(to)),
        };
        if real == Err(Errno::ENOMEM) && self.may_fail && model.is_ok() {
            // The target was unmapped before the move could not be done, or not.
            self.failures += 1;
            self.relearn(to, new);
            return;
        }
        assert_eq!(
            real,
            model,
            "{within:?}",
            within = within.map(|it| format!("{:x?}", it.range))
        );
        if model.is_ok() {
            self.pair().model_remap(page, len, new, to);
        }
    }

    /// Drops from the model what the space has no area for.
    fn relearn(&mut self, page: u64, len: u64) {
        let areas = self.areas();
        let exists = |number: u64| areas.iter().any(|area| area.range.contains(&addr(number)));
        self.pair()
            .pages
            .retain(|&number, _| !(page..page + len).contains(&number) || exists(number));
    }

    /// The guest reaches a page through its own table, asking the space first.
    fn guest_touch(&mut self, page: u64, write: bool, value: u8) {
        let pair = self.pair();
        let held = pair.guest.held.lock().unwrap().get(&addr(page)).cloned();
        let (frame, writable) = match held {
            Some((frame, writable)) if writable || !write => (frame, writable),
            _ => {
                let access = if write { Access::Write } else { Access::Read };
                let Ok(answer) = pair.space.frame_for(addr(page), access) else {
                    let model = pair.model_read(page * PAGE, 1).map(|_| ());
                    let model = if write {
                        self.model_may_write(page)
                    } else {
                        model
                    };
                    if model.is_ok() {
                        assert!(self.may_fail);
                        self.failures += 1;
                    }
                    return;
                };
                pair.guest
                    .held
                    .lock()
                    .unwrap()
                    .insert(addr(page), answer.clone());
                answer
            }
        };
        assert!(writable || !write);
        if write {
            frame.write(5, &[value]);
            self.model_write(page * PAGE + 5, 1, value).unwrap();
        } else {
            let mut byte = [0];
            frame.read(5, &mut byte);
            assert_eq!(
                Ok(byte.to_vec()),
                self.pair().model_read(page * PAGE + 5, 1)
            );
        }
    }

    fn model_may_write(&mut self, page: u64) -> Result<(), Errno> {
        let page = self
            .pair()
            .pages
            .get(&page)
            .filter(|page| page.prot.contains(Prot::WRITE));
        page.ok_or(Errno::EFAULT)?.load(0).map(|_| ())
    }

    /// Every byte of every space is what the model says, the guests hold no
    /// frame that is not the space's, and the books on mapped bytes are right.
    pub(super) fn check(&mut self) {
        for pair in &self.pairs {
            let resident = pair.space.resident_bytes();
            assert_eq!(pair.space.mapped_bytes(), pair.pages.len() as u64 * PAGE);
            assert!(
                resident <= pair.space.mapped_bytes(),
                "pages outside of areas"
            );
            for (&va, (frame, writable)) in pair.guest.held.lock().unwrap().iter() {
                let (now, now_writable) = pair.space.frame_for(va, Access::Read).unwrap();
                assert_eq!(
                    now.phys(),
                    frame.phys(),
                    "the guest has another frame at {va:#x}"
                );
                assert!(
                    now_writable || !writable,
                    "the guest may write what is shared"
                );
            }
            for page in 0..PAGES {
                let mut data = zeros();
                let real = pair.space.read(addr(page), &mut data).map(|()| data);
                let model = pair.model_read(page * PAGE, PAGE);
                assert!(
                    real == model,
                    "page {page}: {:?}, {:?}",
                    real.err(),
                    model.err()
                );
            }
        }
    }
}

impl Pair {
    fn model_read(&self, at: u64, len: u64) -> Result<Vec<u8>, Errno> {
        (at..at + len)
            .map(|byte| {
                let page = self
                    .pages
                    .get(&(byte / PAGE))
                    .filter(|page| page.prot != Prot::NONE);
                page.ok_or(Errno::EFAULT)?.load((byte % PAGE) as usize)
            })
            .collect()
    }

    fn model_remap(&mut self, page: u64, len: u64, new: u64, to: u64) {
        let moved: Vec<Page> = (page..page + len).map(|n| self.pages[&n].clone()).collect();
        self.pages
            .retain(|n, _| !(page..page + len).contains(n) && !(to..to + new).contains(n));
        for offset in 0..new {
            let page = match moved.get(offset as usize) {
                Some(page) => page.clone(),
                None => moved.last().unwrap().after(offset - len + 1),
            };
            self.pages.insert(to + offset, page);
        }
    }
}

impl Page {
    fn load(&self, offset: usize) -> Result<u8, Errno> {
        match &self.content {
            Content::Own(bytes) => Ok(bytes[offset]),
            Content::Of(bytes, number, _) => {
                let bytes = bytes.get(*number).ok_or(Errno::EFAULT)?;
                Ok(bytes.borrow()[offset])
            }
        }
    }

    fn store(&mut self, offset: usize, value: u8) -> Result<(), Errno> {
        match &mut self.content {
            Content::Own(bytes) => bytes[offset] = value,
            Content::Of(bytes, number, shared) => {
                let bytes = bytes.get(*number).ok_or(Errno::EFAULT)?;
                if *shared {
                    bytes.borrow_mut()[offset] = value;
                } else {
                    let mut own = bytes.borrow().clone();
                    own[offset] = value;
                    self.content = Content::Own(own);
                }
            }
        }
        Ok(())
    }

    /// The page that follows by `by` when its mapping grows.
    fn after(&self, by: u64) -> Page {
        let original = match &self.original {
            Content::Own(_) => Content::Own(zeros()),
            Content::Of(bytes, number, shared) => {
                Content::Of(bytes.clone(), number + by as usize, *shared)
            }
        };
        Page {
            prot: self.prot,
            content: original.clone(),
            original,
        }
    }
}
