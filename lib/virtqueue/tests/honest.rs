//! A queue against a device that keeps the rules.
#![allow(clippy::unwrap_used)]

use std::collections::VecDeque;

use proptest::prelude::*;
use virtqueue::simulation::{DeviceSide, Request, SharedMemory};
use virtqueue::{AddError, Layout, LayoutError, Queue, QueueFeatures, Rejected, Segment};

const ALL_FEATURES: [QueueFeatures; 4] = [
    QueueFeatures {
        indirect: false,
        event_index: false,
    },
    QueueFeatures {
        indirect: true,
        event_index: false,
    },
    QueueFeatures {
        indirect: false,
        event_index: true,
    },
    QueueFeatures {
        indirect: true,
        event_index: true,
    },
];

type TestQueue = Queue<SharedMemory, u64>;

fn pair(
    size: u16,
    segments: u16,
    features: QueueFeatures,
) -> (TestQueue, DeviceSide<SharedMemory>) {
    let layout = Layout::new(size, segments).unwrap();
    let memory = SharedMemory::new(0x1_0000_0000, layout.length());
    let queue = Queue::new(memory.clone(), layout, features).unwrap();
    let device = DeviceSide::new(memory, size, queue.addresses(), features);
    (queue, device)
}

/// Why the queue does not take `segments`; the token comes back.
fn refused(queue: &mut TestQueue, segments: impl IntoIterator<Item = Segment>) -> AddError {
    let rejected = queue.add(segments, 4711).unwrap_err();
    assert_eq!(rejected.token, 4711);
    rejected.error
}

fn read_request(token: u64) -> [Segment; 3] {
    [
        Segment::readable(0x1000 + token * 16, 16),
        Segment::writable(0x10_0000, 4096),
        Segment::writable(0x2000 + token, 1),
    ]
}

#[test]
fn a_request_arrives_as_it_was_given() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(8, 4, features);
        let id = queue.next_id().unwrap();
        assert_eq!(queue.add(read_request(7), 7), Ok(id));
        assert_eq!(device.take(), None, "not published yet");
        assert!(queue.publish());
        assert!(!queue.publish(), "nothing new");
        let request = device.take().unwrap();
        assert_eq!(
            request,
            Request {
                id,
                segments: read_request(7).to_vec()
            }
        );
        assert!(device.complete(id, 4097));
        let done = queue.pop().unwrap().unwrap();
        assert_eq!((done.id, done.token, done.written), (id, 7, 4097));
        assert_eq!(queue.pop(), Ok(None));
        assert_eq!(queue.in_flight(), 0);
    }
}

#[test]
fn a_full_queue_says_so_and_recovers() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(4, 4, features);
        let capacity = if features.indirect { 4 } else { 1 };
        for token in 0..capacity {
            queue.add(read_request(token), token).unwrap();
        }
        assert_eq!(refused(&mut queue, read_request(9)), AddError::Full);
        assert!(queue.publish());
        let first = device.take().unwrap();
        device.complete(first.id, 0);
        queue.pop().unwrap().unwrap();
        assert!(queue.add(read_request(9), 9).is_ok());
    }
}

#[test]
fn requests_that_break_the_rules_are_refused() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(4, 3, features);
        let allowed = queue.max_segments();
        let page = Segment::readable(0x1000, 4096);
        let many = vec![page; usize::from(allowed) + 1];
        assert_eq!(
            refused(&mut queue, many),
            AddError::TooManySegments { allowed }
        );
        assert_eq!(refused(&mut queue, []), AddError::Empty);
        assert_eq!(
            refused(&mut queue, [Segment::readable(1, 0)]),
            AddError::EmptySegment
        );
        let write = Segment::writable(0x1000, 1 << 31);
        assert_eq!(refused(&mut queue, [write, page]), AddError::ReadAfterWrite);
        assert_eq!(refused(&mut queue, [write, write]), AddError::TooLong);
        assert!(!queue.publish());
        assert_eq!((device.take(), queue.in_flight()), (None, 0));
        queue.add(vec![page; usize::from(allowed)], 1).unwrap();
        assert!(queue.publish());
        assert_eq!(device.take().unwrap().segments.len(), usize::from(allowed));
    }
}

#[test]
fn a_device_that_looks_by_itself_is_not_told() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(8, 4, features);
        device.set_asleep(false);
        queue.add(read_request(0), 0).unwrap();
        assert!(!queue.publish());
        assert!(device.take().is_some());
        device.set_asleep(true);
        queue.add(read_request(1), 1).unwrap();
        queue.add(read_request(2), 2).ok();
        assert!(queue.publish());
    }
}

#[test]
fn interrupts_follow_the_drivers_wish() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(16, 4, features);
        for token in 0..4 {
            queue.add(read_request(token), token).unwrap();
        }
        assert!(queue.publish());
        let ids: Vec<u16> = std::iter::from_fn(|| device.take()).map(|r| r.id).collect();
        assert!(!queue.enable_interrupts());
        assert!(device.complete(ids[0], 0));
        queue.disable_interrupts();
        assert!(!device.complete(ids[1], 0));
        queue.pop().unwrap().unwrap();
        assert!(queue.enable_interrupts(), "one is there already");
        queue.pop().unwrap().unwrap();
        assert!(!queue.enable_interrupts());
        assert!(device.complete(ids[2], 0));
    }
}

#[test]
fn taken_back_in_the_order_of_adding() {
    let (mut queue, mut device) = pair(8, 4, ALL_FEATURES[3]);
    for token in 0..3 {
        queue.add(read_request(token), token).unwrap();
    }
    assert!(queue.publish());
    let first = device.take().unwrap();
    device.complete(first.id, 0);
    queue.pop().unwrap().unwrap();
    queue.add(read_request(3), 3).unwrap();
    let tokens: Vec<u64> = std::iter::from_fn(|| queue.take_oldest())
        .map(|(_, t)| t)
        .collect();
    assert_eq!(tokens, [1, 2, 3]);
    queue.reset();
    let mut device = DeviceSide::new(
        queue.memory().clone(),
        8,
        queue.addresses(),
        ALL_FEATURES[3],
    );
    queue.add(read_request(4), 4).unwrap();
    assert!(queue.publish());
    assert_eq!(device.take().unwrap().segments, read_request(4));
}

#[test]
fn short_memory_is_refused() {
    let layout = Layout::new(8, 4).unwrap();
    let memory = SharedMemory::new(0, layout.length() - 1);
    let result = Queue::<_, ()>::new(memory, layout, ALL_FEATURES[0]);
    let (found, needed) = (layout.length() - 1, layout.length());
    assert_eq!(result.err(), Some(LayoutError::Memory { found, needed }));
}

#[derive(Clone, Debug)]
enum Step {
    Add { reads: usize, writes: usize },
    Publish,
    DeviceTake,
    DeviceComplete { pick: usize, written: u32 },
    Pop,
    Sleep(bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..4, 0usize..4).prop_map(|(reads, writes)| Step::Add { reads, writes }),
        2 => Just(Step::Publish),
        4 => Just(Step::DeviceTake),
        4 => (any::<usize>(), any::<u32>())
            .prop_map(|(pick, written)| Step::DeviceComplete { pick, written }),
        4 => Just(Step::Pop),
        1 => any::<bool>().prop_map(Step::Sleep),
    ];
    prop::collection::vec(step, 0..400)
}

/// What should be where, kept apart from the code under test.
#[derive(Default)]
struct Model {
    hidden: VecDeque<(u64, Vec<Segment>)>,
    published: VecDeque<(u64, Vec<Segment>)>,
    at_device: Vec<(u64, Request)>,
    done: VecDeque<(u64, u16, u32)>,
    next: u64,
}

impl Model {
    fn segments(&self, reads: usize, writes: usize) -> Vec<Segment> {
        let at = |index: usize| self.next * 0x1_0000 + index as u64 * 0x1000;
        let reads = (0..reads).map(|index| Segment::readable(at(index), 1 + index as u32));
        let writes = (4..4 + writes).map(|index| Segment::writable(at(index), 512));
        reads.chain(writes).collect()
    }

    fn run(&mut self, step: Step, queue: &mut TestQueue, device: &mut DeviceSide<SharedMemory>) {
        match step {
            Step::Add { reads, writes } => {
                let segments = self.segments(reads, writes);
                match queue.add(segments.iter().copied(), self.next) {
                    Ok(_) => self.hidden.push_back((self.next, segments)),
                    Err(Rejected {
                        error: AddError::Empty,
                        ..
                    }) => assert!(segments.is_empty()),
                    Err(Rejected {
                        error: AddError::Full,
                        ..
                    }) => assert!(queue.in_flight() > 0),
                    Err(rejected) => panic!("{}", rejected.error),
                }
                self.next += 1;
            }
            Step::Publish => {
                let told = queue.publish();
                assert!(!told || !self.hidden.is_empty());
                // A sleeping device with nothing left to take must be woken.
                let must = device.is_asleep() && self.published.is_empty();
                assert!(told || !must || self.hidden.is_empty());
                self.published.append(&mut self.hidden);
            }
            Step::DeviceTake => match (device.take(), self.published.pop_front()) {
                (Some(request), Some((token, segments))) => {
                    assert_eq!(request.segments, segments);
                    self.at_device.push((token, request));
                    device.set_asleep(device.is_asleep());
                }
                (None, None) => {}
                (found, expected) => panic!("{found:?} instead of {expected:?}"),
            },
            Step::DeviceComplete { pick, written } if !self.at_device.is_empty() => {
                let (token, request) = self.at_device.swap_remove(pick % self.at_device.len());
                let written = written % (request.writable() + 1);
                device.complete(request.id, written);
                self.done.push_back((token, request.id, written));
            }
            Step::DeviceComplete { .. } => {}
            Step::Pop => {
                let found = queue
                    .pop()
                    .unwrap()
                    .map(|done| (done.token, done.id, done.written));
                assert_eq!(found, self.done.pop_front());
            }
            Step::Sleep(asleep) => device.set_asleep(asleep),
        }
        let all = self.hidden.len() + self.published.len() + self.at_device.len() + self.done.len();
        assert_eq!(usize::from(queue.in_flight()), all);
    }
}

proptest! {
    /// Every request arrives once, unchanged; every completion returns once.
    #[test]
    fn nothing_is_lost_or_doubled(
        steps in steps(),
        size in 1u32..6,
        features in 0usize..4,
    ) {
        let (mut queue, mut device) = pair(1 << size, 6, ALL_FEATURES[features]);
        let mut model = Model::default();
        for step in steps {
            // Without indirect tables, requests longer than the queue are the caller's error.
            if let Step::Add { reads, writes } = step
                && reads + writes > usize::from(queue.max_segments())
            {
                continue;
            }
            model.run(step, &mut queue, &mut device);
        }
    }
}

#[test]
fn indices_wrap() {
    for features in ALL_FEATURES {
        let (mut queue, mut device) = pair(2, 2, features);
        for token in 0..70_000 {
            queue.add([Segment::readable(token, 1)], token).unwrap();
            assert!(!queue.enable_interrupts());
            assert!(queue.publish());
            let request = device.take().unwrap();
            device.set_asleep(true);
            assert!(device.complete(request.id, 0));
            assert_eq!(queue.pop().unwrap().unwrap().token, token);
        }
    }
}
