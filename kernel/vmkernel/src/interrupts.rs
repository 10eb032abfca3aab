//! What the kernel does at interrupts: the timer's, and those of devices, by
//! whom each vector was given to.

use alloc::boxed::Box;
use hal::irq::Handlers;
use sync::SpinLock;

type Handler = dyn Fn() + Send + Sync;

struct Kernel;

static DEVICES: SpinLock<[Option<&'static Handler>; 256]> = SpinLock::new([None; 256]);

impl Handlers for Kernel {
    fn timer(&self) {
        sched::handle_timer();
    }

    fn device(&self, vector: u8) {
        sched::begin_interrupt();
        let handler = DEVICES.lock()[usize::from(vector)];
        crate::random::add_event();
        match handler {
            Some(handler) => handler(),
            None if device::INTERRUPTS.dispatch(vector) => {}
            None => log::warn!("interrupt {vector:#x} belongs to no device"),
        }
    }
}

/// Registers the handlers.
pub fn init() {
    hal::irq::set_handlers(&Kernel);
}

/// Gives a device a vector for as long as the kernel runs.
pub fn register(handler: impl Fn() + Send + Sync + 'static) -> Option<u8> {
    let vector = hal::irq::alloc_vector()?;
    DEVICES.lock()[usize::from(vector)] = Some(Box::leak(Box::new(handler)));
    Some(vector)
}
