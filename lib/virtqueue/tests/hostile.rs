//! A queue against a device that breaks the rules.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;
use virtqueue::simulation::{DeviceSide, SharedMemory};
use virtqueue::{
    AddError, DeviceError, Layout, Queue, QueueFeatures, QueueMemory, Rejected, Segment,
};

const FEATURES: QueueFeatures = QueueFeatures {
    indirect: true,
    event_index: true,
};

/// A queue with requests 0 and 1 at the device, of 100 writable bytes each.
fn two_in_flight() -> (Queue<SharedMemory, u32>, DeviceSide<SharedMemory>, [u16; 2]) {
    let layout = Layout::new(8, 4).unwrap();
    let memory = SharedMemory::new(0x1000, layout.length());
    let mut queue = Queue::new(memory.clone(), layout, FEATURES).unwrap();
    let ids = [0, 1].map(|token| queue.add([Segment::writable(0x9000, 100)], token).unwrap());
    assert!(queue.publish());
    (queue, DeviceSide::over(memory, &layout, FEATURES), ids)
}

/// The queue is stopped with `error`, and gives its requests back in order.
fn assert_stopped(mut queue: Queue<SharedMemory, u32>, error: DeviceError, left: &[u32]) {
    assert_eq!(queue.pop(), Err(error));
    assert_eq!(queue.pop(), Err(error), "the error stays");
    assert_eq!(queue.broken(), Some(error));
    let rejected = Rejected {
        error: AddError::Broken,
        token: 9,
    };
    assert_eq!(queue.add([Segment::readable(1, 1)], 9), Err(rejected));
    let tokens: Vec<u32> = std::iter::from_fn(|| queue.take_oldest())
        .map(|(_, t)| t)
        .collect();
    assert_eq!(tokens, left);
    queue.reset();
    assert!(queue.add([Segment::readable(1, 1)], 9).is_ok());
}

#[test]
fn an_id_that_is_not_in_flight() {
    for found in [5, 8, 0xffff, 0x1_0000, u32::MAX] {
        let (queue, mut device, _) = two_in_flight();
        device.put_used(found, 0);
        assert_stopped(queue, DeviceError::Id { found }, &[0, 1]);
    }
}

#[test]
fn an_id_completed_twice() {
    let (mut queue, mut device, ids) = two_in_flight();
    device.put_used(ids[0].into(), 1);
    device.put_used(ids[0].into(), 1);
    assert_eq!(queue.pop().unwrap().unwrap().token, 0);
    assert_stopped(
        queue,
        DeviceError::Id {
            found: ids[0].into(),
        },
        &[1],
    );
}

#[test]
fn a_length_beyond_the_buffers() {
    for found in [101, u32::MAX] {
        let (queue, mut device, [id, _]) = two_in_flight();
        device.put_used(id.into(), found);
        assert_stopped(
            queue,
            DeviceError::Length {
                id,
                found,
                allowed: 100,
            },
            &[0, 1],
        );
    }
    let (mut queue, mut device, [id, _]) = two_in_flight();
    device.put_used(id.into(), 100);
    assert_eq!(queue.pop().unwrap().unwrap().written, 100);
}

#[test]
fn an_index_beyond_what_is_in_flight() {
    for found in [3, 8, 0x8000, 0xffff] {
        let (queue, mut device, _) = two_in_flight();
        device.set_used_index(found);
        let error = DeviceError::UsedIndex {
            found,
            taken: 0,
            in_flight: 2,
        };
        assert_stopped(queue, error, &[0, 1]);
    }
}

#[test]
fn a_completion_of_what_was_not_published() {
    let (mut queue, mut device, ids) = two_in_flight();
    let hidden = queue.add([Segment::writable(0x9000, 100)], 2).unwrap();
    for id in ids.into_iter().chain([hidden]) {
        device.put_used(id.into(), 0);
    }
    let error = DeviceError::UsedIndex {
        found: 3,
        taken: 0,
        in_flight: 3,
    };
    assert_stopped(queue, error, &[0, 1, 2]);
}

#[test]
fn errors_name_the_value() {
    let text = DeviceError::Id { found: 4711 }.to_string();
    assert!(text.contains("4711"), "{text}");
    let text = DeviceError::Length {
        id: 3,
        found: 513,
        allowed: 512,
    }
    .to_string();
    assert!(text.contains("513") && text.contains("512"), "{text}");
}

proptest! {
    /// Random bytes all over shared memory, at any time: every token comes
    /// back at most once, and none is lost.
    #[test]
    fn scribbling_loses_nothing(
        steps in prop::collection::vec(
            (0u8..4, any::<prop::sample::Index>(), any::<u16>()), 1..200),
        features in 0u8..4,
    ) {
        let features =
            QueueFeatures { indirect: features & 1 != 0, event_index: features & 2 != 0 };
        let layout = Layout::new(8, 4).unwrap();
        let memory = SharedMemory::new(0x1000, layout.length());
        let mut queue = Queue::new(memory.clone(), layout, features).unwrap();
        let (mut given, mut back) = (BTreeSet::new(), BTreeSet::new());
        for (token, (kind, at, value)) in steps.into_iter().enumerate() {
            match kind {
                0 => {
                    let segments = [Segment::readable(1, 16), Segment::writable(2, 512)];
                    if queue.add(segments, token).is_ok() {
                        given.insert(token);
                    }
                    let _ = queue.publish();
                }
                1 => memory.write_u16(at.index(layout.length() / 2) * 2, value),
                2 => {
                    // Plausible values, so that completions do get through.
                    memory.write_u16(layout.used() + 2, value % 8);
                    memory.write_u16(layout.used() + 4 + 8 * (at.index(8)), value / 8 % 8);
                }
                _ => {
                    if let Ok(Some(done)) = queue.pop() {
                        prop_assert!(done.written <= 512);
                        prop_assert!(back.insert(done.token), "token {} twice", done.token);
                    }
                    let _ = queue.enable_interrupts();
                }
            }
        }
        while let Some((_, token)) = queue.take_oldest() {
            prop_assert!(back.insert(token), "token {} twice", token);
        }
        prop_assert_eq!(given, back);
        queue.reset();
        prop_assert_eq!(queue.next_id().is_some(), true);
    }
}
