//! A primary moves while a core does not take over who is the new one: the old one must not take
//! writes again.
#![allow(clippy::unwrap_used)]
use coregate_controlplane::local::LocalConfig;
use coregate_controlplane::{Config, ControlPlane, Durability, Source, users};
use coregate_planner::control::{DataPort, Metric, PlanStats, Users};
use coregate_planner::serving::{Serving, Writes};
use coregate_planner::snapshot::{Snapshot, TabletKind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Cores that take over everything, but for the first state that names another primary: that one
/// they keep waiting.
#[derive(Default)]
struct LateCores {
    first: Mutex<Option<String>>,
    late: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    was_late: AtomicBool,
}

fn primary(serving: &Serving) -> Option<String> {
    let shard = serving.shards.values().next()?;
    let tablet = shard
        .tablets
        .iter()
        .find(|t| t.tablet.kind == TabletKind::Primary)?;
    Some(tablet.tablet.alias.clone())
}

impl DataPort for LateCores {
    fn publish(
        &self,
        _: Option<Arc<Snapshot>>,
        serving: Arc<Serving>,
        done: Box<dyn FnOnce() + Send>,
    ) {
        let named = primary(&serving);
        let mut first = self.first.lock().unwrap();
        if first.is_none() {
            first.clone_from(&named);
        }
        let moving = serving.shards.values().any(|s| s.writes == Writes::Moving);
        if named != *first && moving && !self.was_late.swap(true, Ordering::Relaxed) {
            *self.late.lock().unwrap() = Some(done);
            return;
        }
        done();
    }
    fn in_use(&self, _: String, done: Box<dyn FnOnce(usize) + Send>) {
        done(0);
    }
    fn cut(&self, _: String, done: Box<dyn FnOnce() + Send>) {
        done();
    }
    fn set_users(&self, _: Arc<Users>) {}
    fn metrics(&self) -> Vec<Metric> {
        Vec::new()
    }
    fn plans(&self, done: Box<dyn FnOnce(Vec<PlanStats>) + Send>) {
        done(Vec::new());
    }
    fn drain(&self, _: u64, done: Box<dyn FnOnce() + Send>) {
        done();
    }
}

#[test]
fn a_late_core_does_not_bring_the_old_primary_back() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let local = LocalConfig {
        dir: dir.path().join("data"),
        keyspaces: vec!["ks:1:1".parse().unwrap()],
        ..LocalConfig::default()
    };
    let mut config =
        Config::new(Source::Local(local), users::local(), "127.0.0.1:0".parse().unwrap());
    (config.options.recovers, config.options.durability) = (true, Durability::SemiSync);
    let plane = ControlPlane::start(config).unwrap();
    let cores = Arc::new(LateCores::default());
    let admin = plane
        .attach(cores.clone(), "127.0.0.1:3307".parse().unwrap())
        .unwrap();
    let get = |path: &str| {
        let mut answer = ureq::get(format!("http://{admin}{path}")).call().unwrap();
        answer.body_mut().read_to_string().unwrap()
    };
    let wait = |what: &str, so: &dyn Fn() -> bool| {
        let end = Instant::now() + Duration::from_secs(30);
        while !so() {
            assert!(Instant::now() < end, "{what}: {}", get("/api/tablets"));
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait("both serve", &|| get("/api/tablets").matches("\"SERVING\"").count() == 2);
    let moved = ureq::post(format!("http://{admin}/api/keyspaces/ks/shards/0/planned-reparent"))
        .header("Content-Type", "application/json")
        .send("{}");
    assert!(moved.is_ok(), "{moved:?}; {}", get("/api/recoveries"));
    assert!(cores.was_late.load(Ordering::Relaxed), "no core was late");
    let text = std::fs::read_to_string(dir.path().join("data/topology/ks.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tablets = record["shards"][0]["tablets"].as_array().unwrap();
    let named = tablets.iter().find(|t| t["type"] == "primary").unwrap();
    assert_eq!(named["alias"], "zone1-101");
    wait("both serve again", &|| get("/api/tablets").matches("\"SERVING\"").count() == 2);
    let tablets: serde_json::Value = serde_json::from_str(&get("/api/tablets")).unwrap();
    for tablet in tablets.as_array().unwrap() {
        let new = tablet["alias"] == "zone1-101";
        assert_eq!(tablet["health"]["read_only"], !new, "{tablet}");
    }
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::TERM)
        .unwrap();
    plane.join().unwrap();
}
