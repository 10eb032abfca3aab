//! [`split`]: cuts requests to what a device can do at once.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering};

use sync::SpinLock;

use crate::{BlockError, Completion, Geometry, Operation, Request};

/// The parts of one request: done when the last of them is.
struct Joint {
    completion: Arc<dyn Completion>,
    token: u64,
    open: AtomicU64,
    error: SpinLock<Option<BlockError>>,
}

impl Completion for Joint {
    fn complete(&self, _part: u64, result: Result<(), BlockError>) {
        if let Err(error) = result {
            self.error.lock().get_or_insert(error);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            let error = *self.error.lock();
            self.completion
                .complete(self.token, error.map_or(Ok(()), Err));
        }
    }
}

/// Bytes of `request`'s beginning that the device can do at once; at least a
/// block, and whole blocks.
fn first_part(request: &Request, geometry: &Geometry) -> Result<u64, BlockError> {
    let limits = &geometry.limits;
    let most = match request.operation {
        Operation::Flush => return Ok(request.length),
        Operation::Discard => limits.discard_bytes,
        Operation::Read | Operation::Write => limits.bytes,
    };
    let most = most.min(request.length);
    let fitting = match (request.operation, &request.data) {
        (Operation::Read | Operation::Write, Some(data)) => {
            let range = data.range(most, limits.segment_bytes);
            range
                .take(limits.segments.into())
                .map(|piece| u64::from(piece.length))
                .sum()
        }
        _ => most,
    };
    let whole = fitting & !u64::from(geometry.block - 1);
    if whole == 0 && request.length > 0 {
        return Err(BlockError::Fragmented);
    }
    Ok(whole)
}

/// Hands the parts of a checked `request`, in order, to `submit`. A request
/// that fits is handed on as it is, without any allocation. One that cannot
/// be cut to fit is ended with [`BlockError::Fragmented`].
pub fn split(request: Request, geometry: &Geometry, mut submit: impl FnMut(Request)) {
    let first = match first_part(&request, geometry) {
        Ok(first) => first,
        Err(error) => return request.finish(Err(error)),
    };
    if first == request.length {
        return submit(request);
    }
    // One count is held here, so that the whole is not done between two parts.
    let joint = Arc::new(Joint {
        completion: request.completion.clone(),
        token: request.token,
        open: AtomicU64::new(1),
        error: SpinLock::new(None),
    });
    let mut rest = Request {
        completion: joint.clone(),
        ..request
    };
    while rest.length > 0 {
        let length = match first_part(&rest, geometry) {
            Ok(length) => length,
            Err(error) => {
                joint.error.lock().get_or_insert(error);
                break;
            }
        };
        joint.open.fetch_add(1, Ordering::Relaxed);
        submit(Request {
            operation: rest.operation,
            start: rest.start,
            length,
            data: rest.data.clone(),
            completion: joint.clone(),
            token: 0,
        });
        rest.start += length;
        rest.length -= length;
        if let Some(data) = &mut rest.data {
            data.offset += length;
        }
    }
    rest.finish(Ok(()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Buffer, Data, Limits, Piece};
    use proptest::prelude::*;
    use std::sync::Mutex;
    use std::vec::Vec;

    struct Pieces(Vec<Piece>);

    impl Buffer for Pieces {
        fn pieces(&self) -> &[Piece] {
            &self.0
        }
    }

    #[derive(Default)]
    struct Results(Mutex<Vec<(u64, Result<(), BlockError>)>>);

    impl Completion for Results {
        fn complete(&self, token: u64, result: Result<(), BlockError>) {
            self.0.lock().unwrap().push((token, result));
        }
    }

    fn geometry(segments: u16, segment_bytes: u32, bytes: u64) -> Geometry {
        let limits = Limits {
            segments,
            segment_bytes,
            bytes,
            discard_bytes: 2048,
        };
        Geometry {
            capacity: 1 << 30,
            block: 512,
            is_read_only: false,
            has_cache: true,
            can_discard: true,
            limits,
        }
    }

    fn request(operation: Operation, pieces: Vec<Piece>, results: &Arc<Results>) -> Request {
        let length = pieces.iter().map(|piece| u64::from(piece.length)).sum();
        let data = Some(Data {
            buffer: Arc::new(Pieces(pieces)),
            offset: 0,
        });
        Request {
            operation,
            start: 4096,
            length,
            data,
            completion: results.clone(),
            token: 9,
        }
    }

    fn parts(request: Request, geometry: &Geometry) -> Vec<Request> {
        let mut parts = Vec::new();
        split(request, geometry, |part| parts.push(part));
        parts
    }

    #[test]
    fn what_fits_stays_whole() {
        let results = Arc::new(Results::default());
        let piece = Piece {
            address: 0,
            length: 4096,
        };
        let one = parts(
            request(Operation::Read, std::vec![piece; 4], &results),
            &geometry(4, 4096, 1 << 20),
        );
        assert_eq!((one.len(), one[0].token), (1, 9));
        let flush = parts(
            Request::flush(results.clone(), 3),
            &geometry(4, 4096, 1 << 20),
        );
        assert_eq!((flush.len(), flush[0].token), (1, 3));
    }

    #[test]
    fn the_whole_is_done_once_with_the_first_error() {
        let results = Arc::new(Results::default());
        let piece = Piece {
            address: 0,
            length: 4096,
        };
        let made = parts(
            request(Operation::Write, std::vec![piece; 3], &results),
            &geometry(1, 4096, 1 << 20),
        );
        assert_eq!(made.len(), 3);
        let ends = [Ok(()), Err(BlockError::Failed), Err(BlockError::Gone)];
        for (index, (part, end)) in made.into_iter().zip(ends).enumerate() {
            assert!(
                results.0.lock().unwrap().is_empty(),
                "done before part {index}"
            );
            part.finish(end);
        }
        assert_eq!(*results.0.lock().unwrap(), [(9, Err(BlockError::Failed))]);
    }

    #[test]
    fn memory_in_crumbs_is_refused() {
        let results = Arc::new(Results::default());
        let crumb = Piece {
            address: 0,
            length: 64,
        };
        assert!(
            parts(
                request(Operation::Read, std::vec![crumb; 8], &results),
                &geometry(7, 4096, 4096)
            )
            .is_empty()
        );
        assert_eq!(
            *results.0.lock().unwrap(),
            [(9, Err(BlockError::Fragmented))]
        );
    }

    #[test]
    fn discards_are_cut_without_memory() {
        let results = Arc::new(Results::default());
        let mut whole = request(Operation::Discard, Vec::new(), &results);
        (whole.length, whole.data) = (5120, None);
        let made = parts(whole, &geometry(1, 512, 512));
        let ranges: Vec<_> = made.iter().map(|part| (part.start, part.length)).collect();
        assert_eq!(ranges, [(4096, 2048), (6144, 2048), (8192, 1024)]);
    }

    proptest! {
        /// Parts keep the limits and cover the request exactly, in order.
        #[test]
        fn parts_cover_the_whole(
            blocks in prop::collection::vec(1u32..40, 1..20),
            segments in 1u16..6,
            segment_blocks in 1u32..20,
            blocks_at_once in 1u64..60,
            lead in 0u64..4,
        ) {
            let results = Arc::new(Results::default());
            let pieces: Vec<Piece> = (1u64..).zip(&blocks)
                .map(|(index, count)| Piece { address: index << 20, length: count * 512 })
                .collect();
            let geometry = geometry(segments, segment_blocks * 512, blocks_at_once * 512);
            let mut whole = request(Operation::Write, pieces.clone(), &results);
            let lead = (lead * 512).min(whole.length);
            whole.length -= lead;
            whole.data.as_mut().unwrap().offset = lead;
            let length = whole.length;
            let expected: Vec<Piece> = whole.data.as_ref().unwrap().range(length, 512).collect();
            let made = parts(whole, &geometry);
            let mut found: Vec<Piece> = Vec::new();
            let mut start = 4096;
            for part in &made {
                prop_assert_eq!(part.start, start);
                prop_assert!(part.length <= blocks_at_once * 512);
                let data = part.data.as_ref().unwrap();
                prop_assert!(data.range(part.length, segment_blocks * 512).count() <= segments.into());
                found.extend(data.range(part.length, 512));
                start += part.length;
            }
            prop_assert_eq!(start, 4096 + length);
            prop_assert_eq!(found, expected);
            made.into_iter().for_each(|part| part.finish(Ok(())));
            prop_assert_eq!(&*results.0.lock().unwrap(), &[(9, Ok(()))]);
        }
    }
}
