//! Targets in turn, round after round.
use crate::args::{CompareArgs, LoadArgs, PointArgs};
use crate::endpoint::Named;
use crate::report::{self, Case, Row};
use crate::{Error, load, server, table};
use std::path::Path;

/// The names of the targets that we start.
const DIRECT: &str = "direct";
const HAPROXY: &str = "haproxy";
const COREGATE: &str = "coregate";

pub(crate) fn compare(args: &CompareArgs) -> Result<(), Error> {
    let dir = tempfile::tempdir().map_err(|e| Error::failed("a temporary directory", e))?;
    // Kept alive until the end; the server goes last.
    let (mut services, server) = match &args.server {
        Some(endpoint) => (Vec::new(), endpoint.clone()),
        None => {
            let (service, endpoint) = server::mariadb(dir.path())?;
            (vec![service], endpoint)
        }
    };
    table::prepare(&server, args.load.table_size)?;
    // The server's own CPU is not that of a proxy.
    let direct = crate::endpoint::Endpoint { pid: None, ..server.clone() };
    let mut targets = vec![Named { name: DIRECT.to_owned(), endpoint: direct }];
    if !args.no_haproxy {
        match server::haproxy(dir.path(), &server)? {
            Some((service, endpoint)) => {
                services.insert(0, service);
                targets.push(Named { name: HAPROXY.to_owned(), endpoint });
            }
            None => eprintln!(
                "haproxy is not installed: compared without it (Debian, Ubuntu: apt-get install haproxy)"
            ),
        }
    }
    let (service, endpoint) = server::coregate(dir.path(), &server)?;
    services.insert(0, service);
    targets.push(Named { name: COREGATE.to_owned(), endpoint });
    targets.extend(args.also.iter().cloned());
    let cases = measure(&targets, &args.load, args.rounds);
    drop(services);
    finish(&cases, args.load.json.as_deref())
}

pub(crate) fn point(args: &PointArgs) -> Result<(), Error> {
    table::prepare(&args.target, args.load.table_size)?;
    let target = Named { name: "target".to_owned(), endpoint: args.target.clone() };
    finish(&measure(&[target], &args.load, 1), args.load.json.as_deref())
}

fn measure(targets: &[Named], args: &LoadArgs, rounds: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    for &kind in &args.queries {
        let mut rows: Vec<Row> = targets
            .iter()
            .map(|target| Row::new(&target.name))
            .collect();
        for _ in 0..rounds {
            for (target, row) in targets.iter().zip(&mut rows) {
                // A target that has failed is not asked again: it has answered wrongly, or not at all.
                if row.failure.is_none() {
                    match load::run(&target.endpoint, args, kind) {
                        Ok(measured) => row.rounds.push(measured),
                        Err(e) => row.failure = Some(e.to_string()),
                    }
                }
            }
        }
        let case = Case { kind, connections: args.connections, seconds: args.seconds, rate: args.rate, rows };
        print!("{case}");
        cases.push(case);
    }
    cases
}

fn finish(cases: &[Case], json: Option<&Path>) -> Result<(), Error> {
    if let Some(path) = json {
        std::fs::write(path, report::json(cases)).map_err(|e| Error::failed(path.display(), e))?;
    }
    let failed = cases
        .iter()
        .flat_map(|case| &case.rows)
        .find(|row| row.failure.is_some());
    match failed {
        Some(row) => {
            Err(Error::Failed(format!("{} failed: {}", row.name, row.failure.as_deref().unwrap_or_default())))
        }
        None => Ok(()),
    }
}
