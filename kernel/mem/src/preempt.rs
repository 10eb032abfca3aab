//! Where long work lets others run: a hook that the scheduler sets.

use sync::Once;

static HOOK: Once<fn()> = Once::new();

/// Sets what is called between the pieces of long work. It may switch threads;
/// no lock of this crate is held. The first one set stays.
pub fn set_preempt_hook(hook: fn()) {
    let _ = HOOK.set(hook);
}

pub(crate) fn point() {
    if let Some(hook) = HOOK.get() {
        hook();
    }
}
