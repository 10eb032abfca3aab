//! [`Contents`]: the bytes of a regular file, as pages.
//!
//! A page is the file's own, or still that of the backing, or a hole. The page
//! map is under a spin lock, held for one page at a time and never while bytes
//! move; who changes sizes holds the sleeping lock besides.

use crate::Store;
use abi::Errno;
use abi::fs::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE};
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use pages::{FaultError, Frame, MemoryObject, PAGE_SIZE};
use sync::SpinLock;
use vfs::{Result, Sink, Source};
use wait::Mutex;

const PAGE: u64 = PAGE_SIZE as u64;
/// Largest file.
const MAX_LEN: u64 = i64::MAX as u64;

/// Pages that the file began with.
struct Backing {
    source: Arc<dyn MemoryObject>,
    /// Bytes of it that the file still has.
    len: u64,
}

#[derive(Default)]
struct Map {
    len: u64,
    own: BTreeMap<u64, Frame>,
    backing: Option<Backing>,
}

impl Map {
    /// The page of the backing, and how many bytes of it count.
    fn backed(&self, index: u64) -> Option<(&Arc<dyn MemoryObject>, usize)> {
        let backing = self.backing.as_ref()?;
        let left = backing
            .len
            .checked_sub(index * PAGE)
            .filter(|left| *left > 0)?;
        Some((&backing.source, left.min(PAGE) as usize))
    }

    fn has_data(&self, index: u64) -> bool {
        self.own.contains_key(&index) || self.backed(index).is_some()
    }

    /// The page as the file's own, to be written to.
    fn own(&mut self, index: u64, store: &Store) -> core::result::Result<Frame, FaultError> {
        if let Some(frame) = self.own.get(&index) {
            return Ok(frame.clone());
        }
        let frame = match self.backed(index) {
            None => store.new_page().map_err(no_page)?,
            Some((source, PAGE_SIZE)) => match source.page(index, true) {
                Ok(frame) => {
                    store.adopt_page().map_err(no_page)?;
                    frame
                }
                Err(FaultError::Denied) => copy_page(source, index, PAGE_SIZE, store)?,
                Err(error) => return Err(error),
            },
            Some((source, len)) => copy_page(source, index, len, store)?,
        };
        self.own.insert(index, frame.clone());
        Ok(frame)
    }

    /// The page for reading; `None` is a hole.
    fn readable(
        &mut self,
        index: u64,
        store: &Store,
    ) -> core::result::Result<Option<Frame>, FaultError> {
        if let Some(frame) = self.own.get(&index) {
            return Ok(Some(frame.clone()));
        }
        match self.backed(index) {
            None => Ok(None),
            Some((source, PAGE_SIZE)) => source.page(index, false).map(Some),
            // What follows the file's bytes is not its own: never shown.
            Some(_) => self.own(index, store).map(Some),
        }
    }

    /// Drops pages from `first` up to, not including, `end`.
    fn drop_pages(&mut self, first: u64, end: u64) -> BTreeMap<u64, Frame> {
        let mut cut = self.own.split_off(&first);
        let mut rest = cut.split_off(&end);
        self.own.append(&mut rest);
        cut
    }
}

fn no_page(error: Errno) -> FaultError {
    // Both end the fault; a full file system is told apart where it matters.
    if error == Errno::ENOSPC {
        FaultError::BusError
    } else {
        FaultError::OutOfMemory
    }
}

/// For calls, where a page that does not exist can only mean a full file system.
fn no_space(error: FaultError) -> Errno {
    match error {
        FaultError::BusError => Errno::ENOSPC,
        other => other.into(),
    }
}

fn copy_page(
    source: &Arc<dyn MemoryObject>,
    index: u64,
    len: usize,
    store: &Store,
) -> core::result::Result<Frame, FaultError> {
    let original = source.page(index, false)?;
    let copy = store.new_page().map_err(no_page)?;
    if len == PAGE_SIZE {
        copy.copy_from(&original);
        return Ok(copy);
    }
    let mut bounce = [0; 256];
    let mut done = 0;
    while done < len {
        let part = &mut bounce[..(len - done).min(256)];
        original.read(done, part);
        copy.write(done, part);
        done += part.len();
    }
    Ok(copy)
}

/// The bytes of a regular file.
pub(crate) struct Contents {
    map: SpinLock<Map>,
    /// Held by who changes sizes, so that writes are whole among each other.
    resize: Mutex<()>,
}

impl Contents {
    pub fn new() -> Self {
        Self {
            map: SpinLock::new(Map::default()),
            resize: Mutex::new(()),
        }
    }

    pub fn set_backing(&self, source: Arc<dyn MemoryObject>, len: u64) -> Result<()> {
        if source.len_pages() < len.div_ceil(PAGE) {
            return Err(Errno::EINVAL);
        }
        let mut map = self.map.lock();
        if map.len != 0 || map.backing.is_some() {
            return Err(Errno::EINVAL);
        }
        map.len = len;
        map.backing = Some(Backing { source, len });
        Ok(())
    }

    pub fn len(&self) -> u64 {
        self.map.lock().len
    }

    /// Size and pages with data.
    pub fn usage(&self) -> (u64, u64) {
        let map = self.map.lock();
        let backed = map
            .backing
            .as_ref()
            .map_or(0, |backing| backing.len.div_ceil(PAGE));
        // Own pages in the backing's range stand in for its pages.
        let own_beyond = map.own.range(backed..).count() as u64;
        (map.len, backed + own_beyond)
    }

    pub fn read(&self, offset: u64, sink: &mut dyn Sink, store: &Store) -> Result<usize> {
        let mut done = 0;
        while sink.room() > 0 {
            let at = offset + done as u64;
            let (frame, len) = {
                let mut map = self.map.lock();
                let Some(left) = map.len.checked_sub(at).filter(|left| *left > 0) else {
                    break;
                };
                let len = left.min(PAGE - at % PAGE) as usize;
                (map.readable(at / PAGE, store), len)
            };
            let step = match frame {
                Ok(Some(frame)) => sink.put_frame(&frame, (at % PAGE) as usize, len),
                Ok(None) => sink.put_zeros(len),
                Err(error) => Err(error.into()),
            };
            match step {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    /// Writes at `offset`, or at the end; returns where, and how many bytes.
    pub fn write(
        &self,
        offset: Option<u64>,
        source: &mut dyn Source,
        store: &Store,
    ) -> Result<(u64, usize)> {
        let _whole = self.resize.lock();
        let offset = offset.unwrap_or_else(|| self.len());
        if offset >= MAX_LEN && source.left() > 0 {
            return Err(Errno::EFBIG);
        }
        let limit = (MAX_LEN - offset).min(source.left() as u64) as usize;
        let mut done = 0;
        while done < limit {
            let at = offset + done as u64;
            let within = (at % PAGE) as usize;
            let len = (limit - done).min(PAGE_SIZE - within);
            match self.write_page(at, within, len, source, store) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok((offset, done))
    }

    fn write_page(
        &self,
        at: u64,
        within: usize,
        len: usize,
        source: &mut dyn Source,
        store: &Store,
    ) -> Result<usize> {
        let frame = self.map.lock().own(at / PAGE, store).map_err(no_space)?;
        let count = source.take_frame(&frame, within, len)?;
        let mut map = self.map.lock();
        map.len = map.len.max(at + count as u64);
        Ok(count)
    }

    pub fn truncate(&self, len: u64, store: &Store) -> Result<()> {
        if len > MAX_LEN {
            return Err(Errno::EFBIG);
        }
        let _whole = self.resize.lock();
        if len < self.len() {
            self.zero(len, PAGE * len.div_ceil(PAGE), store)?;
        }
        let dropped = {
            let mut map = self.map.lock();
            map.len = len;
            if let Some(backing) = &mut map.backing {
                backing.len = backing.len.min(len);
            }
            map.drop_pages(len.div_ceil(PAGE), u64::MAX)
        };
        store.pages_freed(dropped.len() as u64);
        Ok(())
    }

    /// Fills part of one page with zeros, if the page has data.
    fn zero(&self, start: u64, end: u64, store: &Store) -> Result<()> {
        if start == end {
            return Ok(());
        }
        let frame = {
            let mut map = self.map.lock();
            if !map.has_data(start / PAGE) {
                return Ok(());
            }
            map.own(start / PAGE, store).map_err(no_space)?
        };
        let zeros = [0; 256];
        let mut at = start;
        while at < end {
            let len = (end - at).min(256);
            frame.write((at % PAGE) as usize, &zeros[..len as usize]);
            at += len;
        }
        Ok(())
    }

    pub fn allocate(&self, mode: u32, offset: u64, len: u64, store: &Store) -> Result<()> {
        let end = offset + len;
        let keep = mode & FALLOC_FL_KEEP_SIZE != 0;
        let _whole = self.resize.lock();
        match mode & !FALLOC_FL_KEEP_SIZE {
            FALLOC_FL_PUNCH_HOLE if keep => return self.punch(offset, end, store),
            FALLOC_FL_ZERO_RANGE => self.punch(offset, end, store)?,
            0 => {}
            _ => return Err(Errno::EOPNOTSUPP),
        }
        self.fill(offset / PAGE, end.div_ceil(PAGE), store)?;
        if !keep {
            let mut map = self.map.lock();
            map.len = map.len.max(end);
        }
        Ok(())
    }

    /// Makes own pages of the holes from `first` to `end`; all or none.
    fn fill(&self, first: u64, end: u64, store: &Store) -> Result<()> {
        let mut made = alloc::vec::Vec::new();
        for index in first..end {
            let mut map = self.map.lock();
            if map.has_data(index) {
                continue;
            }
            if let Err(error) = map.own(index, store) {
                made.iter().for_each(|index| drop(map.own.remove(index)));
                store.pages_freed(made.len() as u64);
                return Err(no_space(error));
            }
            made.push(index);
        }
        Ok(())
    }

    fn punch(&self, start: u64, end: u64, store: &Store) -> Result<()> {
        let (first, last) = (start.div_ceil(PAGE), end / PAGE);
        if first > last {
            // Within one page.
            return self.zero(start, end, store);
        }
        self.zero(start, first * PAGE, store)?;
        self.zero(last * PAGE, end, store)?;
        if first == last {
            return Ok(());
        }
        self.unback(first, last, store)?;
        let dropped = self.map.lock().drop_pages(first, last);
        store.pages_freed(dropped.len() as u64);
        Ok(())
    }

    /// Takes the pages from `first` to `end` away from the backing: it is cut
    /// there, and what it has behind the range becomes the file's own.
    fn unback(&self, first: u64, end: u64, store: &Store) -> Result<()> {
        let mut map = self.map.lock();
        let Some(backed) = map
            .backing
            .as_ref()
            .map(|backing| backing.len.div_ceil(PAGE))
        else {
            return Ok(());
        };
        for index in end..backed {
            map.own(index, store).map_err(no_space)?;
        }
        if let Some(backing) = &mut map.backing {
            backing.len = backing.len.min(first * PAGE);
        }
        Ok(())
    }

    pub fn seek_region(&self, offset: u64, hole: bool) -> Result<u64> {
        let map = self.map.lock();
        if offset >= map.len {
            return Err(Errno::ENXIO);
        }
        let mut index = offset / PAGE;
        while index * PAGE < map.len {
            if map.has_data(index) != hole {
                return Ok(offset.max(index * PAGE));
            }
            index = if hole {
                index + 1
            } else {
                // A file may be one huge hole: on to the next page there is.
                map.own
                    .range(index..)
                    .next()
                    .map_or(u64::MAX / PAGE, |(index, _)| *index)
            };
        }
        if hole { Ok(map.len) } else { Err(Errno::ENXIO) }
    }

    /// A page to be mapped. Holes become pages even for reading, so that all
    /// mappings see later writes.
    pub fn page(
        &self,
        index: u64,
        write: bool,
        store: &Store,
    ) -> core::result::Result<Frame, FaultError> {
        let mut map = self.map.lock();
        if index >= map.len.div_ceil(PAGE) {
            return Err(FaultError::BusError);
        }
        if !write && let Some(frame) = map.readable(index, store)? {
            return Ok(frame);
        }
        map.own(index, store)
    }

    /// A page that is there, for reading.
    pub fn present(&self, index: u64) -> Option<Frame> {
        let map = self.map.lock();
        if index >= map.len.div_ceil(PAGE) {
            return None;
        }
        if let Some(frame) = map.own.get(&index) {
            return Some(frame.clone());
        }
        match map.backed(index)? {
            (source, PAGE_SIZE) => source.present(index),
            _ => None,
        }
    }

    /// Are pages for reading always the file's own?
    pub fn is_all_own(&self) -> bool {
        self.map.lock().backing.is_none()
    }

    pub fn own_pages(&mut self) -> u64 {
        self.map.get_mut().own.len() as u64
    }
}
