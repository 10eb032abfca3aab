//! What a path means while the tree changes: held directories, mounts, deleted
//! names, permissions, listings.
#![allow(clippy::unwrap_used)] // A test fails by panicking, helpers included.

use abi::Errno;
use abi::fs::OpenFlags;
use pages::Account;
use std::sync::Arc;
use std::thread;
use tmpfs::{Limits, TmpFs};
use vfs::{
    Credentials, FdTable, Follow, FsContext, FsView, Location, MountFlags, Namespace, NodeContents,
    OpenFile, RenameFlags, SliceSink, SliceSource, VecSink,
};

struct World {
    namespace: Arc<Namespace>,
    context: Arc<FsContext>,
    credentials: Credentials,
}

fn new_fs() -> Arc<TmpFs> {
    TmpFs::new(&Account::kernel(), &Limits::none(), 0o755).unwrap()
}

impl World {
    fn new() -> Self {
        wait_host::install();
        let namespace = Namespace::new(new_fs(), MountFlags::empty());
        let context = FsContext::new(namespace.clone());
        Self {
            namespace,
            context,
            credentials: Credentials::root(),
        }
    }

    fn view(&self) -> FsView<'_> {
        self.context.view(&self.credentials, None)
    }

    fn make_dirs(&self, paths: &[&str]) {
        for path in paths {
            let view = self.view();
            view.make_dir(&view.cwd, path.as_bytes(), 0o755).unwrap();
        }
    }

    fn find(&self, path: &str) -> Result<Location, Errno> {
        let view = self.view();
        view.resolve(&view.cwd, path.as_bytes(), Follow::Last)
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>, Errno> {
        let view = self.view();
        view.open(&view.cwd, path.as_bytes(), flags, 0o644)
    }

    fn create(&self, path: &str, text: &str) -> Arc<OpenFile> {
        let open = self.open(path, OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
        open.write(&mut SliceSource::new(text.as_bytes())).unwrap();
        open
    }

    fn rename(&self, old: &str, new: &str, flags: RenameFlags) -> Result<(), Errno> {
        let view = self.view();
        view.rename(
            (&view.cwd, old.as_bytes()),
            (&view.cwd, new.as_bytes()),
            flags,
        )
    }

    fn path(&self, place: &Location) -> String {
        String::from_utf8(place.path(&self.context.root())).unwrap()
    }

    fn read(&self, path: &str) -> Result<String, Errno> {
        let mut sink = VecSink::new(1000);
        self.open(path, OpenFlags::empty())?.read(&mut sink)?;
        Ok(String::from_utf8(sink.bytes).unwrap())
    }
}

#[test]
fn held_places_follow_renames_and_know_of_removal() {
    let world = World::new();
    world.make_dirs(&["/a", "/a/b", "/a/b/c", "/d"]);
    let held = world.find("/a/b/c").unwrap();
    world.rename("/a/b", "/d/e", RenameFlags::empty()).unwrap();
    assert_eq!(world.path(&held), "/d/e/c");
    assert!(world.find("/d/e/c").unwrap().is_same(&held));
    let view = world.view();
    let up = view.resolve(&held, b"../..", Follow::Last).unwrap();
    assert_eq!(world.path(&up), "/d");
    view.remove_dir(&view.cwd, b"/d/e/c").unwrap();
    assert_eq!(world.path(&held), "/d/e/c (deleted)");
    assert_eq!(
        view.make_dir(&held, b"new", 0o755).err(),
        Some(Errno::ENOENT)
    );
    assert_eq!(
        view.open(&held, b"new", OpenFlags::CREAT, 0o644).err(),
        Some(Errno::ENOENT)
    );
    assert_eq!(world.find("/d/e/c").err(), Some(Errno::ENOENT));
    world.make_dirs(&["/d/e/c"]);
    assert!(!world.find("/d/e/c").unwrap().is_same(&held));
}

#[test]
fn a_directory_does_not_move_into_itself_or_over_its_parents() {
    let world = World::new();
    world.make_dirs(&["/a", "/a/b", "/a/b/c"]);
    world.create("/a/b/f", "");
    let plain = RenameFlags::empty();
    assert_eq!(world.rename("/a", "/a/b/x", plain), Err(Errno::EINVAL));
    assert_eq!(world.rename("/a/b/c", "/a", plain), Err(Errno::ENOTEMPTY));
    assert_eq!(world.rename("/a/b/f", "/a", plain), Err(Errno::ENOTEMPTY));
    assert_eq!(
        world.rename("/a", "/a/b", RenameFlags::EXCHANGE),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        world.rename("/a/b", "/a", RenameFlags::EXCHANGE),
        Err(Errno::EINVAL)
    );
    assert_eq!(world.rename("/a/b", "/a/b/c/..", plain), Err(Errno::EBUSY));
}

#[test]
fn renames_exchange_and_refuse_to_replace() {
    let world = World::new();
    world.make_dirs(&["/dir", "/other"]);
    world.create("/dir/file", "one");
    world.create("/other/file", "two");
    let held = world.find("/dir").unwrap();
    assert_eq!(
        world.rename("/dir", "/other", RenameFlags::NO_REPLACE),
        Err(Errno::EEXIST)
    );
    world
        .rename("/dir", "/other/file", RenameFlags::EXCHANGE)
        .unwrap();
    assert_eq!(world.path(&held), "/other/file");
    assert_eq!(world.read("/dir").unwrap(), "two");
    assert_eq!(world.read("/other/file/file").unwrap(), "one");
    let links = |path: &str| world.find(path).unwrap().inode().metadata().links;
    assert_eq!(
        (links("/"), links("/other"), links("/other/file")),
        (3, 3, 2)
    );
    assert_eq!(
        world.rename("/dir", "/none", RenameFlags::EXCHANGE),
        Err(Errno::ENOENT)
    );
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let world = World::new();
    let open = world.create("/file", "text");
    let view = world.view();
    view.unlink(&view.cwd, b"/file").unwrap();
    assert_eq!(open.metadata().links, 0);
    let mut bytes = [0; 4];
    open.read_at(0, &mut SliceSink::new(&mut bytes)).unwrap();
    assert_eq!(&bytes, b"text");
    assert_eq!(world.path(open.place().unwrap()), "/file (deleted)");
    let unnamed = world.open(
        "/",
        OpenFlags::TMPFILE_ONLY | OpenFlags::DIRECTORY | OpenFlags::RDWR,
    );
    let unnamed = unnamed.unwrap();
    assert_eq!(unnamed.metadata().links, 0);
    view.link(unnamed.place().unwrap(), &view.cwd, b"/named")
        .unwrap();
    assert_eq!(world.find("/named").unwrap().inode().metadata().links, 1);
}

#[test]
fn mounts_cover_and_uncover() {
    let world = World::new();
    world.make_dirs(&["/mnt", "/mnt/below"]);
    let place = world.find("/mnt").unwrap();
    let mount = world
        .namespace
        .mount(new_fs(), place, MountFlags::empty())
        .unwrap();
    assert_eq!(world.find("/mnt/below").err(), Some(Errno::ENOENT));
    world.make_dirs(&["/mnt/inside"]);
    let inside = world.find("/mnt/inside").unwrap();
    assert_eq!(world.path(&inside), "/mnt/inside");
    let view = world.view();
    assert!(
        view.resolve(&inside, b"../..", Follow::Last)
            .unwrap()
            .is_same(&world.context.root())
    );
    assert_eq!(
        world.rename("/mnt/inside", "/x", RenameFlags::empty()),
        Err(Errno::EXDEV)
    );
    assert_eq!(
        world.rename("/mnt", "/x", RenameFlags::empty()),
        Err(Errno::EBUSY)
    );
    assert_eq!(view.remove_dir(&view.cwd, b"/mnt"), Err(Errno::EBUSY));
    drop(mount);
    let root = world.find("/mnt").unwrap();
    assert_eq!(world.namespace.unmount(&root, false), Err(Errno::EBUSY));
    drop(inside);
    world.namespace.unmount(&root, false).unwrap();
    assert!(world.find("/mnt/below").is_ok());
    assert_eq!(
        world.namespace.unmount(&world.find("/mnt").unwrap(), false),
        Err(Errno::EINVAL)
    );
}

#[test]
fn a_read_only_mount_takes_no_changes() {
    let world = World::new();
    world.make_dirs(&["/ro"]);
    let fs = new_fs();
    let place = world.find("/ro").unwrap();
    world
        .namespace
        .mount(fs, place, MountFlags::READ_ONLY)
        .unwrap();
    let view = world.view();
    assert_eq!(
        view.make_dir(&view.cwd, b"/ro/a", 0o755).err(),
        Some(Errno::EROFS)
    );
    assert_eq!(
        world.open("/ro/f", OpenFlags::CREAT).err(),
        Some(Errno::EROFS)
    );
    let root = world.find("/ro").unwrap();
    assert_eq!(view.set_permissions(&root, 0o700), Err(Errno::EROFS));
    assert_eq!(view.access(&root, 2, false), Err(Errno::EROFS));
}

#[test]
fn permissions_bind_all_but_the_superuser() {
    let mut world = World::new();
    world.make_dirs(&["/open", "/shut", "/shut/in", "/sticky"]);
    world.create("/open/secret", "s");
    let view = world.view();
    for (path, mode) in [
        ("/open", 0o777),
        ("/shut", 0o700),
        ("/sticky", 0o1777),
        ("/open/secret", 0o640),
    ] {
        view.set_permissions(&world.find(path).unwrap(), mode)
            .unwrap();
    }
    world.create("/sticky/theirs", "");
    drop(view);
    world.credentials = Credentials {
        uid: 7,
        euid: 7,
        gid: 8,
        egid: 8,
        suid: 7,
        sgid: 8,
        groups: vec![9],
    };
    let view = world.view();
    assert_eq!(world.find("/shut/in").err(), Some(Errno::EACCES));
    assert_eq!(
        world.open("/open/secret", OpenFlags::empty()).err(),
        Some(Errno::EACCES)
    );
    assert_eq!(view.unlink(&view.cwd, b"/sticky/theirs"), Err(Errno::EPERM));
    assert_eq!(
        world.open("/new", OpenFlags::CREAT).err(),
        Some(Errno::EACCES)
    );
    let mine = world.create("/open/mine", "");
    let metadata = mine.metadata();
    assert_eq!(
        (metadata.uid, metadata.gid, metadata.permissions),
        (7, 8, 0o644)
    );
    let place = mine.place().unwrap();
    assert_eq!(view.set_owner(place, Some(1), None), Err(Errno::EPERM));
    view.set_owner(place, None, Some(9)).unwrap();
    let device = NodeContents::Device {
        block: false,
        rdev: 1,
    };
    assert_eq!(
        view.make(&view.cwd, b"/open/dev", device, 0o600).err(),
        Some(Errno::EPERM)
    );
    // A file may be created with a mode that forbids its creator to reopen it.
    let flags = OpenFlags::CREAT | OpenFlags::RDWR;
    assert!(view.open(&view.cwd, b"/open/odd", flags, 0).is_ok());
    assert_eq!(
        view.open(&view.cwd, b"/open/odd", flags, 0).err(),
        Some(Errno::EACCES)
    );
}

#[test]
fn loops_and_long_names_end() {
    let world = World::new();
    let view = world.view();
    view.symlink(b"loop", &view.cwd, b"/loop").unwrap();
    assert_eq!(world.find("/loop").err(), Some(Errno::ELOOP));
    assert_eq!(
        world.open("/loop", OpenFlags::CREAT).err(),
        Some(Errno::ELOOP)
    );
    for link in 0..41 {
        let target = if link == 0 {
            "/".to_owned()
        } else {
            format!("/l{}", link - 1)
        };
        view.symlink(target.as_bytes(), &view.cwd, format!("/l{link}").as_bytes())
            .unwrap();
    }
    assert!(world.find("/l39").is_ok());
    assert_eq!(world.find("/l40").err(), Some(Errno::ELOOP));
    assert_eq!(
        world.find(&"x".repeat(256)).err(),
        Some(Errno::ENAMETOOLONG)
    );
    assert_eq!(
        world.find(&"/x".repeat(2048)).err(),
        Some(Errno::ENAMETOOLONG)
    );
    assert_eq!(world.find("").err(), Some(Errno::ENOENT));
    assert_eq!(
        world
            .find(&"./".repeat(2000))
            .unwrap()
            .path(&world.context.root()),
        b"/"
    );
}

#[test]
fn a_deep_tree_ends_without_a_deep_stack() {
    let world = World::new();
    let small = thread::Builder::new().stack_size(64 * 1024);
    let view = world.view();
    let mut at = world.context.root();
    for _ in 0..20_000 {
        at = view.make_dir(&at, b"d", 0o755).unwrap();
    }
    drop(view);
    small
        .spawn(move || drop((at, world)))
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn descriptors_are_lowest_first_and_limited() {
    let world = World::new();
    let table = FdTable::new(6);
    let file = || world.create("/f", "");
    for expected in 0..4 {
        assert_eq!(table.install(file(), expected == 2), Ok(expected));
    }
    table.close(1).unwrap();
    assert_eq!(table.close(1), Err(Errno::EBADF));
    assert_eq!(table.install(file(), false), Ok(1));
    assert_eq!(table.install_from(3, file(), false), Ok(4));
    assert_eq!(table.install_from(6, file(), false), Err(Errno::EINVAL));
    assert_eq!(table.duplicate_to(0, 5, false), Ok(5));
    assert_eq!(table.install(file(), false), Err(Errno::EMFILE));
    assert_eq!(table.duplicate_to(0, 6, false), Err(Errno::EBADF));
    assert_eq!(table.duplicate_to(-1, 2, false), Err(Errno::EBADF));
    assert!(Arc::ptr_eq(&table.get(0).unwrap(), &table.get(5).unwrap()));
    let copy = table.fork();
    copy.close_on_exec();
    assert_eq!(copy.get(2).err(), Some(Errno::EBADF));
    assert_eq!(copy.list().len(), 5);
    copy.close_range(0, 3, false);
    assert_eq!(
        copy.list().iter().map(|slot| slot.fd).collect::<Vec<_>>(),
        [4, 5]
    );
    assert_eq!(copy.install(file(), false), Ok(0));
    assert_eq!(table.list().len(), 6);
    assert_eq!(table.get(-1).err(), Some(Errno::EBADF));
}

#[test]
fn open_flags_and_positions() {
    let world = World::new();
    let open = world.create("/f", "0123456789");
    let reader = world.open("/f", OpenFlags::empty()).unwrap();
    assert_eq!(reader.write(&mut SliceSource::new(b"x")), Err(Errno::EBADF));
    let writer = world
        .open("/f", OpenFlags::WRONLY | OpenFlags::APPEND)
        .unwrap();
    assert_eq!(writer.read(&mut VecSink::new(1)), Err(Errno::EBADF));
    writer.write(&mut SliceSource::new(b"ab")).unwrap();
    assert_eq!(writer.position(), 12);
    writer.set_flags(OpenFlags::NONBLOCK | OpenFlags::RDWR);
    assert_eq!(writer.flags(), OpenFlags::WRONLY | OpenFlags::NONBLOCK);
    assert_eq!(open.seek(2, 1), Ok(12));
    let path = world.open("/f", OpenFlags::PATH).unwrap();
    assert_eq!(path.read(&mut VecSink::new(1)), Err(Errno::EBADF));
    assert_eq!(path.seek(0, 0), Err(Errno::EBADF));
    drop(
        world
            .open("/f", OpenFlags::RDWR | OpenFlags::TRUNC)
            .unwrap(),
    );
    assert_eq!(open.metadata().size, 0);
    assert_eq!(world.open("/", OpenFlags::RDWR).err(), Some(Errno::EISDIR));
    let both = OpenFlags::CREAT | OpenFlags::DIRECTORY;
    assert_eq!(world.open("/new", both).err(), Some(Errno::EINVAL));
}

#[test]
fn listings_survive_changes() {
    let world = World::new();
    let names: Vec<String> = (0..100).map(|index| format!("/file{index}")).collect();
    names.iter().for_each(|name| drop(world.create(name, "")));
    let dir = world.open("/", OpenFlags::DIRECTORY).unwrap();
    let view = world.view();
    let mut seen = 0;
    loop {
        let mut sink = VecSink::new(200);
        if dir.read_dir(&mut sink).unwrap() == 0 {
            break;
        }
        let mut rest = &sink.bytes[..];
        while !rest.is_empty() {
            let name = rest[19..].split(|byte| *byte == 0).next().unwrap();
            if name.starts_with(b"file") {
                seen += 1;
                view.unlink(&view.root, name).unwrap();
            }
            rest = &rest[usize::from(rest[16])..];
        }
    }
    assert_eq!(seen, 100);
}

#[test]
fn threads_that_rename_against_each_other_lose_nothing() {
    let world = Arc::new(World::new());
    world.make_dirs(&["/a", "/b", "/a/x", "/b/y"]);
    (0..8).for_each(|index| drop(world.create(&format!("/a/x/{index}"), "")));
    let threads: Vec<_> = (0..4)
        .map(|id| {
            let world = world.clone();
            thread::spawn(move || {
                for round in 0..500 {
                    let (from, to) = if (round + id) % 2 == 0 {
                        ("a", "b")
                    } else {
                        ("b", "a")
                    };
                    let _ = world.rename(
                        &format!("/{from}/x"),
                        &format!("/{to}/x"),
                        RenameFlags::empty(),
                    );
                    let _ = world.rename(
                        &format!("/{to}/y"),
                        &format!("/{to}/x/y"),
                        RenameFlags::empty(),
                    );
                    let _ = world.rename(
                        &format!("/{from}/x/y"),
                        &format!("/{to}/y"),
                        RenameFlags::empty(),
                    );
                    let _ = world.find(&format!("/{from}/x/../../b/x/3"));
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let at = if world.find("/a/x").is_ok() {
        "/a/x"
    } else {
        "/b/x"
    };
    (0..8).for_each(|index| assert!(world.find(&format!("{at}/{index}")).is_ok()));
    let spots = ["/a/y", "/b/y", "/a/x/y", "/b/x/y"];
    assert_eq!(
        spots.iter().filter(|spot| world.find(spot).is_ok()).count(),
        1
    );
}
