//! Targets in turn, round after round.
use crate::args::{CompareArgs, PointArgs};
use crate::drive::{self, Round};
use crate::endpoint::{DATABASE, Endpoint, Named};
use crate::process::{Scratch, Service};
use crate::report::{self, Case, Report, Row};
use crate::settings::{Settings, Targets};
use crate::work::{Sizes, Work};
use crate::{Error, machine, server, table};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The names of the targets that we start.
const DIRECT: &str = "direct";
const HAPROXY: &str = "haproxy";
const COREGATE: &str = "coregate";
const SHARDED: &str = "sharded";

/// Thousandths of a round, as the progress bar counts.
const PARTS: u64 = 1_000;

pub(crate) fn compare(args: &CompareArgs) -> Result<(), Error> {
    let (settings, given) = Settings::of(args)?;
    let works = works(&settings)?;
    let dir = Scratch::new()?;
    // Kept alive until the end; the server goes last.
    let (services, targets) = match given.given.is_empty() {
        true => start(dir.path(), &settings, &given)?,
        false => (Vec::new(), given.given),
    };
    let report = measure(&targets, settings, &works);
    drop(services);
    finish(&report?, args.load.json.as_deref(), args.load.out.as_deref())
}

pub(crate) fn point(args: &PointArgs) -> Result<(), Error> {
    let mut settings = Settings { rounds: 1, ..Settings::default() };
    settings.overrule(&args.load);
    let works = works(&settings)?;
    let target = Named { name: "target".to_owned(), endpoint: args.target.clone() };
    let report = measure(&[target], settings, &works)?;
    finish(&report, args.load.json.as_deref(), args.load.out.as_deref())
}

fn works(settings: &Settings) -> Result<Vec<Arc<Work>>, Error> {
    let sizes = Sizes { rows: i64::from(settings.table_size), scale: i64::from(settings.scale) };
    let read = |name: &String| Work::find(name, sizes).map(Arc::new);
    settings.loads.iter().map(read).collect()
}

/// Starts the targets that a comparison has by itself.
fn start(
    dir: &Path,
    settings: &Settings,
    given: &Targets,
) -> Result<(Vec<Service>, Vec<Named>), Error> {
    let (mut services, server) = match &given.server {
        Some(endpoint) => (Vec::new(), endpoint.clone()),
        None => {
            let (service, endpoint) = server::mariadb(dir)?;
            (vec![service], endpoint)
        }
    };
    // The server's own CPU is not that of a proxy.
    let direct = Endpoint { pids: Vec::new(), ..server.clone() };
    let mut targets = vec![Named { name: DIRECT.to_owned(), endpoint: direct }];
    let mut add = |name: &str, (service, endpoint): (Service, Endpoint)| {
        services.insert(0, service);
        targets.push(Named { name: name.to_owned(), endpoint });
    };
    if settings.haproxy {
        match server::haproxy(dir, &server)? {
            Some(started) => add(HAPROXY, started),
            None => eprintln!(
                "haproxy is not installed: compared without it (Debian, Ubuntu: apt-get install \
                    haproxy)"
            ),
        }
    }
    add(COREGATE, server::coregate(dir, &server)?);
    if let Some(shards) = settings.shards {
        add(SHARDED, server::sharded(dir, DATABASE, shards)?);
    }
    targets.extend(given.also.iter().cloned());
    Ok((services, targets))
}

fn measure(
    targets: &[Named],
    mut settings: Settings,
    works: &[Arc<Work>],
) -> Result<Report, Error> {
    raise_file_limit();
    let facts = machine::facts(targets);
    let mut tables: Vec<&String> = works.iter().flat_map(|work| &work.tables).collect();
    tables.sort();
    tables.dedup();
    for target in targets {
        for table in &tables {
            table::prepare(&target.endpoint, table, settings.table_size)?;
        }
        for table in works.iter().flat_map(|work| &work.own) {
            table::prepare_own(&target.endpoint, table)?;
        }
    }
    let rounds =
        works.len() * settings.connections.len() * settings.protocols.len() * targets.len();
    let bar = progress_bar(rounds as u64 * u64::from(settings.rounds));
    let mut cases = Vec::new();
    for work in works {
        for &connections in &settings.connections {
            for &protocol in &settings.protocols {
                let mut case = Case {
                    load: work.name.clone(),
                    title: work.title.clone(),
                    protocol,
                    connections,
                    idle: settings.idle,
                    seconds: settings.seconds,
                    rate: settings.rate,
                    rows: targets
                        .iter()
                        .map(|target| Row::new(&target.name))
                        .collect(),
                };
                in_turn(&mut case, targets, &settings, work, &bar);
                bar.suspend(|| crate::out::say(&case.to_string()));
                cases.push(case);
            }
        }
    }
    bar.finish_and_clear();
    settings.machine = Some(
        facts
            .iter()
            .map(|(k, v)| (k.clone(), toml::Value::from(v.clone())))
            .collect(),
    );
    Ok(Report { settings, facts, cases })
}

/// A B A B: a slow minute of the machine falls on all.
fn in_turn(
    case: &mut Case,
    targets: &[Named],
    settings: &Settings,
    work: &Arc<Work>,
    bar: &ProgressBar,
) {
    for turn in 0..settings.rounds {
        for (target, row) in targets.iter().zip(&mut case.rows) {
            let begin = bar.position();
            bar.set_message(format!(
                "{} {}, round {}: {}",
                work.name,
                case.protocol.name(),
                turn + 1,
                target.name
            ));
            let round = Round {
                endpoint: target.endpoint.clone(),
                work: Arc::clone(work),
                protocol: case.protocol,
                connections: case.connections,
                idle: settings.idle,
                warm_up: Duration::from_millis(settings.warm_up_ms),
                time: Duration::from_secs(settings.seconds),
                rate: settings.rate,
                threads: settings.threads,
                cpus: settings.load_cpus.clone(),
            };
            // A target that has failed is not asked again: it has answered wrongly, or not at all.
            if row.failure.is_none() {
                let progress = |part: f64| bar.set_position(begin + (part * PARTS as f64) as u64);
                match set_up(target, work).and_then(|()| drive::run(round, progress)) {
                    Ok(measured) => row.rounds.push(measured),
                    Err(e) => row.failure = Some(e.to_string()),
                }
            }
            bar.set_position(begin + PARTS);
        }
    }
}

/// What a load wants done before each round.
fn set_up(target: &Named, work: &Work) -> Result<(), Error> {
    if work.setup.is_empty() {
        return Ok(());
    }
    let endpoint = &target.endpoint;
    let mut conn = crate::conn::Connection::open(endpoint, Some(&endpoint.database))?;
    work.setup
        .iter()
        .try_for_each(|sql| conn.query(sql).map(|_| ()))
}

/// Seen on a terminal only.
fn progress_bar(rounds: u64) -> ProgressBar {
    let bar = ProgressBar::new(rounds * PARTS);
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} % {eta:>4} left  {msg}");
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A connection needs a descriptor. If the limit cannot be raised, a connection will say so.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn finish(report: &Report, json: Option<&Path>, out: Option<&Path>) -> Result<(), Error> {
    if let Some(path) = json {
        report::write(path, &report.json())?;
    }
    if let Some(dir) = out {
        let page: PathBuf = report.write_to(dir)?;
        crate::out::say(&format!("\nthe report: {}", page.display()));
    }
    let failed = report
        .cases
        .iter()
        .flat_map(|case| &case.rows)
        .find(|row| row.failure.is_some());
    match failed {
        Some(row) => Err(Error::Failed(format!(
            "{} failed: {}",
            row.name,
            row.failure.as_deref().unwrap_or_default()
        ))),
        None => Ok(()),
    }
}
