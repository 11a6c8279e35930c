//! Throws mutations of captured answers at every parser: for a second each, or for `FUZZ_SECONDS`. `FUZZ_SEED` repeats
//! a run; a failure prints what it takes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::time::{Duration, Instant};

use coregate_protocol::fuzz::TARGETS;

/// SplitMix64: <https://prng.di.unimi.it/splitmix64.c>.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

/// Bytes that mean something in the protocol.
const SPECIAL: [u8; 14] = [0, 1, 2, 3, 4, 5, 7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF, 0x80];

fn mutate(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    // What each target takes off the front: capabilities, a kind, a size.
    let head = random.below(12);
    let mut front: Vec<u8> = (0..head).map(|_| random.next() as u8).collect();
    if random.below(3) > 0 {
        front = vec![0; 8];
        front[1] = 2;
        front[3] = random.next() as u8 & 1;
        front.extend_from_slice(&[random.next() as u8, random.next() as u8]);
    }
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            1 if !bytes.is_empty() => bytes[at] = SPECIAL[random.below(SPECIAL.len())],
            2 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            3 => bytes.truncate(at),
            4 => bytes.insert(at.min(bytes.len()), SPECIAL[random.below(SPECIAL.len())]),
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let until = (from + random.below(40)).min(other.len());
                let piece = other[from..until].to_vec();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), piece);
            }
        }
    }
    front.extend_from_slice(&bytes);
    front
}

#[test]
fn no_bytes_break_a_parser() {
    let seconds = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(1.0);
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
    let mut corpus: Vec<Vec<u8>> = common::answers()
        .into_iter()
        .map(|answer| answer.bytes)
        .collect();
    let payloads: Vec<_> = corpus
        .iter()
        .filter_map(|bytes| bytes.get(4..).map(<[u8]>::to_vec))
        .collect();
    corpus.extend(payloads);
    corpus.push(b"\x03select 1".to_vec());
    corpus.push(b"\x17\x01\0\0\0\0\x01\0\0\0\0\x01\x08\0\xfd\0\x2a\0\0\0\0\0\0\0\x02hi".to_vec());
    corpus.push(Vec::new());
    for (name, target) in TARGETS {
        let (mut round, start) = (0u64, Instant::now());
        while start.elapsed() < Duration::from_secs_f64(seconds) || round < 1000 {
            // Each round has a seed of its own, so that a failure is repeated by one round.
            let round_seed = seed.wrapping_add(round);
            let input = mutate(&mut Random(round_seed), &corpus);
            let outcome = std::panic::catch_unwind(|| target(&input));
            assert!(outcome.is_ok(), "{name}: FUZZ_SEED={round_seed} input {input:02x?}");
            round += 1;
        }
        println!("{name}: {round} rounds from seed {seed}");
    }
}
