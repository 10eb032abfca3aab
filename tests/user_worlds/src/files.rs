//! Files: what the standard library does with them, and /proc/self.

use crate::sys::{self, fork, wait_exit};
use crate::{Check, call};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};

pub const CHECKS: &[Check] = &[
    ("file_read_write_seek", read_write_seek),
    ("file_folders", folders),
    ("file_links_and_renames", links),
    ("file_metadata", metadata),
    ("file_append_and_truncate", append),
    ("file_locks", locks),
    ("file_sendfile", sendfile),
    ("file_mounts", mounts),
    ("file_random", random),
    ("file_errors", errors),
];

fn read_write_seek() {
    let path = format!("{}/data", sys::folder("rw"));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)
        .expect("open");
    let text: Vec<u8> = (0..100_000u32).map(|number| (number % 251) as u8).collect();
    file.write_all(&text).expect("write");
    file.seek(SeekFrom::Start(70_000)).expect("seek");
    let mut part = [0; 1000];
    file.read_exact(&mut part).expect("read");
    assert_eq!(part[..], text[70_000..71_000]);
    file.write_all_at(b"hole", 1 << 20).expect("pwrite");
    assert_eq!(file.metadata().expect("stat").len(), (1 << 20) + 4);
    file.read_exact_at(&mut part, 500_000).expect("pread");
    assert_eq!(part, [0; 1000]);
    assert!(file.seek(SeekFrom::Current(-1 << 40)).is_err());
    assert_eq!(fs::read(&path).expect("read")[..text.len()], text);
}

fn folders() {
    let folder = sys::folder("folders");
    for number in 0..300 {
        File::create(format!("{folder}/file{number}")).expect("create");
    }
    fs::create_dir_all(format!("{folder}/a/b/c")).expect("mkdir");
    let mut names: Vec<_> = fs::read_dir(&folder)
        .expect("readdir")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 301);
    assert_eq!(
        fs::remove_dir(&folder).expect_err("removed").raw_os_error(),
        Some(libc::ENOTEMPTY)
    );
    fs::remove_dir_all(&folder).expect("remove");
    assert_eq!(
        fs::metadata(&folder).expect_err("there").raw_os_error(),
        Some(libc::ENOENT)
    );
}

fn links() {
    let folder = sys::folder("links");
    let path = |name: &str| format!("{folder}/{name}");
    fs::write(path("one"), "1").expect("write");
    fs::hard_link(path("one"), path("two")).expect("link");
    assert_eq!(fs::metadata(path("two")).expect("stat").nlink(), 2);
    symlink("one", path("soft")).expect("symlink");
    assert_eq!(
        fs::read_link(path("soft")).expect("readlink").to_str(),
        Some("one")
    );
    assert_eq!(fs::read_to_string(path("soft")).expect("read"), "1");
    fs::write(path("other"), "2").expect("write");
    fs::rename(path("other"), path("one")).expect("rename");
    assert_eq!(fs::read_to_string(path("soft")).expect("read"), "2");
    assert_eq!(fs::read_to_string(path("two")).expect("read"), "1");
    // An open file outlives its name.
    let mut file = File::open(path("two")).expect("open");
    fs::remove_file(path("two")).expect("remove");
    let mut text = String::new();
    file.read_to_string(&mut text).expect("read");
    assert_eq!(
        (text.as_str(), file.metadata().expect("stat").nlink()),
        ("1", 0)
    );
    fs::create_dir(path("sub")).expect("mkdir");
    assert_eq!(
        fs::rename(&folder, path("sub/x"))
            .expect_err("moved")
            .raw_os_error(),
        Some(libc::EINVAL)
    );
    std::env::set_current_dir(path("sub")).expect("chdir");
    assert_eq!(
        std::env::current_dir().expect("getcwd").to_str(),
        Some(&*path("sub"))
    );
    assert!(fs::metadata("../one").is_ok());
}

fn metadata() {
    let path = format!("{}/meta", sys::folder("metadata"));
    // SAFETY: changes the mask of this process.
    unsafe { libc::umask(0o027) };
    fs::write(&path, "x").expect("write");
    assert_eq!(
        fs::metadata(&path).expect("stat").permissions().mode(),
        0o100_640
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).expect("chmod");
    assert_eq!(fs::metadata(&path).expect("stat").mode(), 0o104_711);
    let terminated = format!("{path}\0");
    let times = [5u64, 6, 7, 8];
    call!(
        libc::SYS_utimensat,
        libc::AT_FDCWD,
        terminated.as_ptr(),
        times.as_ptr(),
        0
    )
    .expect("utimensat");
    let found = fs::metadata(&path).expect("stat");
    assert_eq!((found.mtime(), found.mtime_nsec()), (7, 8));
    let null = fs::metadata("/dev/null").expect("stat");
    assert_eq!(
        (null.mode() & libc::S_IFMT, null.rdev()),
        (libc::S_IFCHR, 0x103)
    );
}

fn append() {
    let path = format!("{}/log", sys::folder("append"));
    fs::write(&path, "").expect("write");
    let children: Vec<_> = (0..4)
        .map(|number| {
            fork(|| {
                let mut file = OpenOptions::new().append(true).open(&path).expect("open");
                for _ in 0..100 {
                    file.write_all(format!("{number}{number}{number}\n").as_bytes())
                        .expect("write");
                }
                0
            })
        })
        .collect();
    children
        .into_iter()
        .for_each(|child| assert_eq!(wait_exit(child), 0));
    let text = fs::read_to_string(&path).expect("read");
    assert_eq!(text.lines().count(), 400);
    assert!(text.lines().all(|line| {
        line.len() == 3
            && line
                .as_bytes()
                .iter()
                .all(|byte| *byte == line.as_bytes()[0])
    }));
    let file = OpenOptions::new().write(true).open(&path).expect("open");
    file.set_len(5).expect("truncate");
    assert_eq!(fs::read(&path).expect("read").len(), 5);
}

fn locks() {
    let path = format!("{}/lock", sys::folder("locks"));
    let file = File::create(&path).expect("create");
    assert_eq!(
        call!(libc::SYS_flock, file.as_raw_fd(), libc::LOCK_EX),
        Ok(0)
    );
    let child = fork(|| {
        let other = File::open(&path).expect("open");
        let result = call!(
            libc::SYS_flock,
            other.as_raw_fd(),
            libc::LOCK_EX | libc::LOCK_NB
        );
        i32::from(result != Err(libc::EAGAIN))
    });
    assert_eq!(wait_exit(child), 0);
    // Gone with its process, even when killed.
    let gate = sys::pipe();
    let holder = fork(|| {
        // type, whence; start; length; pid
        let lock = [libc::F_WRLCK as u64, 0, 10, 0];
        call!(
            libc::SYS_fcntl,
            file.as_raw_fd(),
            libc::F_SETLK,
            lock.as_ptr()
        )
        .expect("lock");
        let _ = sys::write(gate[1], b"x");
        loop {
            let _ = call!(libc::SYS_pause);
        }
    });
    sys::read(gate[0], &mut [0]).expect("read");
    let mut lock = [libc::F_WRLCK as u64, 5, 1, 0];
    call!(
        libc::SYS_fcntl,
        file.as_raw_fd(),
        libc::F_GETLK,
        lock.as_mut_ptr()
    )
    .expect("getlk");
    assert_eq!(
        (lock[0] as i16, lock[3] as i32),
        (libc::F_WRLCK as i16, holder)
    );
    let lock = [libc::F_WRLCK as u64, 5, 1, 0];
    assert_eq!(
        call!(
            libc::SYS_fcntl,
            file.as_raw_fd(),
            libc::F_SETLK,
            lock.as_ptr()
        ),
        Err(libc::EAGAIN)
    );
    sys::kill(holder, libc::SIGKILL);
    assert_eq!(
        call!(
            libc::SYS_fcntl,
            file.as_raw_fd(),
            libc::F_SETLKW,
            lock.as_ptr()
        ),
        Ok(0)
    );
    sys::wait(holder);
}

fn sendfile() {
    let path = format!("{}/big", sys::folder("sendfile"));
    let data: Vec<u8> = (0..300_000u32).map(|number| (number / 7) as u8).collect();
    fs::write(&path, &data).expect("write");
    let source = File::open(&path).expect("open");
    let target = File::create(format!("{path}.copy")).expect("create");
    let mut offset = 1000u64;
    let mut left = data.len() - 1000;
    while left > 0 {
        let count = call!(
            libc::SYS_sendfile,
            target.as_raw_fd(),
            source.as_raw_fd(),
            &raw mut offset,
            left
        )
        .expect("sendfile");
        left -= count as usize;
    }
    assert_eq!(offset as usize, data.len());
    assert_eq!(
        fs::read(format!("{path}.copy")).expect("read"),
        data[1000..]
    );
    fs::copy(&path, format!("{path}.again")).expect("copy");
    assert_eq!(fs::read(format!("{path}.again")).expect("read"), data);
}

fn mounts() {
    // SAFETY: asks who this is.
    if unsafe { libc::geteuid() } != 0 {
        return;
    }
    let folder = sys::folder("mounts");
    let target = format!("{folder}\0");
    let mount = |kind: &std::ffi::CStr, flags: u64, data: &std::ffi::CStr| {
        call!(
            libc::SYS_mount,
            c"none".as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags,
            data.as_ptr()
        )
    };
    assert_eq!(mount(c"no_such_kind", 0, c""), Err(libc::ENODEV));
    match mount(c"tmpfs", libc::MS_NOSUID, c"size=64k,mode=700") {
        // In a container even the superuser may not.
        Err(libc::EPERM) => return,
        result => assert_eq!(result, Ok(0)),
    }
    assert_eq!(fs::metadata(&folder).expect("stat").mode() & 0o777, 0o700);
    let error = fs::write(format!("{folder}/full"), vec![1; 100_000]).expect_err("written");
    assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    let busy = File::open(format!("{folder}/full")).expect("open");
    assert_eq!(
        call!(libc::SYS_umount2, target.as_ptr(), 0),
        Err(libc::EBUSY)
    );
    drop(busy);
    assert_eq!(call!(libc::SYS_umount2, target.as_ptr(), 0), Ok(0));
    assert!(fs::metadata(format!("{folder}/full")).is_err());
    assert_eq!(
        call!(libc::SYS_umount2, target.as_ptr(), 0),
        Err(libc::EINVAL)
    );
}

fn random() {
    let mut one = [0u8; 300];
    let mut two = [0u8; 300];
    assert_eq!(
        call!(libc::SYS_getrandom, one.as_mut_ptr(), 300, 0),
        Ok(300)
    );
    assert_eq!(
        call!(
            libc::SYS_getrandom,
            two.as_mut_ptr(),
            300,
            libc::GRND_NONBLOCK
        ),
        Ok(300)
    );
    assert_ne!(one, two);
    assert!(one.iter().filter(|&&byte| byte == one[0]).count() < 50);
    assert_eq!(
        call!(libc::SYS_getrandom, one.as_mut_ptr(), 1, 0x80),
        Err(libc::EINVAL)
    );
    let mut file = File::open("/dev/urandom").expect("open");
    file.read_exact(&mut two).expect("read");
    assert_ne!(one, two);
}

fn errors() {
    let folder = format!("{}\0", sys::folder("errors"));
    let open = |path: &str, flags: i32| {
        let path = format!("{path}\0");
        call!(libc::SYS_open, path.as_ptr(), flags, 0o600)
    };
    assert_eq!(open("/nowhere/at/all", libc::O_CREAT), Err(libc::ENOENT));
    assert_eq!(open("/dev/null/x", 0), Err(libc::ENOTDIR));
    assert_eq!(open("/tmp", libc::O_WRONLY), Err(libc::EISDIR));
    assert_eq!(open("/dev/null", libc::O_DIRECTORY), Err(libc::ENOTDIR));
    assert_eq!(
        open("/tmp", libc::O_CREAT | libc::O_EXCL),
        Err(libc::EEXIST)
    );
    assert_eq!(
        call!(libc::SYS_mkdir, folder.as_ptr(), 0o700),
        Err(libc::EEXIST)
    );
    assert_eq!(
        call!(libc::SYS_rmdir, c"/dev/null".as_ptr()),
        Err(libc::ENOTDIR)
    );
    assert_eq!(call!(libc::SYS_unlink, folder.as_ptr()), Err(libc::EISDIR));
    assert_eq!(
        call!(libc::SYS_readlink, folder.as_ptr(), folder.as_ptr(), 10),
        Err(libc::EINVAL)
    );
    assert_eq!(open(&"n".repeat(256), 0), Err(libc::ENAMETOOLONG));
    let fd = open("/bin/busybox", 0).expect("open");
    assert_eq!(
        call!(libc::SYS_write, fd, folder.as_ptr(), 1),
        Err(libc::EBADF)
    );
    assert_eq!(call!(libc::SYS_ftruncate, fd, 0), Err(libc::EINVAL));
    assert_eq!(call!(libc::SYS_lseek, fd, -1i64, 0), Err(libc::EINVAL));
    assert_eq!(
        call!(libc::SYS_lseek, sys::pipe()[0], 0, 1),
        Err(libc::ESPIPE)
    );
    assert_eq!(
        call!(libc::SYS_getdents64, fd, folder.as_ptr(), 100),
        Err(libc::ENOTDIR)
    );
    assert_eq!(
        call!(libc::SYS_ioctl, fd, 0x5401, folder.as_ptr()),
        Err(libc::ENOTTY)
    );
    assert_eq!(call!(1000), Err(libc::ENOSYS));
    assert_eq!(call!(-5i64), Err(libc::ENOSYS));
}
