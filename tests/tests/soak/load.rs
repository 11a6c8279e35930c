//! Writers, which remember every acknowledged row, and when.
use crate::world::{World, connect};
use coregate_tests::wait_until;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A statement that takes longer hangs: longer than anything that Coregate lets wait.
const HANGS: Duration = Duration::from_secs(60);
/// Between two statements of a writer.
const REST: Duration = Duration::from_millis(4);
/// Errors whose texts are kept.
const ERRORS_MAX: usize = 10_000;

/// Of one statement.
#[derive(Clone, Copy)]
pub struct Sample {
    /// Since the start.
    pub ended: Duration,
    pub took: Duration,
    pub ok: bool,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    count: AtomicUsize,
    acknowledged: Mutex<BTreeSet<u64>>,
    samples: Mutex<Vec<Sample>>,
    errors: Mutex<Vec<(Duration, String)>>,
    broken: Mutex<Vec<String>>,
}

pub struct Load {
    shared: Arc<Shared>,
    pub began: Instant,
    threads: Vec<JoinHandle<()>>,
}

pub struct Done {
    pub acknowledged: BTreeSet<u64>,
    pub samples: Vec<Sample>,
    pub errors: Vec<(Duration, String)>,
    pub broken: Vec<String>,
}

impl Load {
    pub fn start(world: &World, writers: usize) -> Self {
        let (shared, began) = (Arc::new(Shared::default()), Instant::now());
        let spawn = |n: usize| {
            let (shared, addresses) = (Arc::clone(&shared), world.addresses());
            std::thread::spawn(move || {
                let mut conn = None;
                let mut id = n as u64;
                while !shared.stop.load(Ordering::Relaxed) {
                    std::thread::sleep(REST);
                    let Some(mut session) = conn.take().or_else(|| connect(&addresses, n)) else {
                        continue;
                    };
                    id += writers as u64;
                    let start = Instant::now();
                    let answer =
                        session.try_query(&format!("insert into t (id, v) values ({id}, 'w{n}')"));
                    let failed = match &answer {
                        Ok(answers) if !answers[0].is_error() => None,
                        Ok(answers) => Some(answers[0].error().message.clone()),
                        Err(e) => Some(e.to_string()),
                    };
                    shared.note(id, began, start, failed);
                    if answer.is_ok() && shared.still_there(&mut session, id) {
                        conn = Some(session);
                    }
                }
            })
        };
        let threads = (0..writers).map(spawn).collect();
        Self { shared, began, threads }
    }

    pub fn wait_more(&self, more: usize) {
        let wanted = self.shared.count.load(Ordering::Relaxed) + more;
        wait_until("writes go on", || self.shared.count.load(Ordering::Relaxed) >= wanted);
    }

    pub fn errors(&self) -> usize {
        self.shared.errors.lock().unwrap().len()
    }

    pub fn last_error(&self) -> String {
        self.shared
            .errors
            .lock()
            .unwrap()
            .last()
            .map(|(_, text)| text.clone())
            .unwrap_or_default()
    }

    pub fn stop(self) -> Done {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let shared = self.shared;
        let mut samples = std::mem::take(&mut *shared.samples.lock().unwrap());
        samples.sort_by_key(|sample| sample.ended);
        Done {
            acknowledged: std::mem::take(&mut *shared.acknowledged.lock().unwrap()),
            samples,
            errors: std::mem::take(&mut *shared.errors.lock().unwrap()),
            broken: std::mem::take(&mut *shared.broken.lock().unwrap()),
        }
    }
}

impl Shared {
    fn note(&self, id: u64, began: Instant, start: Instant, failed: Option<String>) {
        let (ended, took) = (began.elapsed(), start.elapsed());
        if took > HANGS {
            let what = format!("a statement took {} s, and ended with {failed:?}", took.as_secs());
            self.broken.lock().unwrap().push(what);
        }
        self.samples
            .lock()
            .unwrap()
            .push(Sample { ended, took, ok: failed.is_none() });
        match failed {
            None => {
                self.acknowledged.lock().unwrap().insert(id);
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            Some(why) => {
                let mut errors = self.errors.lock().unwrap();
                if errors.len() < ERRORS_MAX {
                    errors.push((ended, why));
                }
            }
        }
    }

    /// Now and then: who is primary now has what was acknowledged. `false`: the session is of no
    /// use any more.
    fn still_there(&self, session: &mut coregate_tests::Connection, id: u64) -> bool {
        if !id.is_multiple_of(7) || !self.acknowledged.lock().unwrap().contains(&id) {
            return true;
        }
        match session.try_query(&format!("select v from t where id = {id}")) {
            Ok(answers) if answers[0].is_error() => true,
            Ok(answers) => {
                if answers[0].rows().is_empty() {
                    let what = format!("row {id} was acknowledged, and is not found behind that");
                    self.broken.lock().unwrap().push(what);
                }
                true
            }
            Err(_) => false,
        }
    }
}
