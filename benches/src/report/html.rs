//! One page that needs nothing else: tables and plots.
use super::plot::{Bar, COLOURS, Plot, Series, bars, escape};
use super::{Case, Report, Row, spread};
use crate::drive::Measured;
use hdrhistogram::Histogram;
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:1320px;padding:0 1rem;color:#222;background:#fff}\
    h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}table{border-collapse:collapse;margin:.6rem 0}\
    td,th{padding:.15rem .7rem;text-align:right;border-bottom:1px solid #ddd;font-variant-numeric:tabular-nums}\
    td:first-child,th:first-child{text-align:left}.facts \
    td{text-align:left}.plots{display:flex;flex-wrap:wrap;gap:1rem}\
    svg{width:620px;max-width:100%;height:auto}.t{font:600 14px system-ui,sans-serif}.a{font:11px system-ui,sans-serif;fill:#444}\
    .m{text-anchor:middle}.e{text-anchor:end}.g{stroke:#e4e4e4}.key span{margin-right:1.2rem}.key \
    i{display:inline-block;width:1rem;\
    height:.6rem;margin-right:.35rem}.note{color:#a40}";

/// Shares of the transactions that are slower, where the plot of latencies has marks: 1 in 2, 10,
/// 100, ...
const QUANTILES: [(f64, &str); 5] =
    [(0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"), (0.999, "99.9 %"), (0.9999, "99.99 %")];
/// Points of a line between two marks.
const STEPS: u32 = 12;

/// All rounds of a target.
pub(super) fn together(row: &Row) -> Option<Histogram<u64>> {
    let mut all = row.rounds.first()?.latency.clone();
    for round in row.rounds.iter().skip(1) {
        all.add(&round.latency).ok()?;
    }
    Some(all)
}

pub(super) fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>coregate bench \
            compare</title><style>{STYLE}</style></head>\
         <body><h1>coregate bench compare</h1><p>Targets took turns, round after round. A ratio is \
         the median over the rounds of the \
         figure divided by that of the other's turn in the same round, with the least and the \
         greatest.</p>"
    );
    out.push_str(&key(report));
    out.push_str("<div class=\"plots\">");
    out.push_str(&by_connections(report));
    out.push_str("</div>");
    for case in &report.cases {
        one_case(&mut out, case);
    }
    out.push_str("<h2>What it was measured on</h2><table class=\"facts\">");
    for (name, value) in &report.facts {
        // Writing to a string cannot fail.
        let _ = write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(name), escape(value));
    }
    let run = toml::to_string(&report.settings).unwrap_or_default();
    let _ = write!(
        out,
        "</table><details><summary>run.toml</summary><pre>{}</pre></details></body></html>",
        escape(&run)
    );
    out
}

/// Which colour is which target.
fn key(report: &Report) -> String {
    let mut out = "<p class=\"key\">".to_owned();
    for (at, row) in report
        .cases
        .first()
        .into_iter()
        .flat_map(|c| &c.rows)
        .enumerate()
    {
        let colour = COLOURS[at % COLOURS.len()];
        let _ =
            write!(out, "<span><i style=\"background:{colour}\"></i>{}</span>", escape(&row.name));
    }
    out + "</p>"
}

fn one_case(out: &mut String, case: &Case) {
    let _ = write!(out, "<h2>{}</h2><table>", escape(&case.heading()));
    for (at, line) in case.cells().iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        let cells: Vec<String> = line
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escape(cell)))
            .collect();
        let _ = write!(out, "<tr>{}</tr>", cells.concat());
    }
    out.push_str("</table>");
    for remark in case.remarks() {
        let _ = write!(out, "<p class=\"note\">{}</p>", escape(&remark));
    }
    out.push_str("<div class=\"plots\">");
    out.push_str(&latencies(case));
    out.push_str(&over_time(case));
    let (unit, cost) = case.cost();
    let found: Vec<Bar> = case
        .rows
        .iter()
        .enumerate()
        .filter_map(|(colour, row)| {
            let [value, least, greatest] = spread(row.rounds.iter().filter_map(cost).collect())?;
            Some(Bar { name: row.name.clone(), colour, value, least, greatest })
        })
        .collect();
    if !found.is_empty() {
        out.push_str(&bars("CPU of the target's process", unit, &found));
    }
    out.push_str("</div>");
}

/// Latency by percentile: the slowest take as much room as the others.
fn latencies(case: &Case) -> String {
    let nines = |quantile: f64| -(1.0 - quantile).log10();
    let line = |row: &Row| -> Option<Vec<(f64, f64)>> {
        let all = together(row)?;
        let last = nines(QUANTILES[QUANTILES.len() - 1].0);
        let points = (0..=STEPS * 4).map(|n| {
            let at = last * f64::from(n) / f64::from(STEPS * 4);
            (at, all.value_at_quantile(1.0 - 10f64.powf(-at)) as f64 / 1e6)
        });
        Some(points.collect())
    };
    Plot {
        title: "Latency by percentile".to_owned(),
        x_label: "part of the transactions that was not slower",
        y_label: "ms".to_owned(),
        x_ticks: QUANTILES
            .iter()
            .map(|(quantile, text)| (nines(*quantile), (*text).to_owned()))
            .collect(),
        y_log: true,
        series: lines(case, line),
    }
    .svg()
}

/// One line for each target that has one.
fn lines(case: &Case, line: impl Fn(&Row) -> Option<Vec<(f64, f64)>>) -> Vec<Series> {
    let rows = case.rows.iter().enumerate();
    rows.filter_map(|(colour, row)| {
        let points = line(row).filter(|points| !points.is_empty())?;
        Some(Series { name: row.name.clone(), colour, points })
    })
    .collect()
}

/// The rounds one after the other.
fn over_time(case: &Case) -> String {
    let line = |row: &Row| {
        let mut at = 0.0;
        let mut points = Vec::new();
        for slice in row.rounds.iter().flat_map(|round| &round.slices) {
            at += slice.seconds;
            if slice.transactions > 0 {
                points.push((at, slice.p99_ms));
            }
        }
        Some(points)
    };
    let whole = case.seconds as f64 * case.rounds() as f64;
    Plot {
        title: "99th percentile over time, round after round".to_owned(),
        x_label: "seconds of load",
        y_label: "ms".to_owned(),
        x_ticks: (0..=case.rounds().min(20))
            .map(|n| (n as f64 * case.seconds as f64).min(whole))
            .map(|at| (at, format!("{at:.0}")))
            .collect(),
        y_log: false,
        series: lines(case, line),
    }
    .svg()
}

/// Throughput against the number of connections, where there was more than one.
fn by_connections(report: &Report) -> String {
    let mut out = String::new();
    let mut done: Vec<(&str, &str)> = Vec::new();
    for first in &report.cases {
        let kind = (first.load.as_str(), first.protocol.name());
        let alike: Vec<&Case> = report
            .cases
            .iter()
            .filter(|case| (case.load.as_str(), case.protocol.name()) == kind)
            .collect();
        if done.contains(&kind) || alike.len() < 2 {
            continue;
        }
        done.push(kind);
        let place = |case: &Case| f64::from(case.connections).log2();
        let series = first.rows.iter().enumerate().map(|(colour, row)| {
            let points = alike.iter().filter_map(|case| {
                let same = case.rows.iter().find(|other| other.name == row.name)?;
                let rate = same.median(|m: &Measured| Some(m.queries_per_s()))?;
                Some((place(case), rate))
            });
            Series { name: row.name.clone(), colour, points: points.collect() }
        });
        let plot = Plot {
            title: format!("{}, {}: queries/s against connections", kind.0, kind.1),
            x_label: "connections",
            y_label: "queries/s".to_owned(),
            x_ticks: alike
                .iter()
                .map(|case| (place(case), case.connections.to_string()))
                .collect(),
            y_log: false,
            series: series.collect(),
        };
        out.push_str(&plot.svg());
    }
    out
}
