//! etcd's API as JSON over HTTP (its gRPC gateway, `/v3/...`), each call within a time limit.
use super::config::EtcdConfig;
use crate::Error;
use crate::sql::Stream;
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Reaching one of the members.
const CONNECT_PATIENCE: Duration = Duration::from_millis(700);
/// One call, from its first byte to the end of its answer.
pub(super) const CALL_PATIENCE: Duration = Duration::from_secs(2);
/// The largest answer that is read, in bytes. etcd itself takes requests of 1.5 MiB.
const ANSWER_MAX: usize = 256 << 20;
/// The largest line of a watch, in bytes.
const LINE_MAX: usize = 64 << 20;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// etcd has not taken it, or says that it has done nothing.
    Refused(String),
    /// It may have been done.
    Lost(String),
}

impl Failure {
    pub(super) fn why(&self) -> &str {
        match self {
            Self::Refused(why) | Self::Lost(why) => why,
        }
    }
}

/// The members of a cluster; any of them will do.
pub(super) struct Gateway {
    /// `HOST:PORT`
    members: Vec<String>,
    /// The one that answered last.
    at: AtomicUsize,
    tls: Option<TlsConnector>,
    /// Name and password.
    user: Option<(String, String)>,
    /// What etcd has given us for them, until it wants to know them again.
    token: Mutex<Option<String>>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}

impl Gateway {
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, Error> {
        let access = &config.access;
        Ok(Self {
            members: config.members.clone(),
            at: AtomicUsize::new(0),
            tls: config.tls.then(|| access.connector()).transpose()?,
            user: access.user.clone().zip(access.password.clone()),
            token: Mutex::default(),
        })
    }

    /// One call, as our user; where a member cannot be reached, the next is tried.
    pub(super) async fn call(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let token = self.token().await?;
        match self.ask(path, body, token.as_deref()).await {
            Err(failure) if token.is_some() && is_over(&failure) => {
                self.forget();
                let token = self.token().await?;
                self.ask(path, body, token.as_deref()).await
            }
            done => done,
        }
    }

    fn forget(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `None`: nobody logs in.
    async fn token(&self) -> Result<Option<String>, Failure> {
        let Some((name, password)) = &self.user else { return Ok(None) };
        let known = self
            .token
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if known.is_some() {
            return Ok(known);
        }
        let body = json!({"name": name, "password": password});
        let answer = self
            .ask("/v3/auth/authenticate", &body, None)
            .await
            // Nothing else has been asked yet.
            .map_err(|failure| Failure::Refused(format!("login of {name}: {}", failure.why())))?;
        let token = answer
            .get("token")
            .and_then(Value::as_str)
            .map(str::to_owned);
        if token.is_none() {
            return Err(Failure::Refused(format!(
                "login of {name}: there is no token in the answer"
            )));
        }
        token.clone_into(&mut self.token.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(token)
    }

    async fn ask(&self, path: &str, body: &Value, token: Option<&str>) -> Result<Value, Failure> {
        let first = self.at.load(Ordering::Relaxed);
        let mut why = Failure::Refused("no member is configured".to_owned());
        for n in 0..self.members.len() {
            let at = (first + n) % self.members.len();
            let Some(member) = self.members.get(at) else { break };
            match self.ask_one(member, path, body, token).await {
                Ok(value) => {
                    self.at.store(at, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(Failure::Refused(e)) => why = Failure::Refused(format!("{member}: {e}")),
                Err(Failure::Lost(e)) => {
                    // The next call tries another.
                    self.at.store(at + 1, Ordering::Relaxed);
                    return Err(Failure::Lost(format!("{member}: {e}")));
                }
            }
        }
        Err(why)
    }

    /// A call whose answer goes on: a line of JSON for each event.
    pub(super) async fn stream(&self, path: &str, body: &Value) -> Result<Lines, Failure> {
        let token = self.token().await?;
        let first = self.at.load(Ordering::Relaxed);
        let mut why = Failure::Refused("no member is configured".to_owned());
        for n in 0..self.members.len() {
            let Some(member) = self.members.get((first + n) % self.members.len()) else { break };
            match timeout(CALL_PATIENCE, self.send(member, path, body, token.as_deref())).await {
                Ok(Ok((StatusCode::OK, body))) => return Ok(Lines { body, read: Vec::new() }),
                Ok(Ok((status, _))) => {
                    // The next attempt logs in again.
                    self.forget();
                    why = Failure::Refused(format!("{member}: HTTP {status}"));
                }
                Ok(Err(e)) => why = e,
                Err(_) => why = Failure::Lost(format!("{member}: {}", late())),
            }
        }
        Err(why)
    }
}

fn late() -> String {
    format!("no answer within {} ms", CALL_PATIENCE.as_millis())
}

impl Gateway {
    async fn ask_one(
        &self,
        member: &str,
        path: &str,
        body: &Value,
        token: Option<&str>,
    ) -> Result<Value, Failure> {
        let whole = async {
            let (status, answer) = self.send(member, path, body, token).await?;
            let lost = |e: String| Failure::Lost(e);
            let bytes = axum::body::to_bytes(Body::new(answer), ANSWER_MAX)
                .await
                .map_err(|e| lost(e.to_string()))?;
            let value: Value = serde_json::from_slice(&bytes).map_err(|_| {
                let text: String = String::from_utf8_lossy(&bytes).chars().take(200).collect();
                lost(format!("HTTP {status}, and no JSON: {}", text.trim()))
            })?;
            match status.is_success() {
                true => Ok(value),
                false => Err(refusal(&value, status)),
            }
        };
        match timeout(CALL_PATIENCE, whole).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Lost(late())),
        }
    }

    async fn send(
        &self,
        member: &str,
        path: &str,
        body: &Value,
        token: Option<&str>,
    ) -> Result<(StatusCode, Incoming), Failure> {
        let refused = |e: String| Failure::Refused(e);
        let stream = match timeout(CONNECT_PATIENCE, self.reach(member)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) => return Err(refused(e.to_string())),
            Err(_) => {
                return Err(refused(format!(
                    "it cannot be reached within {} ms",
                    CONNECT_PATIENCE.as_millis()
                )));
            }
        };
        let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream))
            .await
            .map_err(|e| refused(e.to_string()))?;
        // It ends when the answer has been read or dropped.
        tokio::spawn(async move {
            let _ = connection.await;
        });
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(header::HOST, member)
            .header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request
            .body(Body::from(body.to_string()))
            .map_err(|e| refused(e.to_string()))?;
        let answer = sender
            .send_request(request)
            .await
            .map_err(|e| Failure::Lost(e.to_string()))?;
        Ok((answer.status(), answer.into_body()))
    }

    async fn reach(&self, member: &str) -> std::io::Result<Box<dyn Stream>> {
        let stream = TcpStream::connect(member).await?;
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
        let host = member.rsplit_once(':').map_or(member, |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(host.to_owned()).map_err(std::io::Error::other)?;
        Ok(Box::new(tls.connect(name, stream).await?))
    }
}

/// etcd does not know the token any more, or users have changed since it gave it.
fn is_over(failure: &Failure) -> bool {
    let says = |part: &str| failure.why().contains(part);
    matches!(failure, Failure::Refused(_))
        && (says("invalid auth token") || says("auth store is old"))
}

/// What etcd's error means. Its numbers are gRPC's.
fn refusal(value: &Value, status: StatusCode) -> Failure {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let why = text("message")
        .or_else(|| text("error"))
        .unwrap_or_else(|| format!("HTTP {status}"));
    // Wrong arguments, not found, exists, not allowed, exhausted, precondition, range, unknown
    // method, no token.
    match value.get("code").and_then(Value::as_u64) {
        Some(3 | 5 | 6 | 7 | 8 | 9 | 11 | 12 | 16) => Failure::Refused(why),
        _ => Failure::Lost(why),
    }
}

/// Lines of an answer that goes on.
pub(super) struct Lines {
    body: Incoming,
    read: Vec<u8>,
}

impl Lines {
    /// The next one; may be given up and called again without losing anything.
    pub(super) async fn next(&mut self) -> Result<Value, Failure> {
        loop {
            if let Some(end) = self.read.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return serde_json::from_slice(&line).map_err(|e| Failure::Lost(e.to_string()));
            }
            if self.read.len() > LINE_MAX {
                return Err(Failure::Lost("a line without an end".to_owned()));
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            match frame {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.read.extend_from_slice(&data);
                    }
                }
                Some(Err(e)) => return Err(Failure::Lost(e.to_string())),
                None => return Err(Failure::Lost("the connection was closed".to_owned())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::EtcdAccess;

    fn gateway(member: &str) -> Gateway {
        let config = EtcdConfig::new(&[member.to_owned()], None, EtcdAccess::default()).unwrap();
        Gateway::new(&config).unwrap()
    }

    #[test]
    fn only_a_clear_no_means_that_nothing_was_done() {
        let of =
            |code: u64| refusal(&json!({"message": "m", "code": code}), StatusCode::BAD_REQUEST);
        assert_eq!(of(5), Failure::Refused("m".to_owned()));
        for code in [2, 4, 13, 14] {
            assert_eq!(of(code), Failure::Lost("m".to_owned()), "{code}");
        }
        assert!(matches!(refusal(&json!({}), StatusCode::BAD_GATEWAY), Failure::Lost(_)));
    }

    #[tokio::test]
    async fn a_member_that_is_away_has_done_nothing() {
        let gateway = gateway("127.0.0.1:1");
        let failure = gateway.call("/v3/kv/range", &json!({})).await.unwrap_err();
        assert!(matches!(failure, Failure::Refused(_)), "{failure:?}");
    }

    #[tokio::test]
    async fn one_that_closes_without_an_answer_may_have_done_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 64];
            let _ = tokio::io::AsyncReadExt::read(&mut socket, &mut buffer).await;
        });
        let failure = gateway(&address)
            .call("/v3/kv/txn", &json!({}))
            .await
            .unwrap_err();
        assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
    }
}
