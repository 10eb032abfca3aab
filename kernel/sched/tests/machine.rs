//! Threads on a simulated machine of four CPUs: each CPU is a thread of the
//! host, so that what happens at the same time is up to the host. One test,
//! because a process has one scheduler.

use hal::cpu;
use hal::irq::Handlers;
use hal::machine::Machine;
use sched::{Builder, EntitlementError, Params, Thread};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const CPUS: usize = 4;
const ROUNDS: u64 = 300;

struct Interrupts;

impl Handlers for Interrupts {
    fn timer(&self) {
        sched::handle_timer();
    }
    fn device(&self, _vector: u8) {
        sched::begin_interrupt();
    }
}

fn spawn(name: &str, main: impl FnOnce() + Send + 'static) -> Arc<Thread> {
    let thread = Builder::new(name).build(main).unwrap();
    thread.start();
    thread
}

/// Two threads that wake each other in turn and wait for nothing else: one lost
/// wake-up stops them for ever.
fn take_turns(done: Sender<&'static str>) {
    let turn = Arc::new(AtomicU64::new(0));
    let both = Arc::new([const { OnceLock::<Arc<Thread>>::new() }; 2]);
    for me in 0..2 {
        let (turn, both, done) = (turn.clone(), both.clone(), done.clone());
        spawn("turns", move || {
            both[me].set(sched::current()).unwrap();
            for round in (me as u64..2 * ROUNDS).step_by(2) {
                while turn.load(Ordering::Acquire) != round {
                    let other_is_there = both[1 - me].get().is_some();
                    if other_is_there {
                        sched::park(None);
                    } else {
                        sched::yield_now();
                    }
                }
                turn.store(round + 1, Ordering::Release);
                if let Some(other) = both[1 - me].get() {
                    other.unpark();
                }
            }
            done.send("turns").unwrap();
        });
    }
}

/// A thread that goes where it is told, at once.
fn wander(seed: usize, done: Sender<&'static str>) {
    spawn("wanderer", move || {
        let me = sched::current();
        for step in 0..ROUNDS as usize {
            let cpu = (step * 7 + seed) % CPUS;
            me.set_affinity(1 << cpu).unwrap();
            sched::preempt_point();
            assert_eq!(cpu::id(), cpu, "step {step} of wanderer {seed}");
            sched::yield_now();
            assert_eq!(cpu::id(), cpu, "after yielding, step {step}");
        }
        done.send("wander").unwrap();
    });
}

/// Threads that others send about while they run, wait or sleep.
fn chase(done: Sender<&'static str>) {
    let stop = Arc::new(AtomicUsize::new(0));
    let runner = {
        let stop = stop.clone();
        spawn("runner", move || {
            while stop.load(Ordering::Acquire) == 0 {
                sched::yield_now();
                sched::preempt_point();
            }
        })
    };
    spawn("chaser", move || {
        for step in 0..ROUNDS {
            let mask = 1 << (step % CPUS as u64);
            runner.set_affinity(mask).unwrap();
            runner.set_weight(100 + step as u32);
            assert_eq!(runner.affinity(), mask);
            sched::yield_now();
        }
        assert_eq!(runner.params().weight, 100 + ROUNDS as u32 - 1);
        stop.store(1, Ordering::Release);
        done.send("chase").unwrap();
    });
}

/// Sleeping with a deadline ends at it, not before.
fn sleep(done: Sender<&'static str>) {
    spawn("sleeper", move || {
        for step in 1..ROUNDS {
            let until = hal::time::now_ns() + step * 1_000;
            while hal::time::now_ns() < until {
                sched::park(Some(until));
            }
        }
        done.send("sleep").unwrap();
    });
}

/// Threads that end while others begin.
fn come_and_go(done: Sender<&'static str>) {
    spawn("parent", move || {
        let left = Arc::new(AtomicU64::new(ROUNDS));
        let me = sched::current();
        for _ in 0..ROUNDS {
            let (left, me) = (left.clone(), me.clone());
            spawn("child", move || {
                left.fetch_sub(1, Ordering::AcqRel);
                me.unpark();
            });
            sched::yield_now();
        }
        while left.load(Ordering::Acquire) != 0 {
            sched::park(None);
        }
        done.send("come and go").unwrap();
    });
}

/// Reservations are granted while there is room, and given back at the end.
fn reserve(done: Sender<&'static str>) {
    spawn("reserver", move || {
        let me = sched::current();
        let most = Params {
            reservation: sched_policy::RESERVABLE,
            ..Params::DEFAULT
        };
        for _ in 0..3 {
            let mut others = Vec::new();
            for _ in 0..CPUS {
                let thread = spawn("reserved", || sched::park(None));
                thread.set_params(most).unwrap();
                others.push(thread);
            }
            let refused = me.set_params(most);
            assert_eq!(
                refused,
                Err(EntitlementError::NoRoom(sched_policy::RESERVABLE))
            );
            for thread in others {
                thread.set_params(Params::DEFAULT).unwrap();
                thread.unpark();
            }
        }
        me.set_params(most).unwrap();
        sched::preempt_point();
        sched::yield_now();
        assert!(me.set_affinity(1 << cpu::id()).is_ok());
        done.send("reserve").unwrap();
    });
}

#[test]
fn nothing_is_lost_on_four_cpus() {
    let machine = Machine::new(CPUS);
    machine.enter(0);
    hal::irq::set_handlers(&Interrupts);
    sched::init();
    for cpu in 0..CPUS {
        let machine = machine.clone();
        std::thread::spawn(move || {
            machine.enter(cpu);
            sched::run_cpu()
        });
    }
    // Work begins when every CPU has its idle thread.
    while (0..CPUS).any(|cpu| sched::cpu_times(cpu).idle_ns + sched::cpu_times(cpu).busy_ns == 0) {
        hal::time::advance(1);
        std::thread::yield_now();
    }
    let (done, ended) = channel();
    let mut expected = 0;
    for seed in 0..3 {
        take_turns(done.clone());
        wander(seed, done.clone());
        sleep(done.clone());
        expected += 4;
    }
    chase(done.clone());
    come_and_go(done.clone());
    reserve(done);
    expected += 3;
    for count in 0..expected {
        let name = ended.recv_timeout(Duration::from_secs(120));
        assert!(name.is_ok(), "after {count} of {expected} all others hang");
    }
    let switches: u64 = (0..CPUS).map(|cpu| sched::cpu_times(cpu).switches).sum();
    assert!(switches > ROUNDS, "only {switches} switches");
}
