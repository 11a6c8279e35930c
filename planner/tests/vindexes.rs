//! Every vindex against what a real Vitess answers. The full list lies beside the workspace
//! (`../shared/vectors`, or under `COREGATE_SHARED`); where it is missing, the committed subset is
//! used and the test says so.
#![allow(clippy::unwrap_used)]
use coregate_planner::value::Value;
use coregate_planner::vindex::{Mapping, Params, create};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

#[derive(serde::Deserialize)]
struct Line {
    vindex: String,
    #[serde(default)]
    params: Params,
    r#in: Vec<Input>,
    out: String,
}

#[derive(serde::Deserialize)]
struct Input {
    r#type: String,
    hex: String,
}

fn lines() -> (String, bool) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("COREGATE_SHARED")
        .map_or_else(|| here.join("../../shared"), PathBuf::from);
    let full = shared.join("vectors/vindexes.jsonl.gz");
    if let Ok(file) = std::fs::File::open(&full) {
        let mut text = String::new();
        flate2::read::GzDecoder::new(file)
            .read_to_string(&mut text)
            .unwrap();
        return (text, true);
    }
    // Not eprintln!: the harness hides what a passing test prints.
    let note = format!(
        "NOT THE FULL LIST: {} is missing; tests/data/vindexes.jsonl is used\n",
        full.display()
    );
    let _ = std::io::stderr().write_all(note.as_bytes());
    (std::fs::read_to_string(here.join("tests/data/vindexes.jsonl")).unwrap(), false)
}

fn bytes(hex: &str) -> Vec<u8> {
    coregate_planner::keyrange::from_hex(hex).unwrap()
}

fn value<'a>(kind: &str, text: &'a [u8]) -> Value<'a> {
    let number = || std::str::from_utf8(text).unwrap();
    match kind {
        "NULL_TYPE" => Value::Null,
        "INT64" => Value::Int(number().parse().unwrap()),
        "UINT64" => Value::UInt(number().parse().unwrap()),
        "DECIMAL" | "FLOAT64" => Value::Decimal(text),
        _ => Value::Bytes(text),
    }
}

fn map(line: &Line) -> String {
    let inline = |text: &str| Ok(text.to_owned());
    let vindex = create("v", &line.vindex, &line.params, &inline)
        .unwrap()
        .unwrap();
    let texts: Vec<Vec<u8>> = line.r#in.iter().map(|input| bytes(&input.hex)).collect();
    let values: Vec<Value<'_>> = line
        .r#in
        .iter()
        .zip(&texts)
        .map(|(input, text)| value(&input.r#type, text))
        .collect();
    match vindex.map(&values) {
        Ok(Mapping::None) => "none".to_owned(),
        Ok(Mapping::Id(id)) => coregate_planner::keyrange::to_hex(&id),
        Ok(Mapping::Range(range)) => format!("range {range}"),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn answers_are_vitess_s() {
    let (text, full) = lines();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for line in text.lines() {
        let parsed: Line = serde_json::from_str(line).unwrap();
        let got = map(&parsed);
        let same =
            got == parsed.out || got.starts_with("error: ") && parsed.out.starts_with("error: ");
        if !same {
            wrong.push(format!("{line}\n  got {got}"));
        }
        *counts.entry(parsed.vindex).or_default() += 1;
    }
    println!("{counts:?}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
    assert_eq!(counts.len(), 14, "a vindex is not tested: {counts:?}");
    assert!(counts.values().sum::<usize>() >= if full { 6_000 } else { 190 });
}
