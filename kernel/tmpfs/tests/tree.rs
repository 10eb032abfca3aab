//! The tree of names against the host's own: random calls are made on both, and
//! every error and every listing must agree.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::OpenFlags;
use pages::Account;
use proptest::prelude::*;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tmpfs::{Limits, TmpFs};
use vfs::{
    Credentials, FileKind, Follow, FsContext, FsView, Location, MountFlags, Namespace, RenameFlags,
    VecSink,
};

/// The same calls on the host and here.
trait Tree {
    fn make_dir(&self, path: &str) -> Result<(), i32>;
    fn remove_dir(&self, path: &str) -> Result<(), i32>;
    fn unlink(&self, path: &str) -> Result<(), i32>;
    fn rename(&self, old: &str, new: &str) -> Result<(), i32>;
    fn link(&self, old: &str, new: &str) -> Result<(), i32>;
    fn symlink(&self, target: &str, path: &str) -> Result<(), i32>;
    fn open(&self, path: &str, flags: OpenFlags) -> Result<(), i32>;
    fn read_link(&self, path: &str) -> Result<Vec<u8>, i32>;
    /// Type, links; directories' links count subdirectories.
    fn stat(&self, path: &str, follow: bool) -> Result<(u32, u64), i32>;
    fn list(&self, path: &str) -> Result<Vec<Vec<u8>>, i32>;
}

struct Host {
    top: PathBuf,
    base: PathBuf,
}

impl Host {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tree-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::SeqCst)
        );
        let top = std::env::temp_dir().join(name);
        // Deep enough that no `..` of a test leads out.
        let base = top.join("w/x/y/z");
        fs::create_dir_all(&base).unwrap();
        Self { top, base }
    }

    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("{}/{path}", self.base.display()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.top).unwrap();
    }
}

fn code<T>(result: io::Result<T>) -> Result<T, i32> {
    result.map_err(|error| error.raw_os_error().unwrap())
}

impl Tree for Host {
    fn make_dir(&self, path: &str) -> Result<(), i32> {
        code(fs::create_dir(self.path(path)))
    }
    fn remove_dir(&self, path: &str) -> Result<(), i32> {
        code(fs::remove_dir(self.path(path)))
    }
    fn unlink(&self, path: &str) -> Result<(), i32> {
        code(fs::remove_file(self.path(path)))
    }
    fn rename(&self, old: &str, new: &str) -> Result<(), i32> {
        code(fs::rename(self.path(old), self.path(new)))
    }
    fn link(&self, old: &str, new: &str) -> Result<(), i32> {
        code(fs::hard_link(self.path(old), self.path(new)))
    }
    fn symlink(&self, target: &str, path: &str) -> Result<(), i32> {
        code(symlink(target, self.path(path)))
    }
    fn open(&self, path: &str, flags: OpenFlags) -> Result<(), i32> {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(flags.writes());
        let custom = flags.bits() & !OpenFlags::ACCESS;
        code(options.custom_flags(custom as i32).open(self.path(path))).map(|_| ())
    }
    fn read_link(&self, path: &str) -> Result<Vec<u8>, i32> {
        let target = code(fs::read_link(self.path(path)))?;
        Ok(target.into_os_string().into_encoded_bytes())
    }
    fn stat(&self, path: &str, follow: bool) -> Result<(u32, u64), i32> {
        let path = self.path(path);
        let found = if follow {
            fs::metadata(path)
        } else {
            fs::symlink_metadata(path)
        };
        code(found).map(|found| (found.mode() & 0o170000, found.nlink()))
    }
    fn list(&self, path: &str) -> Result<Vec<Vec<u8>>, i32> {
        let entries = code(fs::read_dir(self.path(path)))?;
        let names = entries.map(|entry| entry.unwrap().file_name().into_encoded_bytes());
        let mut names: Vec<_> = names.collect();
        names.sort();
        Ok(names)
    }
}

struct Ours {
    fs: Arc<TmpFs>,
    context: Arc<FsContext>,
    credentials: Credentials,
}

impl Ours {
    fn new() -> Self {
        let limits = Limits {
            pages: 1000,
            inodes: 1000,
        };
        let fs = TmpFs::new(&Account::kernel(), &limits, 0o755).unwrap();
        let namespace = Namespace::new(fs.clone(), MountFlags::empty());
        let ours = Self {
            fs,
            context: FsContext::new(namespace),
            credentials: Credentials::root(),
        };
        for dir in ["w", "w/x", "w/x/y", "w/x/y/z"] {
            ours.make_dir(dir).unwrap();
        }
        let view = ours.view();
        let base = view.directory(&view.cwd, b"w/x/y/z").unwrap();
        ours.context.set_cwd(base);
        ours
    }

    fn view(&self) -> FsView<'_> {
        self.context.view(&self.credentials, None)
    }

    fn with<T>(
        &self,
        call: impl FnOnce(&FsView<'_>, &Location) -> Result<T, Errno>,
    ) -> Result<T, i32> {
        let view = self.view();
        call(&view, &view.cwd).map_err(Errno::code)
    }
}

impl Tree for Ours {
    fn make_dir(&self, path: &str) -> Result<(), i32> {
        self.with(|view, at| view.make_dir(at, path.as_bytes(), 0o755).map(|_| ()))
    }
    fn remove_dir(&self, path: &str) -> Result<(), i32> {
        self.with(|view, at| view.remove_dir(at, path.as_bytes()))
    }
    fn unlink(&self, path: &str) -> Result<(), i32> {
        self.with(|view, at| view.unlink(at, path.as_bytes()))
    }
    fn rename(&self, old: &str, new: &str) -> Result<(), i32> {
        self.with(|view, at| {
            view.rename(
                (at, old.as_bytes()),
                (at, new.as_bytes()),
                RenameFlags::empty(),
            )
        })
    }
    fn link(&self, old: &str, new: &str) -> Result<(), i32> {
        self.with(|view, at| {
            let old = view.resolve(at, old.as_bytes(), Follow::NotLast)?;
            view.link(&old, at, new.as_bytes())
        })
    }
    fn symlink(&self, target: &str, path: &str) -> Result<(), i32> {
        self.with(|view, at| view.symlink(target.as_bytes(), at, path.as_bytes()))
    }
    fn open(&self, path: &str, flags: OpenFlags) -> Result<(), i32> {
        self.with(|view, at| view.open(at, path.as_bytes(), flags, 0o644).map(|_| ()))
    }
    fn read_link(&self, path: &str) -> Result<Vec<u8>, i32> {
        self.with(|view, at| view.read_link(at, path.as_bytes()))
    }
    fn stat(&self, path: &str, follow: bool) -> Result<(u32, u64), i32> {
        let follow = if follow {
            Follow::Last
        } else {
            Follow::NotLast
        };
        let found = self.with(|view, at| view.resolve(at, path.as_bytes(), follow))?;
        let metadata = found.inode().metadata();
        Ok((metadata.kind.mode_bits(), u64::from(metadata.links)))
    }
    fn list(&self, path: &str) -> Result<Vec<Vec<u8>>, i32> {
        let flags = OpenFlags::DIRECTORY;
        let open = self.with(|view, at| view.open(at, path.as_bytes(), flags, 0))?;
        let mut names = Vec::new();
        loop {
            let mut sink = VecSink::new(100);
            if open.read_dir(&mut sink).unwrap() == 0 {
                break;
            }
            let mut rest = &sink.bytes[..];
            while !rest.is_empty() {
                let len = usize::from(rest[16]);
                let name = rest[19..len].split(|byte| *byte == 0).next().unwrap();
                names.push(name.to_vec());
                rest = &rest[len..];
            }
        }
        assert_eq!(names[..2], [b".".to_vec(), b"..".to_vec()]);
        let mut names = names.split_off(2);
        names.sort();
        Ok(names)
    }
}

#[derive(Clone, Debug)]
enum Step {
    MakeDir(String),
    RemoveDir(String),
    Unlink(String),
    Rename(String, String),
    Link(String, String),
    Symlink(String, String),
    Open(String, u32),
    ReadLink(String),
    Stat(String, bool),
    List(String),
}

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "a", "b", "b", "c"]);
    // Few names, so that they often exist.
    let part = prop_oneof![16 => name.clone(), 1 => Just("."), 1 => Just("..")];
    // At most two `..`, and none in a link: four directories are above.
    let path = prop::collection::vec(part, 1..=3).prop_map(|parts| {
        let mut ups = 0;
        let kept = parts.into_iter().filter(|part| {
            ups += usize::from(*part == "..");
            *part != ".." || ups <= 2
        });
        kept.collect::<Vec<_>>().join("/")
    });
    (path, prop::bool::weighted(0.1), prop::bool::weighted(0.05)).prop_map(
        |(mut path, slash, double)| {
            if path.is_empty() {
                path.push('.');
            }
            if slash {
                path.push('/');
            }
            if double {
                path.replace('/', "//")
            } else {
                path
            }
        },
    )
}

fn target() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "a", "b", "b", "c"]);
    let tail = prop::sample::select(vec!["", "/", "/a", "/b/c", "/."]);
    (name, tail).prop_map(|(name, tail)| format!("{name}{tail}"))
}

fn step() -> impl Strategy<Value = Step> {
    let flags = prop::collection::vec(
        prop::sample::select(vec![
            OpenFlags::CREAT,
            OpenFlags::EXCL | OpenFlags::CREAT,
            OpenFlags::RDWR,
            OpenFlags::RDWR | OpenFlags::TRUNC,
            OpenFlags::NOFOLLOW,
            OpenFlags::DIRECTORY,
        ]),
        0..3,
    )
    .prop_map(|flags| flags.into_iter().collect::<OpenFlags>().bits())
    // O_CREAT with O_DIRECTORY differs between kernel versions.
    .prop_filter("CREAT with DIRECTORY", |bits| bits & 0o200100 != 0o200100);
    prop_oneof![
        3 => path().prop_map(Step::MakeDir),
        1 => path().prop_map(Step::RemoveDir),
        1 => path().prop_map(Step::Unlink),
        3 => (path(), path()).prop_map(|(old, new)| Step::Rename(old, new)),
        1 => (path(), path()).prop_map(|(old, new)| Step::Link(old, new)),
        2 => (target(), path()).prop_map(|(target, path)| Step::Symlink(target, path)),
        4 => (path(), flags).prop_map(|(path, flags)| Step::Open(path, flags)),
        1 => path().prop_map(Step::ReadLink),
        2 => (path(), any::<bool>()).prop_map(|(path, follow)| Step::Stat(path, follow)),
        1 => path().prop_map(Step::List),
    ]
}

fn apply(tree: &dyn Tree, step: &Step) -> String {
    match step {
        Step::MakeDir(path) => format!("{:?}", tree.make_dir(path)),
        Step::RemoveDir(path) => format!("{:?}", tree.remove_dir(path)),
        Step::Unlink(path) => format!("{:?}", tree.unlink(path)),
        Step::Rename(old, new) => format!("{:?}", tree.rename(old, new)),
        Step::Link(old, new) => format!("{:?}", tree.link(old, new)),
        Step::Symlink(target, path) => format!("{:?}", tree.symlink(target, path)),
        Step::Open(path, flags) => {
            format!("{:?}", tree.open(path, OpenFlags::from_bits_retain(*flags)))
        }
        Step::ReadLink(path) => format!("{:?}", tree.read_link(path)),
        Step::Stat(path, follow) => {
            let found = tree.stat(path, *follow);
            // How directories count links differs between file systems.
            let dir = FileKind::Directory.mode_bits();
            format!(
                "{:?}",
                found.map(|(kind, links)| (kind, if kind == dir { 0 } else { links }))
            )
        }
        Step::List(path) => format!("{:?}", tree.list(path)),
    }
}

/// Every path below `path`, with its type.
fn walk(tree: &dyn Tree, path: &str, into: &mut Vec<String>) {
    for name in tree.list(path).unwrap() {
        let path = format!("{path}/{}", String::from_utf8(name).unwrap());
        let (kind, _) = tree.stat(&path, false).unwrap();
        into.push(format!("{path} {kind:o}"));
        if kind == FileKind::Directory.mode_bits() {
            walk(tree, &path, into);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn every_call_ends_as_on_the_host(steps in prop::collection::vec(step(), 20..80)) {
        let (host, ours) = (Host::new(), Ours::new());
        for (index, step) in steps.iter().enumerate() {
            prop_assert_eq!(apply(&ours, step), apply(&host, step), "step {}: {:?}", index, step);
        }
        let (mut expected, mut found) = (Vec::new(), Vec::new());
        walk(&host, "../../../..", &mut expected);
        walk(&ours, "../../../..", &mut found);
        prop_assert_eq!(found, expected);
        let fs = ours.fs.clone();
        ours.context.set_cwd(ours.context.root());
        remove_all(&ours, "w");
        prop_assert_eq!((fs.pages_used(), fs.inodes_used()), (0, 1));
    }
}

fn remove_all(ours: &Ours, path: &str) {
    for name in ours.list(path).unwrap() {
        let path = format!("{path}/{}", String::from_utf8(name).unwrap());
        if ours.stat(&path, false).unwrap().0 == FileKind::Directory.mode_bits() {
            remove_all(ours, &path);
        } else {
            ours.unlink(&path).unwrap();
        }
    }
    ours.remove_dir(path).unwrap();
}
