//! The first program: root file system, console, process 1, and what its end
//! means.

use crate::{archive, command_line, console, device_nodes, host_view};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use hal::boot::BootInfo;
use vfs::{Credentials, FdTable, FsContext, OpenFlags};
use world::Status;

/// Descriptors of process 1, its limit at the start.
const FILES: u64 = 1024;

/// Starts process 1.
pub fn start(info: &BootInfo) {
    let fs = archive::unpack(info.archive);
    console::init();
    device_nodes::init(&fs);
    host_view::init(&fs);
    let files = FdTable::new(FILES);
    open_console(&fs, &files);
    world::set_first_exit_hook(ended);
    let path = command_line::value("init").unwrap_or("/init");
    let mut arguments = vec![path.as_bytes().to_vec()];
    arguments.extend(
        command_line::rest()
            .iter()
            .map(|word| word.as_bytes().to_vec()),
    );
    let environment: Vec<Vec<u8>> = [
        &b"HOME=/root"[..],
        b"PATH=/bin:/sbin:/usr/bin:/usr/sbin",
        b"TERM=linux",
    ]
    .map(<[u8]>::to_vec)
    .into();
    log::info!("starting {path}");
    if let Err(error) = world::start_first(fs, files, path, arguments, environment) {
        panic!(
            "{path} cannot be started: {error}; the boot archive must hold it, as a static x86-64 program"
        );
    }
}

fn open_console(fs: &Arc<FsContext>, files: &FdTable) {
    let credentials = Credentials::root();
    let view = fs.view(&credentials, None);
    let root = view.root.clone();
    let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
    match view.open(&root, b"/dev/console", flags, 0) {
        Ok(console) => {
            for _ in 0..3 {
                let _ = files.install(console.clone(), false);
            }
        }
        Err(error) => log::error!("/dev/console cannot be opened: {error}"),
    }
}

/// Process 1 ended: a verdict where one was asked for, else the machine is
/// turned off.
fn ended(status: Status) {
    let is_good = status == Status::Exited(0);
    log::info!("process 1 ended: {status:?}");
    hal::power::stop_others();
    if command_line::has("verdict") {
        hal::power::verdict(if is_good { 0x10 } else { 0x11 });
    }
    hal::power::off()
}
