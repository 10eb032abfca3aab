//! A simulator: virtual CPUs and threads under the policy, by discrete events.
//! It shows in what order a kernel calls the policy.

extern crate std;

use std::vec::Vec;

use crate::balance::{self, INTERVAL, Reason};
use crate::placement::{Request, choose_cpu};
use crate::{CpuLoad, CpuSet, Entity, Params, Preempt, RunQueue};

/// What a thread does, in ns: run, sleep, again. No sleep: it runs for ever.
#[derive(Clone, Copy, Debug)]
pub struct Habit {
    pub run: u64,
    pub sleep: u64,
}

impl Habit {
    pub const HOG: Self = Self {
        run: u64::MAX,
        sleep: 0,
    };
}

#[derive(Debug)]
struct Thread {
    entity: Entity,
    habit: Habit,
    /// Time to run until it sleeps.
    left: u64,
    /// When it wakes, while it sleeps.
    wakes: Option<u64>,
    cpu: usize,
    reserved: bool,
}

#[derive(Debug)]
struct Cpu {
    queue: RunQueue<usize>,
    current: Option<usize>,
    started: u64,
    timer: Option<u64>,
    balance: u64,
}

/// The machine.
#[derive(Debug)]
pub struct Sim {
    pub now: u64,
    cpus: Vec<Cpu>,
    threads: Vec<Thread>,
    /// CPU time lost while a thread waited elsewhere, in ns.
    pub wasted: u64,
    pub switches: u64,
    pub moves: u64,
}

impl Sim {
    pub fn new(cpus: usize) -> Self {
        let cpu = |n: usize| Cpu {
            queue: RunQueue::new(n as u32, 4),
            current: None,
            started: 0,
            timer: None,
            balance: INTERVAL + n as u64 * INTERVAL / cpus as u64,
        };
        let cpus = (0..cpus).map(cpu).collect();
        Self {
            now: 0,
            cpus,
            threads: Vec::new(),
            wasted: 0,
            switches: 0,
            moves: 0,
        }
    }

    /// Adds a thread that wakes at `at`; its number.
    pub fn spawn(&mut self, params: Params, habit: Habit, at: u64) -> usize {
        let mut cpu = self.threads.len() % self.cpus.len();
        if params.reservation > 0 {
            let loads = self.loads();
            let all = CpuSet::first(loads.len());
            let home = crate::placement::choose_home(params.reservation, all, |c| loads[c]);
            cpu = home.expect("a test reserves no more than there is");
            assert!(self.cpus[cpu].queue.grant(params.reservation));
        }
        self.threads.push(Thread {
            entity: Entity::new(params).unwrap(),
            habit,
            left: habit.run,
            wakes: Some(at),
            cpu,
            reserved: params.reservation > 0,
        });
        self.threads.len() - 1
    }

    pub fn hog(&mut self, weight: u32) -> usize {
        self.spawn(
            Params {
                weight,
                ..Params::DEFAULT
            },
            Habit::HOG,
            self.now,
        )
    }

    /// CPU time of a thread up to now, in ns.
    pub fn used(&self, thread: usize) -> u64 {
        let running = |cpu: &&Cpu| cpu.current == Some(thread);
        let extra = self
            .cpus
            .iter()
            .find(running)
            .map_or(0, |cpu| self.now - cpu.started);
        self.threads[thread].entity.used() + extra
    }

    fn loads(&self) -> Vec<CpuLoad> {
        self.cpus.iter().map(|cpu| cpu.queue.load()).collect()
    }

    fn idle(&self) -> CpuSet {
        let mut set = CpuSet::EMPTY;
        for (n, cpu) in self.cpus.iter().enumerate() {
            if cpu.current.is_none() {
                set.insert(n);
            }
        }
        set
    }

    /// Runs until the given time.
    pub fn run_until(&mut self, end: u64) {
        while self.now < end {
            let next = self.next_time().min(end);
            assert!(next >= self.now);
            let idle = self.cpus.iter().filter(|c| c.current.is_none()).count() as u64;
            let waiting: u64 = self
                .cpus
                .iter()
                .map(|c| u64::from(c.queue.load().waiting))
                .sum();
            self.wasted += idle.min(waiting) * (next - self.now);
            self.now = next;
            self.step();
        }
    }

    fn next_time(&self) -> u64 {
        let cpus = self.cpus.iter().flat_map(|cpu| {
            let left = cpu
                .current
                .map(|t| cpu.started.saturating_add(self.threads[t].left));
            let balance = cpu.current.map(|_| cpu.balance);
            [left, cpu.timer, balance]
        });
        let wakes = self.threads.iter().map(|t| t.wakes);
        cpus.chain(wakes)
            .flatten()
            .min()
            .unwrap_or(u64::MAX)
            .max(self.now)
    }

    fn step(&mut self) {
        for thread in 0..self.threads.len() {
            if self.threads[thread].wakes.is_some_and(|at| at <= self.now) {
                self.threads[thread].wakes = None;
                self.wake(thread);
            }
        }
        for cpu in 0..self.cpus.len() {
            let Some(thread) = self.cpus[cpu].current else {
                if self.cpus[cpu].timer.is_some_and(|at| at <= self.now) {
                    self.cpus[cpu].timer = None;
                    self.tick(cpu);
                }
                continue;
            };
            if self.now - self.cpus[cpu].started >= self.threads[thread].left {
                self.charge(cpu);
                self.sleep(cpu, thread);
                continue;
            }
            if self.cpus[cpu].balance <= self.now {
                self.cpus[cpu].balance = self.now + INTERVAL;
                self.pull(cpu, Reason::Periodic);
            }
            if self.cpus[cpu].timer.is_some_and(|at| at <= self.now) {
                self.tick(cpu);
            }
        }
    }

    fn wake(&mut self, thread: usize) {
        let t = &self.threads[thread];
        let request = Request {
            previous: t.cpu,
            waker: t.cpu,
            yielding: false,
            reserved: t.reserved,
            allowed: CpuSet::ALL,
        };
        let loads = self.loads();
        let online = CpuSet::first(loads.len());
        let cpu = choose_cpu(&request, online, self.idle(), |cpu| loads[cpu]);
        let now = self.now;
        self.threads[thread].cpu = cpu;
        let entity = &mut self.threads[thread].entity;
        let preempt = self.cpus[cpu].queue.wake(thread, entity, now, false);
        self.act_on(cpu, preempt);
        self.kick(cpu);
    }

    fn act_on(&mut self, cpu: usize, preempt: Preempt) {
        match preempt {
            Preempt::Now => self.reschedule(cpu),
            Preempt::Later(at) => self.cpus[cpu].timer = at,
        }
    }

    fn kick(&mut self, cpu: usize) {
        while let Some(other) = balance::kick(cpu, &self.cpus[cpu].queue.load(), self.idle()) {
            self.dispatch(other);
            if self.cpus[other].current.is_none() {
                break;
            }
        }
    }

    fn tick(&mut self, cpu: usize) {
        let preempt = self.cpus[cpu].queue.tick(self.now);
        if let Preempt::Later(Some(at)) = preempt {
            assert!(at > self.now, "a timer in the past");
        }
        self.act_on(cpu, preempt);
        self.kick(cpu);
    }

    fn charge(&mut self, cpu: usize) {
        if let Some(thread) = self.cpus[cpu].current {
            let t = &mut self.threads[thread];
            let ns = self.cpus[cpu].queue.charge(&mut t.entity, self.now);
            assert_eq!(ns, self.now - self.cpus[cpu].started);
            if t.left != u64::MAX {
                t.left -= ns;
            }
            self.cpus[cpu].started = self.now;
        }
    }

    fn sleep(&mut self, cpu: usize, thread: usize) {
        let t = &mut self.threads[thread];
        self.cpus[cpu].queue.block(&mut t.entity);
        t.left = t.habit.run;
        t.wakes = Some(self.now + t.habit.sleep);
        self.cpus[cpu].current = None;
        self.dispatch(cpu);
    }

    fn reschedule(&mut self, cpu: usize) {
        self.charge(cpu);
        if let Some(thread) = self.cpus[cpu].current.take() {
            let entity = &mut self.threads[thread].entity;
            self.cpus[cpu].queue.requeue(thread, entity, self.now);
        }
        self.dispatch(cpu);
    }

    fn dispatch(&mut self, cpu: usize) {
        assert!(self.cpus[cpu].current.is_none());
        let mut picked = self.cpus[cpu].queue.pick(self.now);
        if picked.is_none() && self.pull(cpu, Reason::Idle) {
            picked = self.cpus[cpu].queue.pick(self.now);
        }
        let Some(thread) = picked else {
            self.cpus[cpu].timer = self.cpus[cpu].queue.next_event();
            return;
        };
        let entity = &mut self.threads[thread].entity;
        let timer = self.cpus[cpu].queue.start(entity, self.now);
        assert!(timer.is_none_or(|at| at > self.now), "a slice of no length");
        self.cpus[cpu].timer = timer;
        self.cpus[cpu].current = Some(thread);
        self.cpus[cpu].started = self.now;
        self.switches += 1;
        self.kick(cpu);
    }

    fn pull(&mut self, cpu: usize, reason: Reason) -> bool {
        let loads = self.loads();
        let mut online = CpuSet::first(loads.len());
        while let Some(pull) = balance::plan(cpu, reason, online, |c| loads[c]) {
            let from = &mut self.cpus[pull.from].queue;
            if let Some(stolen) = from.steal(pull.max_weight, pull.room, self.now, |_| true) {
                let thread = stolen.id;
                self.moves += 1;
                self.threads[thread].cpu = cpu;
                let entity = &mut self.threads[thread].entity;
                let preempt = self.cpus[cpu].queue.arrive(stolen, entity, self.now);
                if reason == Reason::Periodic {
                    self.act_on(cpu, preempt);
                }
                return true;
            }
            online.remove(pull.from);
        }
        false
    }
}
