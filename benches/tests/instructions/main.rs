//! Instructions that the steps of a statement's way take, against `benches/instructions.txt`. A
//! count says what a noisy machine's times do not: the same program on the same data takes the same
//! instructions.
//!
//! The program runs itself under callgrind: `instructions CASE TIMES` does a step so many times. A
//! rise over 3 % fails. `UPDATE_INSTRUCTIONS=1` writes the file anew; the commit that changes it
//! says why.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use work::CASES;

mod work;

/// Percent.
const RISE_MAX: u64 = 3;

/// Instructions of a whole run.
fn count(case: &str, times: u64) -> u64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([case, &times.to_string()])
        .output()
        .expect("valgrind, which tests/install.sh installs");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected :"));
    let (_, number) = line.unwrap_or_else(|| panic!("callgrind counted nothing: {text}"));
    number.trim().parse().unwrap()
}

/// Of one time: what a longer run takes more than a shorter one.
fn once(case: &str) -> u64 {
    let (few, more) = if case.contains("1000") { (2, 22) } else { (100, 1100) };
    (count(case, more) - count(case, few)) / (more - few)
}

fn baseline() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [case, times] = args.as_slice()
        && let Some((_, run)) = CASES.iter().find(|(name, _)| name == case)
    {
        return run(times.parse().unwrap());
    }
    // As the test harness is asked.
    if args.iter().any(|arg| arg == "--list") {
        println!("instructions: test");
        return;
    }
    if !args.iter().any(|arg| arg == "--ignored") {
        no_step_takes_more_instructions_than_before();
        println!("instructions: ok");
    }
}

fn no_step_takes_more_instructions_than_before() {
    let found: BTreeMap<&str, u64> = CASES.iter().map(|(case, _)| (*case, once(case))).collect();
    let text: String = found
        .iter()
        .map(|(case, count)| format!("{case} {count}\n"))
        .collect();
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        std::fs::write(baseline(), &text).unwrap();
        return;
    }
    let before = std::fs::read_to_string(baseline()).unwrap();
    let mut rises = Vec::new();
    for line in before.lines() {
        let (case, before) = line.split_once(' ').unwrap();
        let before: u64 = before.parse().unwrap();
        match found.get(case) {
            Some(now) if *now * 100 > before * (100 + RISE_MAX) => {
                rises.push(format!("{case}: {before} -> {now}"));
            }
            Some(_) => {}
            None => rises.push(format!("{case} is not counted any more")),
        }
    }
    assert_eq!(before.lines().count(), found.len(), "a case is missing in the file:\n{text}");
    assert!(rises.is_empty(), "more instructions:\n{}\nall:\n{text}", rises.join("\n"));
}
