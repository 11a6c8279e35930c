//! Figures of a run: as a table, as JSON, as a page with plots, and latencies as HdrHistogram's
//! `.hgrm` files.
mod hgrm;
mod html;
mod json;
mod plot;
mod text;

use crate::Error;
use crate::drive::{Measured, Protocol};
use crate::machine::Facts;
use crate::settings::Settings;
use std::path::{Path, PathBuf};

/// Everything that a run has found.
pub(crate) struct Report {
    pub(crate) settings: Settings,
    pub(crate) facts: Facts,
    pub(crate) cases: Vec<Case>,
}

/// One load, one protocol, one number of connections; all targets.
pub(crate) struct Case {
    pub(crate) load: String,
    pub(crate) title: String,
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    pub(crate) idle: u32,
    pub(crate) seconds: u64,
    pub(crate) rate: Option<u32>,
    pub(crate) rows: Vec<Row>,
}

/// One target.
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Measured>,
    pub(crate) failure: Option<String>,
}

/// Median, least, greatest.
type Spread = [f64; 3];

impl Row {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), rounds: Vec::new(), failure: None }
    }

    fn median(&self, of: impl Fn(&Measured) -> Option<f64>) -> Option<f64> {
        spread(self.rounds.iter().filter_map(of).collect()).map(|[median, ..]| median)
    }

    /// The rounds' ratios, each to the other's turn in the same round.
    fn ratio(&self, to: &Self, of: impl Fn(&Measured) -> Option<f64>) -> Option<Spread> {
        let pairs = self.rounds.iter().zip(&to.rounds);
        let ratios = pairs
            .filter_map(|(a, b)| of(a).zip(of(b)))
            .filter(|(_, b)| *b > 0.0)
            .map(|(a, b)| a / b);
        spread(ratios.collect())
    }
}

fn spread(mut values: Vec<f64>) -> Option<Spread> {
    values.sort_by(f64::total_cmp);
    let (first, last) = (*values.first()?, *values.last()?);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    let median = match values.len() % 2 {
        1 => upper,
        _ => (upper + values.get(middle.checked_sub(1)?).copied()?) / 2.0,
    };
    Some([median, first, last])
}

impl Case {
    /// What the others' CPU is held against: HAProxy, which does the least, else the first whose
    /// CPU is known.
    fn cpu_base(&self) -> Option<&Row> {
        let known = |row: &&Row| row.rounds.iter().any(|m| m.cpu_s.is_some());
        self.rows
            .iter()
            .find(|row| row.name == "haproxy" && known(row))
            .or_else(|| self.rows.iter().find(known))
    }

    /// What the others' throughput and latency is held against: the first target.
    fn base(&self) -> Option<&Row> {
        self.rows.first()
    }

    fn rounds(&self) -> usize {
        self.rows
            .iter()
            .map(|row| row.rounds.len())
            .max()
            .unwrap_or_default()
    }

    fn name(&self) -> String {
        format!("{}-{}-{}", self.load, self.protocol.name(), self.connections)
    }

    /// Transactions of more than one statement: both are counted.
    fn has_transactions(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.rounds)
            .any(|m| m.queries > m.transactions)
    }

    /// Answers are large: CPU by their size says more than CPU by query.
    fn is_large(&self) -> bool {
        self.rows
            .iter()
            .flat_map(|row| &row.rounds)
            .any(|m| m.queries > 0 && m.bytes / m.queries > 100_000)
    }
}

pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|e| Error::failed(path.display(), e))
}

impl Report {
    /// Writes all files; gives the page's path.
    pub(crate) fn write_to(&self, dir: &Path) -> Result<PathBuf, Error> {
        let latencies = dir.join("hgrm");
        std::fs::create_dir_all(&latencies).map_err(|e| Error::failed(latencies.display(), e))?;
        for case in &self.cases {
            for row in &case.rows {
                if let Some(all) = html::together(row) {
                    let name = format!("{}-{}.hgrm", case.name(), row.name);
                    write(&latencies.join(name.replace(['/', ' '], "_")), &hgrm::text(&all))?;
                }
            }
        }
        let run = toml::to_string(&self.settings).map_err(|e| Error::failed("run.toml", e))?;
        let head = "# coregate bench compare --config run.toml   makes this run again. Passwords \
            are left out.\n";
        write(&dir.join("run.toml"), &format!("{head}{run}"))?;
        write(&dir.join("report.json"), &self.json())?;
        let page = dir.join("report.html");
        write(&page, &html::page(self))?;
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::Slice;
    use hdrhistogram::Histogram;

    pub(super) fn measured(queries: u64, cpu_s: f64) -> Measured {
        let mut latency = Histogram::new(3).unwrap();
        for n in 1..=100 {
            latency.record(n * 10_000).unwrap();
        }
        let slice = Slice { seconds: 0.5, transactions: queries / 2, p50_ms: 0.5, p99_ms: 1.0 };
        Measured {
            queries,
            transactions: queries,
            retries: 0,
            unsent: 0,
            bytes: queries * 200,
            seconds: 1.0,
            cpu_s: Some(cpu_s),
            peak_kib: Some(2048),
            load_saturated: false,
            latency,
            slices: vec![slice, slice],
        }
    }

    pub(super) fn report() -> Report {
        let case = |connections| {
            let mut haproxy = Row::new("haproxy");
            haproxy.rounds = vec![measured(100, 1.0), measured(100, 4.0)];
            let mut coregate = Row::new("coregate");
            coregate.rounds = vec![measured(100, 0.5), measured(100, 1.0)];
            let mut gone = Row::new("gone");
            gone.failure = Some("it <hung>".to_owned());
            Case {
                load: "point".to_owned(),
                title: "point select".to_owned(),
                protocol: Protocol::Text,
                connections,
                idle: 0,
                seconds: 1,
                rate: None,
                rows: vec![haproxy, coregate, gone],
            }
        };
        let facts = vec![("kernel".to_owned(), "6.18 & more".to_owned())];
        Report { settings: Settings::default(), facts, cases: vec![case(1), case(32)] }
    }

    #[test]
    fn ratios_are_of_neighbours_in_time() {
        let report = report();
        let [haproxy, coregate, _] = report.cases[0].rows.as_slice() else { panic!() };
        assert_eq!(coregate.ratio(haproxy, Measured::cpu_us), Some([0.375, 0.25, 0.5]));
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), Some([2.0, 1.0, 3.0]));
        assert_eq!((spread(vec![1.0, 2.0]), spread(vec![])), (Some([1.5, 1.0, 2.0]), None));
    }

    #[test]
    fn all_files_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let page = report().write_to(dir.path()).unwrap();
        let html = std::fs::read_to_string(page).unwrap();
        assert!(html.contains("6.18 &amp; more") && html.contains("it &lt;hung&gt;"), "{html}");
        // Nothing is fetched: one file is enough.
        assert!(
            !html.contains("http://") && !html.contains("https://") && !html.contains("src="),
            "{html}"
        );
        assert!(html.matches("<svg").count() >= 4, "{}", html.matches("<svg").count());
        let run = std::fs::read_to_string(dir.path().join("run.toml")).unwrap();
        assert!(toml::from_str::<Settings>(&run).is_ok(), "{run}");
        let hgrm =
            std::fs::read_to_string(dir.path().join("hgrm/point-text-32-coregate.hgrm")).unwrap();
        assert!(hgrm.contains("1.000000000000"), "{hgrm}");
        assert!(dir.path().join("report.json").exists());
    }
}
