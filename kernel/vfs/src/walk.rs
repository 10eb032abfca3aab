//! From a path to a [`Location`] (path_resolution(7)).
//!
//! A walk is a loop over components. A symbolic link puts its text in front of
//! what is left of the path; 40 of them are `ELOOP`.

use crate::{Errno, FileKind, FsView, Location, Metadata, Result};
use abi::fs::{NAME_MAX, PATH_MAX};
use alloc::borrow::Cow;
use alloc::vec::Vec;

/// What to do with a symbolic link at the end of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// Go where it leads.
    Last,
    /// Stop at the link itself.
    NotLast,
}

/// Most symbolic links in one walk.
const MAX_LINKS: u32 = 40;

/// Permission to read, as in a mode's last three bits.
pub(crate) const MAY_READ: u32 = 4;
/// Permission to write.
pub(crate) const MAY_WRITE: u32 = 2;
/// Permission to execute or search.
pub(crate) const MAY_EXECUTE: u32 = 1;

/// The last component of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Last {
    /// A name.
    Name(Vec<u8>),
    /// `.`
    Dot,
    /// `..`
    DotDot,
    /// None at all: the path is `/`.
    Root,
}

/// A directory, and a name that may or may not be in it.
pub struct Parent {
    /// The directory.
    pub dir: Location,
    pub(crate) last: Last,
    /// The path ended in a slash: only a directory will do.
    pub must_be_dir: bool,
}

impl Parent {
    /// The name, or `otherwise` where the path ends in none.
    pub(crate) fn name(&self, otherwise: Errno) -> Result<&[u8]> {
        match &self.last {
            Last::Name(name) => Ok(name),
            _ => Err(otherwise),
        }
    }
}

/// A walk in progress.
pub(crate) struct Walk<'v, 'p> {
    view: &'v FsView<'v>,
    at: Location,
    path: Cow<'p, [u8]>,
    /// Where in `path` the next component is looked for.
    position: usize,
    links: u32,
}

impl<'v, 'p> Walk<'v, 'p> {
    /// Starts at `at`, or at the root if the path says so.
    pub fn new(view: &'v FsView<'v>, at: &Location, path: &'p [u8]) -> Result<Self> {
        if path.is_empty() {
            return Err(Errno::ENOENT);
        }
        if path.len() >= PATH_MAX {
            return Err(Errno::ENAMETOOLONG);
        }
        let at = if path[0] == b'/' {
            view.root.clone()
        } else {
            at.clone()
        };
        Ok(Self {
            view,
            at,
            path: Cow::Borrowed(path),
            position: 0,
            links: 0,
        })
    }

    /// The next component as a range of `path`.
    fn next(&mut self) -> Option<core::ops::Range<usize>> {
        let rest = &self.path[self.position..];
        let start = self.position + rest.iter().position(|byte| *byte != b'/')?;
        let rest = &self.path[start..];
        let end = start
            + rest
                .iter()
                .position(|byte| *byte == b'/')
                .unwrap_or(rest.len());
        self.position = end;
        Some(start..end)
    }

    fn is_finished(&self) -> bool {
        self.path[self.position..].iter().all(|byte| *byte == b'/')
    }

    fn ends_in_slash(&self) -> bool {
        self.path.last() == Some(&b'/')
    }

    fn go_up(&mut self) {
        if !self.at.is_same(&self.view.root)
            && let Some(parent) = self.at.parent()
        {
            self.at = self.view.namespace.enter(parent);
        }
    }

    /// Puts a link's text in front of the rest.
    pub fn expand(&mut self, link: &Location) -> Result<()> {
        self.links += 1;
        if self.links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        if let Some(target) = link.inode().jump() {
            self.at = target?;
            return Ok(());
        }
        let mut text = link.inode().read_link()?;
        if text.is_empty() {
            return Err(Errno::ENOENT);
        }
        if text[0] == b'/' {
            self.at = self.view.root.clone();
        }
        text.extend_from_slice(&self.path[self.position..]);
        self.path = Cow::Owned(text);
        self.position = 0;
        Ok(())
    }

    /// Walks on to the last component, which it does not look up.
    pub fn find_parent(&mut self) -> Result<Parent> {
        loop {
            self.view.may_search(&self.at)?;
            let Some(range) = self.next() else {
                return Ok(self.parent(Last::Root));
            };
            let last = self.is_finished();
            match &self.path[range.clone()] {
                b"." if last => return Ok(self.parent(Last::Dot)),
                b"." => {}
                b".." if last => return Ok(self.parent(Last::DotDot)),
                b".." => self.go_up(),
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                name if last => {
                    let name = name.to_vec();
                    return Ok(self.parent(Last::Name(name)));
                }
                _ => {
                    let found = self.look_up(range)?;
                    self.step_into(found)?;
                }
            }
        }
    }

    fn parent(&self, last: Last) -> Parent {
        Parent {
            dir: self.at.clone(),
            last,
            must_be_dir: self.ends_in_slash(),
        }
    }

    fn look_up(&self, name: core::ops::Range<usize>) -> Result<Location> {
        let dentry = self.at.dentry.lock()?.lookup(&self.path[name])?;
        let place = Location {
            mount: self.at.mount.clone(),
            dentry,
        };
        Ok(self.view.namespace.enter(place))
    }

    /// Goes to `found`, or where it leads.
    fn step_into(&mut self, found: Location) -> Result<()> {
        if found.kind() == FileKind::Symlink {
            return self.expand(&found);
        }
        self.at = found;
        Ok(())
    }

    /// Walks to the end.
    pub fn finish(mut self, follow: Follow) -> Result<Location> {
        while let Some(range) = self.next() {
            self.view.may_search(&self.at)?;
            match &self.path[range.clone()] {
                b"." => {}
                b".." => self.go_up(),
                name if name.len() > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                _ => {
                    let found = self.look_up(range)?;
                    let stop =
                        follow == Follow::NotLast && self.is_finished() && !self.ends_in_slash();
                    if stop {
                        self.at = found;
                        break;
                    }
                    self.step_into(found)?;
                }
            }
        }
        if self.ends_in_slash() && self.at.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        Ok(self.at)
    }
}

impl FsView<'_> {
    /// The place that `path` names, from `at` where it is relative.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`, `EACCES`, `ELOOP`, `ENAMETOOLONG`.
    pub fn resolve(&self, at: &Location, path: &[u8], follow: Follow) -> Result<Location> {
        Walk::new(self, at, path)?.finish(follow)
    }

    /// The directory that `path` names an entry of, and the name.
    ///
    /// # Errors
    /// As [`FsView::resolve`].
    pub fn resolve_parent(&self, at: &Location, path: &[u8]) -> Result<Parent> {
        Walk::new(self, at, path)?.find_parent()
    }

    /// May the process go through this directory?
    fn may_search(&self, at: &Location) -> Result<()> {
        if at.kind() != FileKind::Directory {
            return Err(Errno::ENOTDIR);
        }
        if self.credentials.is_superuser() {
            return Ok(());
        }
        self.check(&at.inode().metadata(), MAY_EXECUTE)
    }

    /// May the process do `wanted` (bits 4, 2, 1) with a file?
    pub(crate) fn check(&self, metadata: &Metadata, wanted: u32) -> Result<()> {
        let who = self.credentials;
        if who.is_superuser() {
            // Even the superuser executes only what somebody may execute.
            let executable = metadata.kind == FileKind::Directory
                || metadata.permissions & 0o111 != 0
                || wanted & MAY_EXECUTE == 0;
            return if executable {
                Ok(())
            } else {
                Err(Errno::EACCES)
            };
        }
        let granted = if who.euid == metadata.uid {
            metadata.permissions >> 6
        } else if who.in_group(metadata.gid) {
            metadata.permissions >> 3
        } else {
            metadata.permissions
        };
        if granted & wanted == wanted {
            Ok(())
        } else {
            Err(Errno::EACCES)
        }
    }
}
