//! execve(2) and execveat(2).

use crate::arguments::{path, start_of, strings};
use crate::{Args, Context, Result};
use abi::Errno;
use abi::fs::{AT_EMPTY_PATH, AT_FDCWD};
use vfs::Caller;

/// Flags of execveat(2).
pub(crate) const EXEC_FLAGS: u64 = AT_EMPTY_PATH as u64;

pub(crate) fn execve(
    context: &mut Context<'_>,
    [name, arguments, environment, ..]: Args,
) -> Result<u64> {
    execveat(
        context,
        [AT_FDCWD as u64, name, arguments, environment, 0, 0],
    )
}

pub(crate) fn execveat(
    context: &mut Context<'_>,
    [at, name, arguments, environment, flags, _]: Args,
) -> Result<u64> {
    let name = path(context, name)?;
    if flags & !EXEC_FLAGS != 0 {
        return Err(Errno::EINVAL);
    }
    let mut budget = world::STRINGS_MAX;
    let arguments = strings(context, arguments, &mut budget)?;
    let environment = strings(context, environment, &mut budget)?;
    if name.is_empty() {
        if flags & u64::from(AT_EMPTY_PATH) == 0 {
            return Err(Errno::ENOENT);
        }
        let place = context
            .file(at as i32)?
            .place()
            .cloned()
            .ok_or(Errno::EACCES)?;
        let full = place.path(&context.fs_context().root());
        let start = context.fs_context().root();
        return context.execute(&start, full, arguments, environment);
    }
    let start = start_of(context, at, &name)?;
    context.execute(&start, name, arguments, environment)
}
