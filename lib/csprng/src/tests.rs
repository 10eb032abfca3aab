//! Vectors of RFC 8439, another implementation, and the rules of seeding.

extern crate std;

use std::collections::BTreeSet;
use std::vec::Vec;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use proptest::prelude::*;

use crate::chacha::{block, key_of};
use crate::{Csprng, Jitter, NotSeeded, Pool, Source};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| (pair[0] << 4 | pair[1]) as u8)
        .collect()
}

/// Section 2.3.2.
#[test]
fn the_block_function_is_the_rfcs() {
    let key: Vec<u8> = (0..32).collect();
    let key = key_of(key.as_slice().try_into().unwrap());
    let expected = "10 f1 e7 e4 d1 3b 59 15 50 0f dd 1f a3 20 71 c4 \
        c7 d1 f4 c7 33 c0 68 03 04 22 aa 9a c3 d4 6c 4e \
        d2 82 64 46 07 9f aa 09 14 c2 d7 05 d9 8b 02 a2 \
        b5 12 9c d1 de 16 4e b9 cb d0 83 e8 a2 50 3c 4e";
    assert_eq!(
        block(&key, [1, 0x0900_0000, 0x4a00_0000, 0]).to_vec(),
        hex(expected)
    );
}

/// Appendix A.1, vectors 1 and 2.
#[test]
fn the_zero_key_gives_the_rfcs_stream() {
    let first = "76 b8 e0 ad a0 f1 3d 90 40 5d 6a e5 53 86 bd 28 \
        bd d2 19 b8 a0 8d ed 1a a8 36 ef cc 8b 77 0d c7 \
        da 41 59 7c 51 57 48 8d 77 24 e0 3f b8 d8 4a 37 \
        6a 43 b8 f4 15 18 a1 1c c3 87 b6 69 b2 ee 65 86";
    let second = "9f 07 e7 be 55 51 38 7a 98 ba 97 7c 73 2d 08 0d \
        cb 0f 29 a0 48 e3 65 69 12 c6 53 3e 32 ee 7a ed \
        29 b7 21 76 9c e6 4e 43 d5 71 33 b0 74 d8 39 d5 \
        31 ed 1f 28 51 0a fb 45 ac e1 0a 1f 4b 79 4d 6f";
    assert_eq!(block(&[0; 8], [0; 4]).to_vec(), hex(first));
    assert_eq!(block(&[0; 8], [1, 0, 0, 0]).to_vec(), hex(second));
}

#[test]
fn nothing_comes_out_before_256_bits_went_in() {
    let mut rng = Csprng::new();
    let mut out = [7; 16];
    assert_eq!(rng.fill(&mut out), Err(NotSeeded));
    assert_eq!((out, rng.descendant().err()), ([7; 16], Some(NotSeeded)));
    rng.mix(Source::Identity, &[1; 1000]);
    rng.mix(Source::Rdrand, &[2; 8]);
    rng.mix(Source::Rdseed, &[3; 30]);
    assert_eq!((rng.credit(), rng.is_seeded()), (248, false));
    rng.mix(Source::Rdseed, &[4; 1]);
    assert_eq!(
        (rng.credit(), rng.is_seeded(), rng.seedings()),
        (0, true, 1)
    );
    rng.fill(&mut out).unwrap();
    rng.mix(Source::VirtioRng, &[5; 4096]);
    assert_eq!(rng.seedings(), 2);
}

#[test]
fn insecure_output_spends_the_credit() {
    let mut rng = Csprng::new();
    rng.mix(Source::Rdseed, &[3; 31]);
    let mut out = [0; 32];
    rng.fill_insecure(&mut out);
    assert_ne!(out, [0; 32]);
    assert_eq!(rng.credit(), 0);
    rng.mix(Source::Rdseed, &[4; 31]);
    assert!(!rng.is_seeded());
}

#[test]
fn every_input_and_its_order_matter() {
    let parts: [&[u8]; 3] = [&[1], &[1, 0], &[0; 33]];
    let mut keys = BTreeSet::new();
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut pool = Pool::new();
        order.iter().for_each(|n| pool.absorb(parts[*n], 0));
        keys.insert(pool.extract());
        keys.insert(pool.extract());
    }
    for parts in parts {
        let mut pool = Pool::new();
        pool.absorb(parts, 0);
        keys.insert(pool.extract());
    }
    assert_eq!(keys.len(), 15);
}

#[test]
fn even_clocks_are_worth_nothing() {
    let total = |times: &[u64]| {
        let mut jitter = Jitter::new();
        times.iter().map(|time| jitter.credit(*time)).sum::<u32>()
    };
    assert_eq!(total(&(0..1000).map(|n| n * 1000).collect::<Vec<_>>()), 0);
    assert_eq!(total(&(0..1000).map(|n| n * n).collect::<Vec<_>>()), 0);
    assert_eq!(
        total(&(0..1000).map(|n| n * 1000 + n % 2).collect::<Vec<_>>()),
        0
    );
    let wild: Vec<u64> = (0..1000u64)
        .map(|n| n * 1_000_000 + (n * n * n * 7919) % 65537)
        .collect();
    assert!(total(&wild) > 900);
}

#[test]
fn descendants_and_seedings_part_the_streams() {
    let mut rng = Csprng::new();
    rng.mix(Source::Rdseed, &[9; 32]);
    let mut streams = BTreeSet::new();
    let mut first = rng.descendant().unwrap();
    let mut second = rng.descendant().unwrap();
    for _ in 0..100 {
        streams.insert(first.next_u64());
        streams.insert(second.next_u64());
        streams.insert(rng.next_u64().unwrap());
        rng.mix(Source::Rdseed, &[9; 8]);
    }
    assert_eq!(streams.len(), 300);
    assert!(rng.seedings() > 20);
}

#[test]
fn used_output_is_erased() {
    let mut rng = Csprng::new();
    rng.mix(Source::Rdseed, &[9; 32]);
    let mut generator = rng.descendant().unwrap();
    let mut all = Vec::new();
    for length in [1, 31, 64, 200, 5] {
        let mut out = std::vec![0; length];
        generator.fill(&mut out);
        all.extend(out);
    }
    let mut whole = std::vec![0; all.len()];
    let mut again = Csprng::new();
    again.mix(Source::Rdseed, &[9; 32]);
    again.descendant().unwrap().fill(&mut whole);
    assert_eq!(all, whole);
    let (used, unused) = generator.parts();
    assert!(used.iter().all(|byte| *byte == 0));
    assert!(unused.iter().any(|byte| *byte != 0));
    assert!(
        all.windows(8)
            .all(|seen| unused.windows(8).all(|left| seen != left))
    );
}

proptest! {
    #[test]
    fn another_implementation_agrees(seed: [u8; 32], counter in 0..20u32) {
        let mut theirs = std::vec![0; 64 * (counter as usize + 1)];
        ChaCha20Rng::from_seed(seed).fill_bytes(&mut theirs);
        let ours = block(&key_of(&seed), [counter, 0, 0, 0]);
        prop_assert_eq!(&theirs[theirs.len() - 64..], &ours[..]);
    }

    #[test]
    fn output_looks_balanced(seed: [u8; 32]) {
        let mut rng = Csprng::new();
        rng.mix(Source::Rdseed, &seed);
        let mut out = [0; 8192];
        rng.fill(&mut out).unwrap();
        let ones: u32 = out.iter().map(|byte| byte.count_ones()).sum();
        prop_assert!(ones.abs_diff(32768) < 900, "{ones}");
    }
}
