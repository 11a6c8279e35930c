//! A case as a table for a terminal.
use super::{Case, Row, Spread};
use crate::drive::Measured;
use std::fmt;

/// What a query cost, of the unit that says most.
type Cost = fn(&Measured) -> Option<f64>;

impl Case {
    pub(super) fn heading(&self) -> String {
        let pace = match self.rate {
            Some(rate) => format!(
                "{rate} transactions/s asked for, latency from when each was \
                due"
            ),
            None => {
                "closed loop: latency is that of the answers that came, waiting to send is not \
                in it"
                    .to_owned()
            }
        };
        let (kind, n, seconds) = (self.protocol.name(), self.connections, self.seconds);
        let plural = if n == 1 { "" } else { "s" };
        let idle = match self.idle {
            0 => String::new(),
            idle => format!(" beside {idle} that rest"),
        };
        format!(
            "{}: {}, {kind}, {n} connection{plural}{idle}, {} x {seconds} s; {pace}",
            self.load,
            self.title,
            self.rounds()
        )
    }

    pub(super) fn cost(&self) -> (&'static str, Cost) {
        match self.is_large() {
            true => ("CPU us/MB", Measured::cpu_us_per_mb),
            false => ("CPU us/query", Measured::cpu_us),
        }
    }

    /// Sentences about what makes figures doubtful.
    pub(super) fn remarks(&self) -> Vec<String> {
        let mut out = Vec::new();
        for row in &self.rows {
            let sum = |of: fn(&Measured) -> u64| row.rounds.iter().map(of).sum::<u64>();
            let (retries, unsent) = (sum(|m| m.retries), sum(|m| m.unsent));
            if retries > 0 {
                out.push(format!(
                    "{}: {retries} transactions were given up for deadlocks and tried again",
                    row.name
                ));
            }
            if unsent > 0 {
                out.push(format!(
                    "{}: {unsent} transactions were due and not sent, the rate is too high for it",
                    row.name
                ));
            }
            if row.rounds.iter().any(|m| m.load_saturated) {
                out.push(format!(
                    "{}: the load generator had no CPU to spare, throughput is its limit, too \
                        (--threads)",
                    row.name
                ));
            }
        }
        out
    }
}

pub(super) fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "-".to_owned(), |[m, a, z]| format!("{m:.2} [{a:.2}-{z:.2}]"))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"))
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.heading())?;
        for line in self.cells() {
            let [name, cells @ ..] = line.as_slice() else { continue };
            write!(f, "  {name:12}")?;
            for (cell, width) in cells.iter().zip([12, 19, 10, 19, 10, 9, 19, 9, 8]) {
                write!(f, " {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        for remark in self.remarks() {
            writeln!(f, "  {remark}")?;
        }
        Ok(())
    }
}

impl Case {
    /// The table, its heading first.
    pub(super) fn cells(&self) -> Vec<Vec<String>> {
        let (unit, cost) = self.cost();
        let to = |base: Option<&Row>| format!("x {}", base.map_or("-", |row| row.name.as_str()));
        let (cpu_base, base) = (self.cpu_base(), self.base());
        let heading = [
            "target",
            unit,
            &to(cpu_base),
            "queries/s",
            &to(base),
            "trans./s",
            "p50 ms",
            &to(base),
            "p99 ms",
            "peak MiB",
        ];
        let mut out = vec![heading.map(str::to_owned).to_vec()];
        for row in &self.rows {
            if let Some(why) = &row.failure {
                out.push(vec![row.name.clone(), format!("FAILED: {why}")]);
                continue;
            }
            let against =
                |base: Option<&Row>, of: Cost| ratio(base.and_then(|base| row.ratio(base, of)));
            out.push(vec![
                row.name.clone(),
                number(row.median(cost), 2),
                against(cpu_base, cost),
                number(row.median(|m| Some(m.queries_per_s())), 0),
                against(base, |m| Some(m.queries_per_s())),
                number(
                    row.median(|m| Some(m.transactions_per_s()))
                        .filter(|_| self.has_transactions()),
                    0,
                ),
                number(row.median(|m| Some(m.latency_ms(0.5))), 3),
                against(base, |m| Some(m.latency_ms(0.5))),
                number(row.median(|m| Some(m.latency_ms(0.99))), 3),
                number(row.median(|m| m.peak_kib.map(|kib| kib as f64 / 1024.0)), 1),
            ]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::report;

    #[test]
    fn the_table_has_ratios_with_their_spread() {
        let text = report().cases[0].to_string();
        for part in
            ["closed loop", "0.38 [0.25-0.50]", "x haproxy", "gone", "FAILED: it <hung>", "2.0"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
