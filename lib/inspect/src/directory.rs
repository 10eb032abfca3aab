//! Where the parts of a system are registered by name.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;

use crate::{Inspect, Node};

/// Named parts, visited in the order of their names.
#[derive(Default)]
pub struct Directory {
    parts: BTreeMap<String, Arc<dyn Inspect + Send + Sync>>,
}

impl Directory {
    /// An empty directory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            parts: BTreeMap::new(),
        }
    }

    /// Adds a part; the one that had the name before, if any, is returned.
    pub fn insert(
        &mut self,
        name: &str,
        part: Arc<dyn Inspect + Send + Sync>,
    ) -> Option<Arc<dyn Inspect + Send + Sync>> {
        self.parts.insert(name.into(), part)
    }

    /// Removes a part.
    pub fn remove(&mut self, name: &str) -> Option<Arc<dyn Inspect + Send + Sync>> {
        self.parts.remove(name)
    }
}

impl Inspect for Directory {
    fn inspect(&self, node: &mut Node<'_>) {
        for (name, part) in &self.parts {
            node.child(name, &**part);
        }
    }
}
