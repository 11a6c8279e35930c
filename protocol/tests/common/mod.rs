//! Answers of a real server, captured by `data/capture.py`.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used)]

use coregate_protocol::Capabilities;
use coregate_protocol::walker::ResponseKind;

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) caps: Capabilities,
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn response_kind(&self) -> Option<ResponseKind> {
        Some(match self.kind.as_str() {
            "query" => ResponseKind::Query,
            "prepare" => ResponseKind::Prepare,
            "execute" if self.name.contains("cursor") => ResponseKind::Cursor,
            "execute" => ResponseKind::Execute,
            "fetch" => ResponseKind::Fetch,
            "fields" => ResponseKind::FieldList,
            "statistics" => ResponseKind::Statistics,
            "simple" => ResponseKind::Simple,
            _ => return None,
        })
    }

    pub(crate) fn title(&self) -> String {
        format!("{} {} {:?}", self.kind, self.name, self.caps)
    }
}

/// All of them.
pub(crate) fn answers() -> Vec<Answer> {
    let e = Capabilities::DEPRECATE_EOF;
    let t = Capabilities::SESSION_TRACK;
    let m = Capabilities::MARIADB_PROGRESS
        | Capabilities::MARIADB_EXTENDED_METADATA
        | Capabilities::MARIADB_CACHE_METADATA;
    let base = Capabilities::PROTOCOL_41 | Capabilities::TRANSACTIONS;
    let files = [
        (base, include_str!("../data/answers-0.txt")),
        (base | e, include_str!("../data/answers-e.txt")),
        (base | e | t, include_str!("../data/answers-et.txt")),
        (base | m, include_str!("../data/answers-m.txt")),
        (base | e | m | t, include_str!("../data/answers-emt.txt")),
    ];
    let mut answers = Vec::new();
    for (caps, text) in files {
        for line in text.lines() {
            let mut fields = line.split(' ').map(str::to_owned);
            let (Some(kind), Some(name), Some(hex)) = (fields.next(), fields.next(), fields.next())
            else {
                panic!("bad line {line}");
            };
            answers.push(Answer { caps, kind, name, bytes: unhex(&hex) });
        }
    }
    assert!(answers.len() > 200);
    answers
}

/// One of them, under just these capabilities.
pub(crate) fn answer(caps: Capabilities, kind: &str, name: &str) -> Answer {
    let caps = caps | Capabilities::PROTOCOL_41 | Capabilities::TRANSACTIONS;
    let all = answers();
    all.into_iter()
        .find(|a| a.caps == caps && a.kind == kind && a.name == name)
        .expect("captured")
}

fn unhex(text: &str) -> Vec<u8> {
    text.as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}
