//! Which values of XCR0 can be loaded: [`is_loadable`]. APM volume 2, 11.5.2.

const X87: u64 = 1 << 0;
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
/// The three parts of AVX-512, which come together.
const AVX512: u64 = 7 << 5;

/// Whether a CPU whose host has `host` in XCR0 takes `value`, and the host saves
/// all that it enables.
#[inline]
#[must_use]
pub const fn is_loadable(value: u64, host: u64) -> bool {
    let wide = AVX512 | AVX | SSE;
    value & !host == 0
        && value & X87 != 0
        && (value & AVX == 0 || value & SSE != 0)
        && (value & AVX512 == 0 || value & wide == wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_manual_forbids_is_refused() {
        let host = X87 | SSE | AVX | AVX512;
        for good in [1, 3, 7, host] {
            assert!(is_loadable(good, host), "{good:#x}");
        }
        // Nothing, no x87, AVX without SSE, a part of AVX-512, AVX-512 without AVX.
        for bad in [0, 2, 5, 7 | 1 << 5, X87 | SSE | AVX512] {
            assert!(!is_loadable(bad, host), "{bad:#x}");
        }
    }

    #[test]
    fn what_the_host_does_not_save_is_refused() {
        let pkru = 1 << 9;
        assert!(!is_loadable(X87 | SSE | pkru, X87 | SSE | AVX));
        assert!(!is_loadable(X87 | SSE | AVX, X87 | SSE));
    }
}
