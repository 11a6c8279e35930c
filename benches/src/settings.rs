//! A run, as a file says it (`--config`, and `run.toml` of a report): loads, pace, targets.
use crate::Error;
use crate::args::{CompareArgs, LoadArgs};
use crate::drive::Protocol;
use crate::endpoint::{Endpoint, Named};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// In the place of a password, where a run is written down.
pub(crate) const MASK: &str = "***";

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) loads: Vec<String>,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) connections: Vec<u32>,
    pub(crate) idle: u32,
    pub(crate) rounds: u32,
    pub(crate) seconds: u64,
    pub(crate) warm_up_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u32>,
    pub(crate) threads: u32,
    pub(crate) load_cpus: Vec<usize>,
    pub(crate) table_size: u32,
    /// Of loads with tables of their own: TPC-C's warehouses.
    pub(crate) scale: u32,
    /// HAProxy among what is started here.
    pub(crate) haproxy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shards: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// Those that run already.
    #[serde(rename = "target", skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<Target>,
    /// The machine that the run was made on; only written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine: Option<toml::Table>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) url: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            loads: vec!["point".to_owned()],
            protocols: vec![Protocol::Text, Protocol::Prepared],
            connections: vec![32],
            idle: 0,
            rounds: 3,
            seconds: 5,
            warm_up_ms: 1_000,
            rate: None,
            threads: 1,
            load_cpus: Vec::new(),
            table_size: 100_000,
            scale: 2,
            haproxy: true,
            shards: None,
            server: None,
            targets: Vec::new(),
            also: Vec::new(),
            machine: None,
        }
    }
}

/// Where a run's targets are, read.
pub(crate) struct Targets {
    pub(crate) server: Option<Endpoint>,
    pub(crate) given: Vec<Named>,
    pub(crate) also: Vec<Named>,
}

impl Target {
    fn read(&self) -> Result<Named, Error> {
        if self.url.contains(&format!(":{MASK}@")) {
            let why = format!(
                "the password was left out when the file was written: put it in the place of {MASK}"
            );
            return Err(Error::Usage(format!("target {}: {why}", self.name)));
        }
        let endpoint = self
            .url
            .parse()
            .map_err(|why| Error::Usage(format!("target {}: {why}", self.name)))?;
        Ok(Named { name: self.name.clone(), endpoint })
    }

    fn of(named: &Named) -> Self {
        Self { name: named.name.clone(), url: written(&named.endpoint) }
    }
}

/// An endpoint's URL without its password.
pub(crate) fn written(endpoint: &Endpoint) -> String {
    let hidden = if endpoint.password.is_empty() { "" } else { MASK };
    let url = Endpoint { password: String::new(), ..endpoint.clone() }.url();
    let url = url.replacen(
        ":@",
        &if hidden.is_empty() { "@".to_owned() } else { format!(":{hidden}@") },
        1,
    );
    let (url, query) = url.split_once('?').unwrap_or((&url, ""));
    let mut more: Vec<String> = [query]
        .iter()
        .filter(|q| !q.is_empty())
        .map(|q| (*q).to_owned())
        .collect();
    if !endpoint.pids.is_empty() {
        let pids: Vec<String> = endpoint.pids.iter().map(u32::to_string).collect();
        more.push(format!("pid={}", pids.join(",")));
    }
    if endpoint.sharded {
        more.push("sharded=1".to_owned());
    }
    let query = if more.is_empty() { String::new() } else { format!("?{}", more.join("&")) };
    format!("{url}/{}{query}", endpoint.database)
}

impl Settings {
    fn load(path: &Path) -> Result<Self, Error> {
        let wrong = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let settings: Self = toml::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        settings.check().map_err(wrong)?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let between =
            |key: &str, value: u64, low: u64, high: u64| match (low..=high).contains(&value) {
                true => Ok(()),
                false => Err(format!("{key} = {value}: it must be {low} to {high}")),
            };
        for (key, empty) in [
            ("loads", self.loads.is_empty()),
            ("protocols", self.protocols.is_empty()),
            ("connections", self.connections.is_empty()),
        ] {
            if empty {
                return Err(format!("{key} is empty"));
            }
        }
        for connections in &self.connections {
            between("connections", u64::from(*connections), 1, 100_000)?;
        }
        between("idle", u64::from(self.idle), 0, 100_000)?;
        between("rounds", u64::from(self.rounds), 1, 1_000)?;
        between("seconds", self.seconds, 1, 3_600)?;
        between("warm_up_ms", self.warm_up_ms, 0, 600_000)?;
        between("threads", u64::from(self.threads), 1, 256)?;
        between("table_size", u64::from(self.table_size), 200, 100_000_000)?;
        between("scale", u64::from(self.scale), 1, 100_000)?;
        if let Some(rate) = self.rate {
            between("rate", u64::from(rate), 1, u64::from(u32::MAX))?;
        }
        Ok(())
    }

    /// The file, if there is one, and the arguments before it.
    pub(crate) fn of(args: &CompareArgs) -> Result<(Self, Targets), Error> {
        let mut settings = match &args.config {
            Some(path) => Self::load(path)?,
            None => Self::default(),
        };
        settings.overrule(&args.load);
        settings.rounds = args.rounds.unwrap_or(settings.rounds);
        settings.haproxy &= !args.no_haproxy;
        settings.shards = args.shards.or(settings.shards);
        let read = |given: &[Named], own: &[Target]| match given {
            [] => own.iter().map(Target::read).collect::<Result<Vec<_>, _>>(),
            given => Ok(given.to_vec()),
        };
        let targets = Targets {
            given: read(&args.targets, &settings.targets)?,
            also: read(&args.also, &settings.also)?,
            server: match (&args.server, &settings.server) {
                (Some(server), _) => Some(server.clone()),
                (None, Some(url)) => Some(
                    Target { name: "server".to_owned(), url: url.clone() }
                        .read()?
                        .endpoint,
                ),
                (None, None) => None,
            },
        };
        let mut names: Vec<&str> = targets
            .given
            .iter()
            .chain(&targets.also)
            .map(|n| n.name.as_str())
            .collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Usage(format!("two targets have the name {:?}", twice[0])));
        }
        settings.targets = targets.given.iter().map(Target::of).collect();
        settings.also = targets.also.iter().map(Target::of).collect();
        settings.server = targets.server.as_ref().map(written);
        Ok((settings, targets))
    }

    pub(crate) fn overrule(&mut self, args: &LoadArgs) {
        fn list<T: Clone>(own: &mut Vec<T>, given: &[T]) {
            if !given.is_empty() {
                *own = given.to_vec();
            }
        }
        list(&mut self.loads, &args.loads);
        list(&mut self.protocols, &args.protocols);
        list(&mut self.connections, &args.connections);
        list(&mut self.load_cpus, &args.load_cpus);
        self.idle = args.idle.unwrap_or(self.idle);
        self.seconds = args.seconds.unwrap_or(self.seconds);
        self.warm_up_ms = args.warm_up_ms.unwrap_or(self.warm_up_ms);
        self.rate = args.rate.or(self.rate);
        self.threads = args.threads.unwrap_or(self.threads);
        self.table_size = args.table_size.unwrap_or(self.table_size);
        self.scale = args.scale.unwrap_or(self.scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_written_can_be_read() {
        let endpoint: Endpoint = "mysql://u:secret@127.0.0.1:3307/db?pid=7".parse().unwrap();
        let named = Named { name: "coregate".to_owned(), endpoint };
        let settings =
            Settings { targets: vec![Target::of(&named)], rate: Some(100), ..Settings::default() };
        let text = toml::to_string(&settings).unwrap();
        assert!(!text.contains("secret"), "{text}");
        let again: Settings = toml::from_str(&text).unwrap();
        assert_eq!((again.rate, again.rounds), (Some(100), 3));
        let error = again.targets[0].read().unwrap_err().to_string();
        assert!(error.contains("the password was left out"), "{error}");
        let open: Endpoint = "mysql://u@127.0.0.1/db?pid=7,8&sharded=1".parse().unwrap();
        let target = Target::of(&Named { name: "x".to_owned(), endpoint: open.clone() });
        assert_eq!(target.read().unwrap().endpoint, open);
        let local: Endpoint = "mysql://u@localhost/db?socket=/a/b.sock&pid=9"
            .parse()
            .unwrap();
        let target = Target::of(&Named { name: "x".to_owned(), endpoint: local.clone() });
        assert_eq!(target.read().unwrap().endpoint, local, "{}", target.url);
    }

    #[test]
    fn mistakes_name_the_key() {
        for (text, part) in [
            ("rounds = 0", "rounds = 0: it must be 1 to 1000"),
            ("loads = []", "loads is empty"),
            ("round = 1", "unknown field `round`"),
            ("connections = [0]", "connections = 0"),
        ] {
            let error = toml::from_str::<Settings>(text)
                .map_err(|e| e.to_string())
                .and_then(|s| s.check())
                .unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
