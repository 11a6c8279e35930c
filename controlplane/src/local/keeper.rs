//! Keeps a server running: one that ends by itself is started again, after a pause that grows.
//! Whoever replaces it as primary can stop it for certain.
use super::dirs::{Dirs, Owner};
use super::server::{Launch, Server, make_data};
use crate::Error;
use crate::topology::Kind;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A server is started again after this pause: by then another is primary, whose replica it
/// becomes.
const PAUSE: Duration = Duration::from_secs(3);
/// The pause doubles with each end that comes soon after the start, up to this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// A server that has run for so long ended by accident.
const SOON: Duration = Duration::from_secs(60);
/// Orders that wait for a keeper.
const ORDERS_MAX: usize = 16;

enum Order {
    Stop(oneshot::Sender<()>),
    /// Kill it, and do not start it again.
    Kill(oneshot::Sender<()>),
    /// Kill it now; it is started again later.
    Fence(oneshot::Sender<()>),
    /// The same, on data as new as when it was first started.
    Anew(Arc<Place>, oneshot::Sender<Result<(), Error>>),
}

pub(super) struct Keeper {
    pub(super) primary: bool,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Takes over a server that runs.
    pub(super) fn new(server: Server, launch: Launch) -> Self {
        let (orders, receiver) = mpsc::channel(ORDERS_MAX);
        let primary = launch.is_primary();
        Self { primary, orders, task: tokio::spawn(keep(server, launch, receiver)) }
    }

    pub(super) async fn stop(self) {
        self.end(Order::Stop).await;
    }

    /// The same, of one whose data nobody needs any more.
    pub(super) async fn kill(self) {
        self.end(Order::Kill).await;
    }

    async fn end(self, order: impl FnOnce(oneshot::Sender<()>) -> Order) {
        let (tell, told) = oneshot::channel();
        if self.orders.send(order(tell)).await.is_ok() {
            let _ = told.await;
        }
        let _ = self.task.await;
    }
}

async fn keep(mut server: Server, launch: Launch, mut orders: mpsc::Receiver<Order>) {
    let mut ends = 0u32;
    loop {
        let started = Instant::now();
        tokio::select! {
            () = server.ended() => {}
            order = orders.recv() => match order {
                Some(Order::Fence(tell)) => {
                    server.kill().await;
                    let _ = tell.send(());
                }
                Some(Order::Anew(place, tell)) => {
                    server.kill().await;
                    let _ = tell.send(place.renew(&launch).await);
                }
                Some(Order::Stop(tell)) => {
                    server.stop().await;
                    let _ = tell.send(());
                    return;
                }
                Some(Order::Kill(tell)) => {
                    server.kill().await;
                    let _ = tell.send(());
                    return;
                }
                None => return server.stop().await,
            },
        }
        ends = if started.elapsed() < SOON { ends.saturating_add(1) } else { 1 };
        server = match again(&launch, &mut orders, ends).await {
            Some(server) => server,
            None => return,
        };
    }
}

/// Starts it again. `None`: it is to stay down.
async fn again(
    launch: &Launch,
    orders: &mut mpsc::Receiver<Order>,
    mut ends: u32,
) -> Option<Server> {
    loop {
        let pause = (PAUSE * 2u32.saturating_pow(ends.saturating_sub(1).min(10))).min(PAUSE_MAX);
        let wake = tokio::time::sleep(pause);
        tokio::pin!(wake);
        loop {
            tokio::select! {
                () = &mut wake => break,
                order = orders.recv() => match order {
                    // It is down.
                    Some(Order::Fence(tell)) => drop(tell.send(())),
                    Some(Order::Anew(place, tell)) => drop(tell.send(place.renew(launch).await)),
                    Some(Order::Stop(tell) | Order::Kill(tell)) => {
                        let _ = tell.send(());
                        return None;
                    }
                    None => return None,
                },
            }
        }
        match launch.again().await {
            Ok(server) => {
                tracing::warn!(tablet = launch.alias(), "the server was started again");
                return Some(server);
            }
            Err(e) => {
                tracing::error!(tablet = launch.alias(), "the server cannot be started again: {e}")
            }
        }
        ends = ends.saturating_add(1);
    }
}

/// Where servers' data lies, and what it begins as.
struct Place {
    tablets: PathBuf,
    template: PathBuf,
    owner: Option<Owner>,
}

impl Place {
    async fn renew(&self, launch: &Launch) -> Result<(), Error> {
        let data = launch.dir().join("data");
        tokio::fs::remove_dir_all(&data)
            .await
            .map_err(Error::file(&data))?;
        make_data(self.template.clone(), launch.dir().to_owned(), self.owner).await
    }
}

/// In a tablet's directory: its data is to be thrown away and made anew, whatever becomes of this
/// process. Holds what it is then.
const MARK: &str = "anew";

/// The servers that run under this process, by alias: whoever has this can stop one for certain.
#[derive(Clone, Default)]
pub(crate) struct Fence {
    keepers: Arc<Mutex<BTreeMap<String, Keeper>>>,
    place: Arc<OnceLock<Arc<Place>>>,
}

impl Fence {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        self.keepers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn settle(&self, dirs: &Dirs, template: &Path) {
        let (tablets, template) = (dirs.tablets.clone(), template.to_owned());
        // Once.
        let _ = self
            .place
            .set(Arc::new(Place { tablets, template, owner: dirs.owner }));
    }

    fn mark_of(&self, alias: &str) -> Option<PathBuf> {
        self.owns(alias)
            .then(|| Some(self.place.get()?.tablets.join(alias).join(MARK)))
            .flatten()
    }

    /// It is to be made anew. `false`: it does not run under us.
    pub(crate) fn mark(&self, alias: &str, kind: Kind) -> bool {
        let Some(path) = self.mark_of(alias) else { return false };
        let marked = std::fs::write(&path, kind.name());
        if let Err(e) = &marked {
            tracing::error!("{}: {e}", path.display());
        }
        marked.is_ok()
    }

    pub(crate) fn unmark(&self, alias: &str) {
        if let Some(path) = self.mark_of(alias) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Those that are to be made anew, and what they are then.
    pub(crate) fn marked(&self) -> Vec<(String, Kind)> {
        let Some(place) = self.place.get() else { return Vec::new() };
        let all = self.all();
        let marked = all.keys().filter_map(|alias| {
            let text = std::fs::read_to_string(place.tablets.join(alias).join(MARK)).ok()?;
            let kind = serde_json::from_value(text.trim().to_ascii_lowercase().into());
            Some((alias.clone(), kind.unwrap_or(Kind::Replica)))
        });
        marked.collect()
    }

    /// Kills it and throws its data away; it starts as on its first day.
    pub(crate) async fn renew(&self, alias: &str, patience: Duration) -> Result<(), Error> {
        let orders = self.all().get(alias).map(|keeper| keeper.orders.clone());
        let (Some(orders), Some(place)) = (orders, self.place.get().cloned()) else {
            return Err(Error::Gone);
        };
        let (tell, told) = oneshot::channel();
        let renewed = async {
            orders
                .send(Order::Anew(place, tell))
                .await
                .map_err(|_| Error::Gone)?;
            told.await.map_err(|_| Error::Gone)?
        };
        let late = || Error::Server(format!("the data of {alias} was not made anew in time"));
        tokio::time::timeout(patience, renewed)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// Takes over a server that runs.
    pub(super) fn keep(&self, server: Server, launch: Launch) {
        let alias = launch.alias().to_owned();
        self.all().insert(alias, Keeper::new(server, launch));
    }

    /// From now on it is not kept.
    pub(super) fn give_up(&self, alias: &str) -> Option<Keeper> {
        self.all().remove(alias)
    }

    pub(super) fn give_up_all(&self) -> BTreeMap<String, Keeper> {
        std::mem::take(&mut *self.all())
    }

    /// Does it run under us, and is started again when it ends?
    pub(crate) fn owns(&self, alias: &str) -> bool {
        self.all().contains_key(alias)
    }

    /// Has the server ended for certain? `false`: it is not ours, or does not end.
    pub(crate) async fn stop(&self, alias: &str, patience: Duration) -> bool {
        let Some(orders) = self.all().get(alias).map(|keeper| keeper.orders.clone()) else {
            return false;
        };
        let (tell, told) = oneshot::channel();
        let stopped = async {
            orders.send(Order::Fence(tell)).await.ok()?;
            told.await.ok()
        };
        matches!(tokio::time::timeout(patience, stopped).await, Ok(Some(())))
    }
}
