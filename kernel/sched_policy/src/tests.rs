//! What the policy promises, under the simulator.

extern crate std;

use std::vec::Vec;

use proptest::prelude::*;

use crate::placement::{Request, choose_cpu};
use crate::sim::{Habit, Sim};
use crate::{
    CpuLoad, CpuSet, Entity, LIMIT_CREDIT, Params, ParamsError, Preempt, RunQueue, SLEEPER_CREDIT,
    SLICE_MAX, SLICE_RESERVED, WHOLE_CPU,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1000 * MS;

/// Time used by each thread in a window from now on.
fn window(sim: &mut Sim, threads: &[usize], length: u64) -> Vec<u64> {
    let before: Vec<u64> = threads.iter().map(|t| sim.used(*t)).collect();
    sim.run_until(sim.now + length);
    threads
        .iter()
        .zip(before)
        .map(|(t, b)| sim.used(*t) - b)
        .collect()
}

/// The least and the most a thread used in any second, seen every 50 ms.
fn every_second(sim: &mut Sim, thread: usize, seconds: u64) -> (u64, u64) {
    let mut samples = std::vec![sim.used(thread)];
    for _ in 0..seconds * 20 {
        sim.run_until(sim.now + 50 * MS);
        samples.push(sim.used(thread));
    }
    let windows = samples.windows(21).map(|w| w[20] - w[0]);
    (windows.clone().min().unwrap(), windows.max().unwrap())
}

fn reserved(reservation: u32) -> Params {
    Params {
        reservation,
        ..Params::DEFAULT
    }
}

fn limited(limit: u32) -> Params {
    Params {
        limit,
        ..Params::DEFAULT
    }
}

fn part(ppm: u32) -> u64 {
    u64::from(ppm) * SECOND / u64::from(WHOLE_CPU)
}

#[test]
fn a_lone_thread_needs_no_timer() {
    let mut queue = RunQueue::new(0, 4);
    let mut a = Entity::new(Params::DEFAULT).unwrap();
    let mut b = Entity::new(Params::DEFAULT).unwrap();
    assert_eq!(queue.wake('a', &mut a, 0, false), Preempt::Now);
    assert_eq!(queue.pick(0), Some('a'));
    assert_eq!(queue.start(&mut a, 0), None);
    assert_eq!(
        queue.wake('b', &mut b, 100, true),
        Preempt::Later(Some(SLICE_MAX))
    );
    assert_eq!(queue.charge(&mut a, 200), 200);
    queue.block(&mut a);
    assert_eq!(queue.pick(200), Some('b'));
    assert_eq!(queue.start(&mut b, 200), None);
    assert!(!a.is_queued() && !b.is_queued());
    queue.block(&mut b);
    assert_eq!(queue.pick(300), None);
    assert_eq!(queue.load(), CpuLoad::default());
}

#[test]
fn a_waiting_thread_can_be_removed_and_changed() {
    let mut queue = RunQueue::new(0, 0);
    let mut entities: Vec<Entity> = (0..9)
        .map(|_| Entity::new(reserved(100_000)).unwrap())
        .collect();
    for (id, entity) in entities.iter_mut().enumerate() {
        let _ = queue.wake(id, entity, 0, false);
    }
    assert_eq!(queue.load().waiting, 9);
    assert_eq!(queue.remove(&mut entities[4], 0), Some(4));
    assert_eq!(queue.remove(&mut entities[4], 0), None);
    entities[4].set_params(limited(500_000), 0).unwrap();
    let _ = queue.wake(4, &mut entities[4], 0, false);
    let mut seen: Vec<usize> = std::iter::from_fn(|| queue.pick(0)).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..9).collect::<Vec<_>>());
}

#[test]
fn parameters_are_checked() {
    let with = |weight, reservation, limit| {
        Entity::new(Params {
            weight,
            reservation,
            limit,
        })
        .err()
    };
    assert_eq!(with(0, 0, 1), Some(ParamsError::Weight(0)));
    assert_eq!(with(u32::MAX, 0, 1), Some(ParamsError::Weight(u32::MAX)));
    assert_eq!(with(1, 0, 0), Some(ParamsError::Limit(0)));
    assert_eq!(
        with(1, 0, WHOLE_CPU + 1),
        Some(ParamsError::Limit(WHOLE_CPU + 1))
    );
    assert_eq!(with(1, 2, 1), Some(ParamsError::Reservation(2)));
    assert_eq!(with(1, 1, 1), None);
    let mut queue = RunQueue::<u8>::new(0, 0);
    assert!(queue.grant(600_000) && !queue.grant(600_000) && queue.grant(350_000));
    queue.revoke(600_000);
    assert!(queue.grant(600_000));
}

/// Runs until a thread that ran and went to sleep has woken again.
fn until_it_wakes(sim: &mut Sim, thread: usize) {
    sim.run_until(sim.now + 5 * SECOND);
    let before = sim.used(thread);
    assert!(before > 0);
    while sim.used(thread) == before {
        sim.run_until(sim.now + MS / 10);
    }
}

#[test]
fn a_sleeper_starts_promptly_but_banks_nothing() {
    for hogs in 1..4 {
        let mut sim = Sim::new(1);
        (0..hogs).for_each(|_| _ = sim.hog(1024));
        let habit = Habit {
            run: 400 * MS,
            sleep: 10 * SECOND,
        };
        let sleeper = sim.spawn(Params::DEFAULT, habit, SECOND);
        sim.run_until(SECOND);
        let got = window(&mut sim, &[sleeper], 10 * MS)[0];
        assert!(got > 0, "it waited 10 ms");
        until_it_wakes(&mut sim, sleeper);
        let got = window(&mut sim, &[sleeper], 300 * MS)[0];
        let share = 300 * MS / (hogs + 1);
        assert!(
            got <= share + SLEEPER_CREDIT + 2 * SLICE_MAX,
            "{got} of {share}"
        );
        assert!(got + 2 * SLICE_MAX >= share, "{got} of {share}");
    }
}

#[test]
fn a_reservation_banks_nothing() {
    let mut sim = Sim::new(1);
    sim.hog(1_000_000);
    let habit = Habit {
        run: 400 * MS,
        sleep: 10 * SECOND,
    };
    let params = Params {
        weight: 2,
        ..reserved(500_000)
    };
    let sleeper = sim.spawn(params, habit, 0);
    until_it_wakes(&mut sim, sleeper);
    let got = window(&mut sim, &[sleeper], 200 * MS)[0];
    assert!(got.abs_diff(100 * MS) <= 2 * SLICE_RESERVED, "{got}");
}

#[test]
fn an_interactive_thread_is_served_beside_hogs() {
    let mut sim = Sim::new(1);
    (0..8).for_each(|_| _ = sim.hog(1024));
    let habit = Habit {
        run: MS / 5,
        sleep: 10 * MS,
    };
    let shell = sim.spawn(Params::DEFAULT, habit, 0);
    sim.run_until(SECOND);
    let used = window(&mut sim, &[shell], 10 * SECOND)[0];
    let most = 10 * SECOND * habit.run / (habit.run + habit.sleep);
    assert!(used >= most * 8 / 10, "{used} of {most}");
}

#[test]
fn three_hogs_share_two_cpus_evenly() {
    let mut sim = Sim::new(2);
    let hogs: Vec<usize> = (0..3).map(|_| sim.hog(1024)).collect();
    sim.run_until(SECOND);
    let used = window(&mut sim, &hogs, 3 * SECOND);
    assert!(
        used.iter()
            .all(|u| u.abs_diff(2 * SECOND) < SECOND * 3 / 10),
        "{used:?}"
    );
}

#[test]
fn waking_prefers_the_previous_then_an_idle_cpu() {
    let request = Request {
        previous: 2,
        waker: 0,
        yielding: false,
        reserved: false,
        allowed: CpuSet::ALL,
    };
    let online = CpuSet::first(4);
    let load = |weight| {
        move |cpu: usize| CpuLoad {
            weight: weight * (cpu as u64 + 1),
            ..CpuLoad::default()
        }
    };
    let choose = |r: Request, idle, w| choose_cpu(&r, online, CpuSet(idle), load(w));
    assert_eq!(choose(request, 0b1111, 0), 2);
    assert_eq!(choose(request, 0b0011, 0), 0);
    assert_eq!(choose(request, 0b1010, 0), 3);
    assert_eq!(choose(request, 0, 0), 2);
    assert_eq!(choose(request, 0, 100), 0);
    assert_eq!(
        choose(
            Request {
                reserved: true,
                ..request
            },
            0b1011,
            100
        ),
        2
    );
    assert_eq!(
        choose(
            Request {
                yielding: true,
                waker: 1,
                ..request
            },
            0b1001,
            0
        ),
        1
    );
    assert_eq!(
        choose(
            Request {
                allowed: CpuSet(0b1000),
                ..request
            },
            0b0111,
            100
        ),
        3
    );
    assert_eq!(
        choose(
            Request {
                allowed: CpuSet(1 << 40),
                ..request
            },
            0b0100,
            100
        ),
        2
    );
    assert_eq!(
        choose(
            Request {
                previous: 77,
                ..request
            },
            0b0001,
            0
        ),
        0
    );
}

#[test]
fn the_same_run_is_the_same() {
    let run = || {
        let mut sim = Sim::new(3);
        for n in 1..9 {
            sim.hog(n * 100);
            let habit = Habit {
                run: u64::from(n) * MS,
                sleep: 3 * MS,
            };
            sim.spawn(limited(50_000 * n), habit, u64::from(n));
        }
        sim.run_until(2 * SECOND);
        (
            sim.switches,
            sim.moves,
            (0..16).map(|t| sim.used(t)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(run(), run());
}

fn habit() -> impl Strategy<Value = Habit> {
    (10..20_000u64, 10..20_000u64).prop_map(|(run, sleep)| Habit {
        run: run * 1000,
        sleep: sleep * 1000,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The bound of start-time fair queueing, for any two threads that never
    /// sleep and any window.
    #[test]
    fn shares_follow_weights(
        weights in proptest::collection::vec(64..8192u32, 2..12),
        start in 0..SECOND,
        length in 1..3 * SECOND,
    ) {
        let mut sim = Sim::new(1);
        let hogs: Vec<usize> = weights.iter().map(|w| sim.hog(*w)).collect();
        sim.run_until(start);
        let used = window(&mut sim, &hogs, length);
        prop_assert!(used.iter().sum::<u64>() == length);
        for (a, wa) in used.iter().zip(&weights) {
            for (b, wb) in used.iter().zip(&weights) {
                let (a, b) = (*a as f64 / f64::from(*wa), *b as f64 / f64::from(*wb));
                let slice = SLICE_MAX as f64;
                let bound = slice / f64::from(*wa) + slice / f64::from(*wb) + 1.0;
                prop_assert!((a - b).abs() <= bound, "{used:?} for {weights:?}");
            }
        }
    }

    /// However many sleepers come and go, a thread gets most of its share.
    #[test]
    fn nobody_starves(
        weights in proptest::collection::vec(64..8192u32, 1..4),
        sleepers in proptest::collection::vec((64..8192u32, habit()), 0..20),
    ) {
        let mut sim = Sim::new(1);
        let hogs: Vec<usize> = weights.iter().map(|w| sim.hog(*w)).collect();
        for (weight, habit) in &sleepers {
            sim.spawn(Params { weight: *weight, ..Params::DEFAULT }, *habit, 0);
        }
        sim.run_until(SECOND);
        let total: u32 = weights.iter().chain(sleepers.iter().map(|(w, _)| w)).sum();
        let used = window(&mut sim, &hogs, 3 * SECOND);
        for (used, weight) in used.iter().zip(&weights) {
            let share = 3 * SECOND * u64::from(*weight) / u64::from(total);
            prop_assert!(*used + 2 * SLICE_MAX >= share * 9 / 10, "{used} of {share}");
        }
    }

    /// P22: 95 % in every window of a second, whatever the neighbours do.
    #[test]
    fn reservations_hold_under_greed(
        cpus in 1..5usize,
        granted in proptest::collection::vec(10_000..310_000u32, 1..4),
        hogs in proptest::collection::vec(1..1_000_000u32, 1..10),
        sleepers in proptest::collection::vec((1..1_000_000u32, habit()), 0..12),
    ) {
        let mut sim = Sim::new(cpus);
        let held: Vec<usize> = granted
            .iter()
            .map(|ppm| sim.spawn(Params { weight: 2, ..reserved(*ppm) }, Habit::HOG, 0))
            .collect();
        hogs.iter().for_each(|weight| _ = sim.hog(*weight));
        for (weight, habit) in &sleepers {
            sim.spawn(Params { weight: *weight, ..Params::DEFAULT }, *habit, 0);
        }
        let mut samples: Vec<Vec<u64>> = Vec::new();
        for _ in 0..60 {
            samples.push(held.iter().map(|t| sim.used(*t)).collect());
            sim.run_until(sim.now + 50 * MS);
        }
        for (n, ppm) in granted.iter().enumerate() {
            let least = samples.windows(21).map(|w| w[20][n] - w[0][n]).min().unwrap();
            prop_assert!(least >= part(*ppm) * 95 / 100, "{least} of {}", part(*ppm));
        }
    }

    #[test]
    fn limits_hold_and_are_reached(
        limit in 10_000..990_000u32,
        neighbour: bool,
        habit in prop_oneof![Just(Habit::HOG), habit()],
    ) {
        let mut sim = Sim::new(2);
        let thread = sim.spawn(limited(limit), habit, 0);
        let hungry = limited(900_000);
        if neighbour {
            (0..2).for_each(|_| _ = sim.spawn(hungry, Habit { run: MS, sleep: MS }, 0));
        }
        let (least, most) = every_second(&mut sim, thread, 4);
        let credit = part(limit) * LIMIT_CREDIT / SECOND;
        prop_assert!(most <= part(limit) + SLICE_MAX + credit, "{most} of {}", part(limit));
        if habit.sleep == 0 && !neighbour {
            prop_assert!(least + 2 * SLICE_MAX >= part(limit), "{least} of {}", part(limit));
        }
    }

    /// Nor is it a privilege: little is given beyond it.
    #[test]
    fn reservations_are_not_exceeded(ppm in 10_000..900_000u32) {
        let mut sim = Sim::new(1);
        let thread = sim.spawn(Params { weight: 2, ..reserved(ppm) }, Habit::HOG, 0);
        sim.hog(1_000_000);
        sim.run_until(SECOND);
        let used = window(&mut sim, &[thread], SECOND)[0];
        prop_assert!(used <= part(ppm) * 105 / 100 + SLICE_MAX, "{used} of {}", part(ppm));
    }

    /// Waiting for others saves no more than sleeping does.
    #[test]
    fn limits_hold_after_a_crowd(limit in 100_000..900_000u32, crowd in 1..6u32, phase in 1..3u64) {
        let mut sim = Sim::new(1);
        let thread = sim.spawn(limited(limit), Habit::HOG, 0);
        let habit = Habit { run: SECOND * phase / u64::from(crowd), sleep: SECOND };
        (0..crowd).for_each(|_| _ = sim.spawn(Params { weight: 100_000, ..Params::DEFAULT }, habit, 0));
        let (_, most) = every_second(&mut sim, thread, 6);
        let credit = part(limit) * LIMIT_CREDIT / SECOND;
        prop_assert!(most <= part(limit) + SLICE_MAX + credit, "{most} of {}", part(limit));
    }

    /// A thread gets the larger of its reservation and its share, and what
    /// others leave.
    #[test]
    fn a_reservation_is_no_ceiling(ppm in 10_000..900_000u32) {
        let mut sim = Sim::new(1);
        let thread = sim.spawn(reserved(ppm), Habit::HOG, 0);
        sim.hog(1024);
        sim.run_until(SECOND);
        let used = window(&mut sim, &[thread], SECOND)[0];
        let entitled = part(ppm.max(500_000));
        prop_assert!(used.abs_diff(entitled) <= 2 * (SLICE_MAX + SLICE_RESERVED), "{used}, not {entitled}");
    }

    #[test]
    fn no_cpu_idles_while_a_thread_waits(
        cpus in 1..17usize,
        hogs in proptest::collection::vec(64..8192u32, 0..12),
        sleepers in proptest::collection::vec((64..8192u32, habit()), 1..30),
        capped in 0..5u32,
    ) {
        let mut sim = Sim::new(cpus);
        hogs.iter().for_each(|weight| _ = sim.hog(*weight));
        for (weight, habit) in &sleepers {
            sim.spawn(Params { weight: *weight, ..Params::DEFAULT }, *habit, 0);
        }
        (0..capped).for_each(|n| _ = sim.spawn(limited(100_000 + n * 200_000), Habit::HOG, 0));
        sim.run_until(SECOND);
        prop_assert_eq!(sim.wasted, 0);
    }

    #[test]
    fn equal_threads_get_equal_time_on_many_cpus(cpus in 1..9usize, hogs in 1..30usize) {
        let mut sim = Sim::new(cpus);
        let hogs: Vec<usize> = (0..hogs).map(|_| sim.hog(1024)).collect();
        sim.run_until(SECOND);
        let used = window(&mut sim, &hogs, 2 * SECOND);
        let fair = 2 * SECOND * cpus.min(hogs.len()) as u64 / hogs.len() as u64;
        for used in &used {
            prop_assert!(used.abs_diff(fair) <= fair / 4 + 2 * SLICE_MAX, "{used} of {fair}");
        }
    }
}

#[test]
fn sixty_four_cpus_are_all_used() {
    let mut sim = Sim::new(64);
    let hogs: Vec<usize> = (0..96).map(|_| sim.hog(1024)).collect();
    let habit = Habit {
        run: MS,
        sleep: 2 * MS,
    };
    (0..64).for_each(|n| _ = sim.spawn(Params::DEFAULT, habit, n * 10_000));
    sim.run_until(SECOND / 2);
    let used: u64 = window(&mut sim, &hogs, SECOND / 2).iter().sum();
    assert_eq!(sim.wasted, 0);
    assert!(used >= 64 * SECOND / 2 * 6 / 10, "{used}");
}
