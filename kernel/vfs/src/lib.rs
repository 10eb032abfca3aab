//! Files as programs see them, and the tree of names they live in.
//!
//! - [`File`]: what an object behind a descriptor can do; [`OpenFile`]: one
//!   open(2) of it; [`FdTable`]: a process's numbers for them.
//! - [`Inode`] and [`FileSystem`]: what a file system implements; [`Dentry`] and
//!   [`Mount`]: the tree; [`FsView`]: the calls on paths, as one process sees it.
//! - [`Sink`] and [`Source`]: where bytes go to and come from.
//! - [`Caller`]: what a file may ask of the process that calls it.
//!
//! Objects live in sibling crates: `tmpfs`, `devfs`, `procfs`, `ipc`, `tty`.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod anonymous;
mod caller;
mod dentry;
pub mod device;
mod directory;
mod fd_table;
mod file;
mod inode;
mod io;
pub mod locks;
mod metadata;
mod mount;
mod open;
mod open_file;
mod path_calls;
mod rename;
mod socket;
mod user_memory;
mod view;
mod walk;

pub use abi::Errno;
pub use abi::event::Events;
pub use abi::fs::OpenFlags;
pub use caller::{Caller, Credentials, ProcessIds};
pub use dentry::Dentry;
pub use device::Device;
pub use directory::{DirEntry, DirSink, DirentWriter};
pub use fd_table::{FdTable, Installed};
pub use file::{File, file_as};
pub use inode::{Attachment, FileSystem, FsStats, Inode, NewNode, NodeContents, SetAttributes};
pub use io::{Io, Sink, SliceSink, SliceSource, Source, VecSink};
pub use metadata::{FileKind, Metadata, next_inode_number};
pub use mount::{Location, Mount, MountFlags, Namespace};
pub use open_file::{CloseWatcher, OpenFile};
pub use pages::{FaultError, Frame, MemoryObject};
pub use rename::RenameFlags;
pub use socket::{Address, ControlMessages, Message, Received, Socket};
pub use user_memory::{UserMemory, UserSink, UserSource};
pub use view::{FsContext, FsView};
pub use wait::{PollHandle, PollHead, PollObserver};
pub use walk::{Follow, Parent};

/// What most calls here return.
pub type Result<T> = core::result::Result<T, Errno>;
