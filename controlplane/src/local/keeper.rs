//! Keeps a server running: one that ends by itself is started again, after a pause that grows. Whoever replaces it as primary can
//! stop it for certain.
use super::server::{Launch, Server};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// A server is started again after this pause: by then another is primary, whose replica it becomes.
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
async fn again(launch: &Launch, orders: &mut mpsc::Receiver<Order>, mut ends: u32) -> Option<Server> {
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
            Err(e) => tracing::error!(tablet = launch.alias(), "the server cannot be started again: {e}"),
        }
        ends = ends.saturating_add(1);
    }
}

/// The servers that run under this process, by alias: whoever has this can stop one for certain.
#[derive(Clone, Default)]
pub(crate) struct Fence(Arc<Mutex<BTreeMap<String, Keeper>>>);

impl Fence {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Keeper>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Some(orders) = self.all().get(alias).map(|keeper| keeper.orders.clone()) else { return false };
        let (tell, told) = oneshot::channel();
        let stopped = async {
            orders.send(Order::Fence(tell)).await.ok()?;
            told.await.ok()
        };
        matches!(tokio::time::timeout(patience, stopped).await, Ok(Some(())))
    }
}
