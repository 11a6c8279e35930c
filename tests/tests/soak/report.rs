//! What it has cost: a table, and a page with the rate and the latency of every second.
use crate::faults::{Event, Kind, Plan};
use crate::load::{Done, Sample};
use coregate_tests::target_dir;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

const PAGE: &str = include_str!("page.html");

/// How long no writer got an acknowledgement, at the longest, from a fault on until all was well.
fn pause(event: &Event, samples: &[Sample]) -> Duration {
    let mut acknowledged = samples.iter().filter(|s| s.ok).map(|s| s.ended);
    let mut last = event.at;
    let mut longest = Duration::ZERO;
    let end = event.at + event.well;
    for at in acknowledged.by_ref().skip_while(|at| *at < event.at) {
        longest = longest.max(at.saturating_sub(last));
        last = at;
        if at > end {
            break;
        }
    }
    longest
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Of a sorted list.
fn part(sorted: &[u64], percent: usize) -> u64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(0)
}

pub fn table(events: &[Event], done: &Done) -> String {
    let mut by_kind: BTreeMap<Kind, Vec<&Event>> = BTreeMap::new();
    for event in events {
        by_kind.entry(event.kind).or_default().push(event);
    }
    let mut out = format!(
        "{:32} {:>3} {:>24} {:>20}\n",
        "fault", "n", "no acknowledgement (ms)", "well again (ms)"
    );
    let _ = writeln!(
        out,
        "{:36} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6}",
        "", "min", "p50", "p90", "max", "p50", "max"
    );
    for (kind, events) in by_kind {
        let sorted = |of: &dyn Fn(&Event) -> u64| {
            let mut all: Vec<u64> = events.iter().map(|e| of(e)).collect();
            all.sort_unstable();
            all
        };
        let (pauses, well) = (sorted(&|e| ms(pause(e, &done.samples))), sorted(&|e| ms(e.well)));
        let _ = writeln!(
            out,
            "{:32} {:>3} {:>5} {:>5} {:>5} {:>6} {:>6} {:>6}",
            kind.name(),
            events.len(),
            part(&pauses, 0),
            part(&pauses, 50),
            part(&pauses, 90),
            part(&pauses, 100),
            part(&well, 50),
            part(&well, 100)
        );
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, text) in &done.errors {
        // Names of servers and numbers apart, they are few.
        let end = text.char_indices().nth(90).map_or(text.len(), |(at, _)| at);
        *kinds.entry(&text[..end]).or_default() += 1;
    }
    let _ = writeln!(
        out,
        "{} rows acknowledged, {} statements failed",
        done.acknowledged.len(),
        done.errors.len()
    );
    for (text, count) in kinds {
        let _ = writeln!(out, "{count:>6}  {text}");
    }
    out
}

/// For each second: acknowledged, failed, and the latency's median, 99th percentile and maximum in
/// ms.
fn seconds(samples: &[Sample]) -> Vec<[u64; 5]> {
    let last = samples.last().map_or(0, |s| s.ended.as_secs());
    let mut all: Vec<(u64, u64, Vec<u64>)> =
        vec![Default::default(); usize::try_from(last).unwrap_or(0) + 1];
    for sample in samples {
        let Some(second) = usize::try_from(sample.ended.as_secs())
            .ok()
            .and_then(|s| all.get_mut(s))
        else {
            continue;
        };
        *(if sample.ok { &mut second.0 } else { &mut second.1 }) += 1;
        second.2.push(ms(sample.took));
    }
    let row = |(ok, failed, mut took): (u64, u64, Vec<u64>)| {
        took.sort_unstable();
        [ok, failed, part(&took, 50), part(&took, 99), part(&took, 100)]
    };
    all.into_iter().map(row).collect()
}

/// Into `COREGATE_SOAK_REPORT`, a directory, or the target's.
pub fn write(name: &str, plan: &Plan, events: &[Event], done: &Done, broken: &[String]) {
    let dir = std::env::var_os("COREGATE_SOAK_REPORT").map_or_else(target_dir, Into::into);
    let event = |e: &Event| {
        json!({"kind": e.kind.name(), "at": ms(e.at), "well": ms(e.well), "on": e.on,
            "pause": ms(pause(e, &done.samples)),
            "broken": e.broken})
    };
    let errors = done
        .errors
        .iter()
        .take(1000)
        .map(|(at, text)| json!([ms(*at), text]));
    let data = json!({
        "name": name,
        "plan": format!("seed {}, {:?}", plan.seed, plan.until),
        "table": table(events, done),
        "events": events.iter().map(event).collect::<Vec<_>>(),
        "seconds": seconds(&done.samples),
        "errors": errors.collect::<Vec<_>>(),
        "broken": broken,
    });
    // A text of a server must not end the script.
    let page = PAGE.replace("/*DATA*/", &data.to_string().replace("</", "<\\/"));
    let path = dir.join(format!("{name}.html"));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(&path, page).unwrap();
    println!("report: {}", path.display());
}
