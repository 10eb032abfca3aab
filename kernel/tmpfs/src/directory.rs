//! [`Directory`]: names and what they stand for, with positions for listings
//! that stay valid while entries come and go.

use crate::node::Node;
use abi::Errno;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use vfs::{DirEntry, DirSink, FileKind, Result};

struct Entry {
    node: Arc<Node>,
    /// Its place in the order of creation.
    position: u64,
}

/// Names and what they stand for.
#[derive(Default)]
pub(crate) struct Directory {
    entries: BTreeMap<Arc<[u8]>, Entry>,
    order: BTreeMap<u64, Arc<[u8]>>,
    next_position: u64,
    /// Removed itself: nothing can be created in it.
    dead: bool,
}

/// A copied entry, to be listed without the directory's lock.
pub(crate) struct Listed {
    name: Arc<[u8]>,
    position: u64,
    inode: u64,
    kind: FileKind,
}

/// Entries copied at a time.
const BATCH: usize = 32;

impl Directory {
    pub fn get(&self, name: &[u8]) -> Result<Arc<Node>> {
        self.entries
            .get(name)
            .map(|entry| entry.node.clone())
            .ok_or(Errno::ENOENT)
    }

    pub fn insert(&mut self, name: &[u8], node: Arc<Node>) -> Result<()> {
        if self.dead {
            return Err(Errno::ENOENT);
        }
        if self.entries.contains_key(name) {
            return Err(Errno::EEXIST);
        }
        let name: Arc<[u8]> = name.into();
        self.next_position += 1;
        let position = self.next_position;
        self.order.insert(position, name.clone());
        self.entries.insert(name, Entry { node, position });
        Ok(())
    }

    pub fn remove(&mut self, name: &[u8]) -> Result<Arc<Node>> {
        let entry = self.entries.remove(name).ok_or(Errno::ENOENT)?;
        self.order.remove(&entry.position);
        Ok(entry.node)
    }

    /// Puts another node under an existing name; returns the old one.
    pub fn replace(&mut self, name: &[u8], node: Arc<Node>) -> Result<Arc<Node>> {
        let entry = self.entries.get_mut(name).ok_or(Errno::ENOENT)?;
        Ok(core::mem::replace(&mut entry.node, node))
    }

    /// Marks an empty directory as removed.
    pub fn kill(&mut self) -> Result<()> {
        if !self.entries.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.dead = true;
        Ok(())
    }

    pub fn is_dead(&self) -> bool {
        self.dead
    }

    pub fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Some entries after `position`.
    pub fn batch(&self, position: u64) -> Vec<Listed> {
        let names = self.order.range(position + 1..).take(BATCH);
        names
            .filter_map(|(position, name)| {
                let node = &self.entries.get(name)?.node;
                Some(Listed {
                    name: name.clone(),
                    position: *position,
                    inode: node.number(),
                    kind: node.file_kind(),
                })
            })
            .collect()
    }

    pub fn take_nodes(&mut self) -> Vec<Arc<Node>> {
        self.order.clear();
        core::mem::take(&mut self.entries)
            .into_values()
            .map(|entry| entry.node)
            .collect()
    }
}

/// Gives a batch to `sink`. Returns where to go on, or `None` where it is full.
pub(crate) fn list(batch: &[Listed], sink: &mut dyn DirSink) -> Option<u64> {
    let mut last = 0;
    for entry in batch {
        let Listed {
            name,
            position,
            inode,
            kind,
        } = entry;
        if !sink.entry(DirEntry {
            inode: *inode,
            next: *position,
            kind: *kind,
            name,
        }) {
            return None;
        }
        last = *position;
    }
    Some(last)
}
