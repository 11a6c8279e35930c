//! Nanoseconds for fingerprinting, parsing and planning a few statements; best of several rounds.
use bumpalo::Bump;
use coregate_planner::fingerprint::{Fingerprint, SqlMode};
use coregate_planner::fuzz;
use std::hint::black_box;
use std::time::Instant;

const STATEMENTS: [(&str, &str); 3] = [
    ("point select", "SELECT c FROM sbtest1 WHERE id=12345"),
    (
        "join, group, order",
        "SELECT c.name, COUNT(*) AS n, SUM(o.total) FROM customer c JOIN corder o ON o.customer_id \
            = c.id \
         WHERE c.country = 'de' AND o.created > '2024-01-01' GROUP BY c.name ORDER BY n DESC LIMIT \
         10",
    ),
    (
        "insert",
        "INSERT INTO sbtest1 (id, k, c, pad) VALUES (5012, 4993, '83868641912-28773972837', \
            '67847967377-48000963322')",
    ),
];

fn best(mut run: impl FnMut()) -> f64 {
    let rounds = 20_000u32;
    (0..7)
        .map(|_| {
            let start = Instant::now();
            (0..rounds).for_each(|_| run());
            start.elapsed().as_nanos() as f64 / f64::from(rounds)
        })
        .fold(f64::INFINITY, f64::min)
}

fn main() {
    for (name, sql) in STATEMENTS {
        let sql = sql.as_bytes();
        let mode = SqlMode::default();
        let mut fingerprint = Fingerprint::new();
        let lift = best(|| drop(black_box(fingerprint.read(black_box(sql), mode))));
        let mut arena = Bump::new();
        let parse = best(|| {
            arena.reset();
            let _ = black_box(fuzz::parse(black_box(sql), &fingerprint, mode, &arena));
        });
        println!("{name:20} {:4} B  fingerprint {lift:7.0} ns  parse {parse:7.0} ns", sql.len());
    }
}
