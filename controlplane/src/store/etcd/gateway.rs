//! etcd's API as JSON over HTTP (its gRPC gateway, `/v3/...`), each call within a time limit.
use axum::body::Body;
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

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
#[derive(Debug)]
pub(super) struct Gateway {
    /// `HOST:PORT`
    members: Vec<String>,
    /// The one that answered last.
    at: AtomicUsize,
}

impl Gateway {
    pub(super) fn new(members: Vec<String>) -> Self {
        Self { members, at: AtomicUsize::new(0) }
    }

    pub(super) fn members(&self) -> &[String] {
        &self.members
    }

    /// One call; where a member cannot be reached, the next is tried.
    pub(super) async fn call(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let first = self.at.load(Ordering::Relaxed);
        let mut why = Failure::Refused("no member is configured".to_owned());
        for n in 0..self.members.len() {
            let at = (first + n) % self.members.len();
            let Some(member) = self.members.get(at) else { break };
            match call(member, path, body).await {
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
        let first = self.at.load(Ordering::Relaxed);
        let mut why = Failure::Refused("no member is configured".to_owned());
        for n in 0..self.members.len() {
            let Some(member) = self.members.get((first + n) % self.members.len()) else { break };
            match timeout(CALL_PATIENCE, send(member, path, body)).await {
                Ok(Ok((StatusCode::OK, body))) => return Ok(Lines { body, read: Vec::new() }),
                Ok(Ok((status, _))) => why = Failure::Refused(format!("{member}: HTTP {status}")),
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

async fn call(member: &str, path: &str, body: &Value) -> Result<Value, Failure> {
    let whole = async {
        let (status, answer) = send(member, path, body).await?;
        let lost = |e: String| Failure::Lost(e);
        let bytes = axum::body::to_bytes(Body::new(answer), ANSWER_MAX)
            .await
            .map_err(|e| lost(e.to_string()))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|e| lost(e.to_string()))?;
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

/// What etcd's error means. Its numbers are gRPC's.
fn refusal(value: &Value, status: StatusCode) -> Failure {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let why = text("message")
        .or_else(|| text("error"))
        .unwrap_or_else(|| format!("HTTP {status}"));
    // Wrong arguments, not found, exists, not allowed, exhausted, precondition, range, unknown method, no token.
    match value.get("code").and_then(Value::as_u64) {
        Some(3 | 5 | 6 | 7 | 8 | 9 | 11 | 12 | 16) => Failure::Refused(why),
        _ => Failure::Lost(why),
    }
}

async fn send(member: &str, path: &str, body: &Value) -> Result<(StatusCode, Incoming), Failure> {
    let refused = |e: String| Failure::Refused(e);
    let stream = match timeout(CONNECT_PATIENCE, TcpStream::connect(member)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return Err(refused(e.to_string())),
        Err(_) => {
            return Err(refused(format!("it cannot be reached within {} ms", CONNECT_PATIENCE.as_millis())));
        }
    };
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) = http1::handshake::<_, Body>(TokioIo::new(stream))
        .await
        .map_err(|e| refused(e.to_string()))?;
    // It ends when the answer has been read or dropped.
    tokio::spawn(async move {
        let _ = connection.await;
    });
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(header::HOST, member)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_string()))
        .map_err(|e| refused(e.to_string()))?;
    let answer = sender
        .send_request(request)
        .await
        .map_err(|e| Failure::Lost(e.to_string()))?;
    Ok((answer.status(), answer.into_body()))
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
    use serde_json::json;

    #[test]
    fn only_a_clear_no_means_that_nothing_was_done() {
        let of = |code: u64| refusal(&json!({"message": "m", "code": code}), StatusCode::BAD_REQUEST);
        assert_eq!(of(5), Failure::Refused("m".to_owned()));
        for code in [2, 4, 13, 14] {
            assert_eq!(of(code), Failure::Lost("m".to_owned()), "{code}");
        }
        assert!(matches!(refusal(&json!({}), StatusCode::BAD_GATEWAY), Failure::Lost(_)));
    }

    #[tokio::test]
    async fn a_member_that_is_away_has_done_nothing() {
        let gateway = Gateway::new(vec!["127.0.0.1:1".to_owned()]);
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
        let failure = Gateway::new(vec![address])
            .call("/v3/kv/txn", &json!({}))
            .await
            .unwrap_err();
        assert!(matches!(failure, Failure::Lost(_)), "{failure:?}");
    }
}
