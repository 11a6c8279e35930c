//! The admin port's connections: few at a time, and none that dawdles, before anybody has shown a
//! token.
use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Connections at once. One more takes the place of the oldest that has no request running.
const CONNECTIONS_MAX: usize = 256;
/// A request's header must be there within this time, also the next one's of a connection that is
/// kept.
const HEADER_PATIENCE: Duration = Duration::from_secs(10);
/// A request's body must be there within this time.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// The longest header, in bytes.
const HEADER_MAX: usize = 64 << 10;
/// After an error that concerns the machine (no descriptors left) accepting pauses.
const PAUSE: Duration = Duration::from_millis(50);
/// It is logged so often.
const TOLD: Duration = Duration::from_secs(1);

struct Open {
    /// A request is being answered.
    busy: Arc<AtomicBool>,
    task: AbortHandle,
}

/// A listening socket that another process may take over: it is bound before the control plane
/// starts.
#[derive(Debug, Clone)]
pub struct AdminDoor {
    /// `None` once it is closed: as long as a descriptor is open, nobody else can listen there.
    listener: Arc<Mutex<Option<Arc<std::net::TcpListener>>>>,
    closed: Arc<Notify>,
}

impl AdminDoor {
    pub fn new(listener: std::net::TcpListener) -> Self {
        Self { listener: Arc::new(Mutex::new(Some(Arc::new(listener)))), closed: Arc::default() }
    }

    /// The socket itself, unless it is closed.
    pub fn listener(&self) -> Option<Arc<std::net::TcpListener>> {
        self.listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Accepts no more: another process does.
    pub fn close(&self) {
        self.listener
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.closed.notify_one();
    }

    pub(super) fn open(&self) -> std::io::Result<TcpListener> {
        let closed = || std::io::Error::other("the admin API's socket is closed");
        let own = self.listener().ok_or_else(closed)?.try_clone()?;
        own.set_nonblocking(true)?;
        TcpListener::from_std(own)
    }

    async fn until_closed(&self) {
        self.closed.notified().await;
    }
}

/// Accepts until the program ends, or the door is closed.
pub(super) async fn serve(listener: TcpListener, app: Router, door: Option<AdminDoor>) {
    let Some(door) = door else { return accept(listener, app).await };
    tokio::select! {
        () = accept(listener, app) => {}
        () = door.until_closed() => {}
    }
}

async fn accept(listener: TcpListener, app: Router) {
    let mut open: VecDeque<Open> = VecDeque::new();
    let (mut spare, mut told) = (None, None::<Instant>);
    loop {
        // One descriptor is kept back: who asks whether we live is answered when clients have all
        // the others.
        if spare.is_none() {
            spare = std::fs::File::open("/dev/null").ok();
        }
        let mut accepted = listener.accept().await;
        if accepted.is_err() && spare.take().is_some() {
            accepted = listener.accept().await;
        }
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(e) => {
                if told.is_none_or(|at| at.elapsed() > TOLD) {
                    tracing::warn!("the admin API cannot accept a connection: {e}");
                    told = Some(Instant::now());
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        open.retain(|o| !o.task.is_finished());
        if open.len() >= CONNECTIONS_MAX {
            let idle = open.iter().position(|o| !o.busy.load(Ordering::Relaxed));
            match idle.and_then(|n| open.remove(n)) {
                Some(oldest) => oldest.task.abort(),
                None => continue,
            }
        }
        let busy = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(converse(stream, app.clone(), Arc::clone(&busy))).abort_handle();
        open.push_back(Open { busy, task });
    }
}

async fn converse(stream: TcpStream, app: Router, busy: Arc<AtomicBool>) {
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request: Request<Incoming>| {
        busy.store(true, Ordering::Relaxed);
        let (answer, busy) = (app.call(request), Arc::clone(&busy));
        async move {
            let answer = answer.await;
            busy.store(false, Ordering::Relaxed);
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .max_buf_size(HEADER_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(e) = served {
        tracing::debug!("a connection of the admin API has ended: {e}");
    }
}

/// Reads the body of a change whole, within its time.
pub(super) async fn whole(
    request: Request<Body>,
    max: usize,
) -> Result<Request<Body>, (StatusCode, &'static str)> {
    if request.method() == Method::GET {
        return Ok(request);
    }
    let (head, body) = request.into_parts();
    match tokio::time::timeout(BODY_PATIENCE, axum::body::to_bytes(body, max)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(head, Body::from(bytes))),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or was cut off")),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time")),
    }
}
