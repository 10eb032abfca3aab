//! execve(2): from a file to a running program.

use crate::image::{Loaded, ProgramFile, read_at};
use crate::process::{Inherited, Process, Program, default_limits};
use crate::signal::Actions;
use crate::start_stack::{self, Placed, Start};
use crate::{Context, Result, UserThread, clone, exit, registry};
use abi::Errno;
use abi::process::limit;
use abi::signal::{AltStack, SignalSet, number};
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use hal::fpu::FpuArea;
use hal::mem::{Account, Prot};
use hal::user_context::UserContext;
use mem::{Layout, MapFlags, MapKind, PAGE, Space};
use sync::Once;
use vfs::{Credentials, FdTable, Follow, FsContext, FsView, Location, OpenFile, OpenFlags};

/// The most bytes that arguments and environment take together.
pub const STRINGS_MAX: usize = 2 << 20;
/// How many scripts may be each other's interpreters.
const SCRIPT_DEPTH: usize = 5;
/// Where relocatable programs are put, before randomization.
const PIE_BASE: u64 = 0x5555_5555_4000;
/// The part of a stack that exists from the start.
const FIRST_STACK: u64 = 132 << 10;

/// What a program is started with.
struct Request {
    path: Vec<u8>,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
}

/// A program in an address space of its own, ready to run.
struct Ready {
    space: Arc<Space>,
    user: UserContext,
    program: Program,
}

type Random = fn(&mut [u8]);
static RANDOM: Once<Random> = Once::new();

/// Registers the source of randomness; once, at boot.
pub fn set_random(random: fn(&mut [u8])) {
    let _ = RANDOM.set(random);
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    if let Some(random) = RANDOM.get() {
        random(&mut bytes);
    }
    bytes
}

impl Context<'_> {
    /// Runs the program at `path`, relative to `at`, in place of this one.
    pub fn execute(
        &mut self,
        at: &Location,
        path: Vec<u8>,
        arguments: Vec<Vec<u8>>,
        environment: Vec<Vec<u8>>,
    ) -> Result<u64> {
        let request = Request {
            path,
            arguments,
            environment,
        };
        let view = self.fs_context().view(self.credentials(), Some(&*self));
        let ready = prepare(
            &view,
            at,
            request,
            self.process().account(),
            self.process().limit(limit::STACK).soft,
        )?;
        drop(view);
        self.become_only_thread()?;
        self.enter(ready);
        self.process().is_executing.store(false, Ordering::Release);
        Ok(0)
    }

    /// Ends the other threads, waits until they are gone, and takes the
    /// process's number. Of two threads that try, the second leaves.
    fn become_only_thread(&mut self) -> Result<()> {
        let process = self.process().clone();
        if process.is_executing.swap(true, Ordering::AcqRel) {
            return Err(Errno::EAGAIN);
        }
        // Looks again each time: one that leaves may just have made another.
        let alone = || {
            let threads = process.threads();
            let others = threads
                .iter()
                .filter(|other| !Arc::ptr_eq(other, self.thread()));
            others.inspect(|other| other.leave()).count() == 0
        };
        process
            .resumed
            .wait_uninterrupted(|| (alone() || self.is_ending()).then_some(()));
        if self.is_ending() {
            return Err(Errno::EINTR);
        }
        if self.thread().tid() != process.pid() {
            registry::remove_thread(self.thread().tid());
            self.thread().set_tid(process.pid());
            registry::add_thread(self.thread());
        }
        Ok(())
    }

    fn enter(&mut self, ready: Ready) {
        let process = self.process().clone();
        exit::let_go(self.thread(), self.space());
        process
            .exit_signal
            .store(number::SIGCHLD, Ordering::Relaxed);
        let old_actions = process.actions.lock().clone();
        let actions = old_actions.for_exec();
        let old = core::mem::replace(&mut *process.actions.lock(), actions);
        drop(old);
        self.thread().set_alt_stack(AltStack::default());
        self.thread().set_clear_at_exit(0);
        self.thread().set_robust_list(0, 0);
        self.thread().sched().set_name(ready.program.name.clone());
        let old = core::mem::replace(&mut *process.program.lock(), ready.program);
        drop(old);
        process.set_space(Some(ready.space));
        // A table shared with another process must not lose its descriptors.
        if !process.has_own_files() {
            self.unshare_files();
        }
        self.files().close_on_exec();
        self.refresh();
        self.space().activate();
        hal::task::set_user_bases(0, 0);
        let _ = reset_fpu(&self.thread().fpu);
        *self.user = ready.user;
        exit::tell_vfork(&process);
    }
}

fn reset_fpu(area: &Arc<FpuArea>) -> Result<()> {
    let mut fresh = vec![0; hal::fpu::size()];
    FpuArea::new()?.read(&mut fresh);
    area.write(&fresh).map_err(|_| Errno::EINVAL)
}

/// Starts process 1 on `path`.
pub fn start_first(
    fs: Arc<FsContext>,
    files: Arc<FdTable>,
    path: &str,
    arguments: Vec<Vec<u8>>,
    environment: Vec<Vec<u8>>,
) -> Result<Arc<Process>> {
    let credentials = Arc::new(Credentials::root());
    let account = Account::new(u64::MAX)?;
    let request = Request {
        path: path.as_bytes().to_vec(),
        arguments,
        environment,
    };
    let limits = default_limits();
    let ready = {
        let view = fs.view(&credentials, None);
        let at = view.cwd.clone();
        prepare(&view, &at, request, &account, limits[limit::STACK].soft)?
    };
    let pid = registry::take_number();
    let inherited = Inherited {
        parent: Weak::new(),
        parent_pid: 0,
        space: ready.space,
        files,
        fs,
        program: ready.program,
        credentials,
        group: None,
        session: None,
        limits,
        actions: Actions::new(),
        account,
        exit_signal: 0,
        has_no_new_privs: false,
    };
    let process = Process::new(pid, inherited);
    let thread = UserThread::new(pid, process.clone(), SignalSet::default(), FpuArea::new()?);
    clone::launch(&thread, ready.user, (0, 0))?;
    Ok(process)
}

fn prepare(
    view: &FsView<'_>,
    at: &Location,
    mut request: Request,
    account: &Account,
    stack_limit: u64,
) -> Result<Ready> {
    check_size(&request)?;
    let mut place = view.resolve(at, &request.path, Follow::Last)?;
    for _ in 0..SCRIPT_DEPTH {
        view.may_execute(&place)?;
        let file = view.open_location(place.clone(), OpenFlags::default())?;
        let mut first = vec![0; PAGE as usize];
        let count = read_at(&file, 0, &mut first)?;
        first.truncate(count);
        if let Some(line) = first.strip_prefix(b"#!") {
            place = follow_script(view, at, &mut request, line)?;
            continue;
        }
        let program = ProgramFile::read(file, first)?.ok_or(Errno::ENOEXEC)?;
        return load(view, at, &request, place, &program, account, stack_limit);
    }
    Err(Errno::ELOOP)
}

fn check_size(request: &Request) -> Result<()> {
    let bytes = |strings: &[Vec<u8>]| strings.iter().map(|string| string.len() + 9).sum::<usize>();
    if bytes(&request.arguments) + bytes(&request.environment) > STRINGS_MAX {
        return Err(Errno::E2BIG);
    }
    Ok(())
}

/// Puts a script's interpreter in its place (execve(2), "Interpreter scripts").
fn follow_script(
    view: &FsView<'_>,
    at: &Location,
    request: &mut Request,
    line: &[u8],
) -> Result<Location> {
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.trim_ascii();
    let (interpreter, argument) = match line.iter().position(|&byte| byte == b' ' || byte == b'\t')
    {
        Some(end) => (&line[..end], Some(line[end..].trim_ascii().to_vec())),
        None => (line, None),
    };
    if interpreter.is_empty() {
        return Err(Errno::ENOEXEC);
    }
    let script = core::mem::take(&mut request.path);
    let mut arguments = vec![interpreter.to_vec()];
    arguments.extend(argument.filter(|argument| !argument.is_empty()));
    arguments.push(script);
    arguments.extend(request.arguments.drain(..).skip(1));
    request.arguments = arguments;
    request.path = interpreter.to_vec();
    view.resolve(at, interpreter, Follow::Last)
}

fn load(
    view: &FsView<'_>,
    at: &Location,
    request: &Request,
    place: Location,
    program: &ProgramFile,
    account: &Account,
    stack_limit: u64,
) -> Result<Ready> {
    let seed = u64::from_le_bytes(random_bytes());
    let image = program.image()?;
    let base = match image.image_type() {
        elf_image::ImageType::Fixed => 0,
        elf_image::ImageType::Relocatable => {
            let shift = (seed >> 50 << 12) & 0x0fff_f000;
            (PIE_BASE + shift).next_multiple_of(image.align()) - image.span().0
        }
    };
    let space = Space::new(account)?;
    let mut layout = Layout::new(stack_limit, seed);
    layout.heap = (base + image.span().1 + (seed >> 40 & 0xfff) * PAGE).next_multiple_of(PAGE);
    space.set_layout(layout);
    space.set_stack_limit(stack_limit);
    let loaded = program.load(&space, base)?;
    let (entry, interpreter_base) = match program.interpreter()? {
        None => (loaded.entry, 0),
        Some(path) => {
            let interpreter = load_interpreter(view, at, &path, &space, &layout)?;
            (interpreter.entry, interpreter.base)
        }
    };
    let prot = Prot::READ | Prot::WRITE;
    let kind = MapKind::Anonymous { shared: false };
    space.mmap(
        layout.stack_top - FIRST_STACK,
        FIRST_STACK,
        prot,
        kind,
        MapFlags::FIXED | MapFlags::GROWS_DOWN,
    )?;
    let start = Start {
        path: &request.path,
        arguments: &request.arguments,
        environment: &request.environment,
        program: loaded,
        interpreter_base,
        credentials: view.credentials,
        random: random_bytes(),
    };
    let placed = start_stack::build(&space, layout.stack_top, &start)?;
    let mut user = UserContext::default();
    user.regs_mut().rip = entry;
    user.regs_mut().rsp = placed.rsp;
    user.regs_mut().restore_fully();
    Ok(Ready {
        space,
        user,
        program: describe(place, placed, &request.path),
    })
}

fn load_interpreter(
    view: &FsView<'_>,
    at: &Location,
    path: &[u8],
    space: &Space,
    layout: &Layout,
) -> Result<Loaded> {
    let place = view.resolve(at, path, Follow::Last)?;
    view.may_execute(&place)?;
    let file: Arc<OpenFile> = view.open_location(place, OpenFlags::default())?;
    let mut first = vec![0; PAGE as usize];
    let count = read_at(&file, 0, &mut first)?;
    first.truncate(count);
    let program = ProgramFile::read(file, first)?.ok_or(Errno::ELIBBAD)?;
    let image = program.image()?;
    let size = image
        .size()
        .checked_next_multiple_of(PAGE)
        .ok_or(Errno::ELIBBAD)?;
    let base = layout.mmap_top.checked_sub(size).ok_or(Errno::ENOMEM)? & !(image.align() - 1);
    program.load(space, base - image.span().0)
}

fn describe(place: Location, placed: Placed, path: &[u8]) -> Program {
    let last = path.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    let name = String::from_utf8_lossy(&last[..last.len().min(15)]).into_owned();
    Program {
        file: Some(place),
        name,
        arguments: placed.arguments,
        environment: placed.environment,
        auxv: placed.auxv,
    }
}
