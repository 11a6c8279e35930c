//! Throws mutations of captured answers at every parser. `cargo test` runs each target for a
//! second, or for `FUZZ_SECONDS`; `cargo bolero test -p coregate-protocol NAME` searches by
//! coverage.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use bolero::generator::bolero_generator::{Driver, ValueGenerator};
use coregate_protocol::fuzz::TARGETS;
use std::sync::LazyLock;
use std::time::Duration;

/// Bytes that mean something in the protocol.
const SPECIAL: [u8; 14] = [0, 1, 2, 3, 4, 5, 7, 0xFA, 0xFB, 0xFC, 0xFD, 0xFE, 0xFF, 0x80];

/// Answers of servers, whole and without the first packet's header, and some commands.
static CORPUS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
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
    corpus
});

#[derive(Debug)]
struct Packets;

impl ValueGenerator for Packets {
    type Output = Vec<u8>;

    fn generate<D: Driver>(&self, driver: &mut D) -> Option<Vec<u8>> {
        let pick = |driver: &mut D| CORPUS.get((0..CORPUS.len()).generate(driver)?);
        let byte = |driver: &mut D| (0u8..=255).generate(driver);
        let special = |driver: &mut D| SPECIAL.get((0..SPECIAL.len()).generate(driver)?).copied();
        // What each target takes off the front: capabilities, a kind, a size.
        let mut front = Vec::new();
        if (0u8..3).generate(driver)? > 0 {
            front = vec![0, 2, 0, byte(driver)? & 1, 0, 0, 0, 0, byte(driver)?, byte(driver)?];
        } else {
            for _ in 0..(0u8..12).generate(driver)? {
                front.push(byte(driver)?);
            }
        }
        let mut bytes = pick(driver)?.clone();
        for _ in 0..(0u8..6).generate(driver)? {
            let at = (0..=bytes.len()).generate(driver)?;
            match (0u8..6).generate(driver)? {
                0 if at < bytes.len() => bytes[at] = byte(driver)?,
                1 if at < bytes.len() => bytes[at] = special(driver)?,
                2 if at < bytes.len() => bytes[at] ^= 1 << (0u8..8).generate(driver)?,
                3 => bytes.truncate(at),
                4 => bytes.insert(at, special(driver)?),
                _ => {
                    let other = pick(driver)?;
                    let from = (0..=other.len()).generate(driver)?;
                    let end = (from..=other.len().min(from + 40)).generate(driver)?;
                    bytes.splice(at..at, other[from..end].iter().copied());
                }
            }
        }
        front.extend_from_slice(&bytes);
        Some(front)
    }
}

fn seconds() -> Duration {
    let given = std::env::var("FUZZ_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    Duration::from_secs_f64(given.unwrap_or(1.0))
}

/// A test for each target, so that a fuzzer can be given one.
macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            bolero::check!().with_generator(Packets).with_test_time(seconds()).for_each(|bytes: &Vec<u8>| {
                coregate_protocol::fuzz::$name(bytes);
            });
        })*

        #[test]
        fn every_target_has_its_test() {
            let tested = [$(stringify!($name)),*];
            let all: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            assert_eq!(all, tested);
        }
    };
}

targets! {
    assembler client_handshake command decompressor handshake response resequencer row
    server_handshake sha2_stored walker
}
