//! A small client of MySQL servers, for the control plane's own connections: one statement at a
//! time, whole answers, TLS and logins as the cores'. Whoever calls sets the time limit. A
//! statement that was given up leaves the connection of no use: it then says so itself.
mod answer;
mod row;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use row::{Params, Row, Value};
pub(crate) use wire::{Login, Stream, dial};

use answer::{Form, read_prepared, read_rows};
use coregate_protocol::command::encode;
use row::FromRow;
use std::collections::VecDeque;
use std::time::Duration;
use wire::Wire;

/// Statements that a connection keeps prepared.
const STATEMENTS_MAX: usize = 16;
/// How long saying good-bye may take.
const QUIT_PATIENCE: Duration = Duration::from_secs(1);

/// Why a statement has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The server refuses; the connection can be used.
    #[error("ERROR {} ({}): {}", .0.code, String::from_utf8_lossy(&.0.sqlstate), .0.message)]
    Server(coregate_protocol::response::OwnedError),
    /// The connection is lost; what became of the statement is unknown.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The server breaks the protocol, or answers something else than was asked.
    #[error("{0}")]
    Protocol(String),
}

impl From<coregate_protocol::ProtocolError> for Error {
    fn from(error: coregate_protocol::ProtocolError) -> Self {
        Self::Protocol(error.to_string())
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A connection that has logged in.
pub(crate) struct Conn {
    /// `None` once it is being closed.
    wire: Option<Wire>,
    /// A statement is on its way; if it stays so, its answer was given up.
    busy: bool,
    /// Texts and ids, the oldest first.
    statements: VecDeque<(String, u32)>,
}

impl Conn {
    /// # Errors
    /// The server cannot be used as `login` says.
    pub(crate) async fn open(login: Login<'_>) -> Result<Self> {
        let wire = Some(login.run().await?);
        Ok(Self { wire, busy: false, statements: VecDeque::new() })
    }

    /// As the server's process list has it.
    pub(crate) fn id(&self) -> u32 {
        self.wire.as_ref().map_or(0, |wire| wire.thread_id)
    }

    /// Runs a statement; rows are dropped.
    pub(crate) async fn query_drop(&mut self, sql: impl AsRef<str>) -> Result<()> {
        self.query_rows(sql.as_ref().as_bytes()).await.map(drop)
    }

    pub(crate) async fn query<T: FromRow>(&mut self, sql: impl AsRef<str>) -> Result<Vec<T>> {
        self.query_rows(sql.as_ref().as_bytes())
            .await?
            .into_iter()
            .map(T::from_row)
            .collect()
    }

    /// The first row.
    pub(crate) async fn query_first<T: FromRow>(
        &mut self,
        sql: impl AsRef<str>,
    ) -> Result<Option<T>> {
        let first = self
            .query_rows(sql.as_ref().as_bytes())
            .await?
            .into_iter()
            .next();
        first.map(T::from_row).transpose()
    }

    /// As [`query`](Self::query), with values that are bound.
    pub(crate) async fn exec<T: FromRow>(
        &mut self,
        sql: &str,
        params: impl Params,
    ) -> Result<Vec<T>> {
        let rows = self.exec_rows(sql, &params.values()).await?;
        rows.into_iter().map(T::from_row).collect()
    }

    pub(crate) async fn exec_first<T: FromRow>(
        &mut self,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<T>> {
        let first = self
            .exec_rows(sql, &params.values())
            .await?
            .into_iter()
            .next();
        first.map(T::from_row).transpose()
    }

    pub(crate) async fn exec_drop(&mut self, sql: &str, params: impl Params) -> Result<()> {
        self.exec_rows(sql, &params.values()).await.map(drop)
    }

    /// Says good-bye.
    pub(crate) async fn disconnect(mut self) {
        if let Some(wire) = self.wire.take().filter(|_| !self.busy) {
            quit(wire).await;
        }
    }

    /// A text that need not be UTF-8.
    pub(crate) async fn query_rows(&mut self, sql: &[u8]) -> Result<Vec<Row>> {
        let mut command = Vec::new();
        let wire = self.begin()?;
        encode::query(&mut command, wire.capabilities, sql);
        wire.command(&command).await?;
        let rows = read_rows(wire, Form::Text).await;
        self.end(rows)
    }

    async fn exec_rows(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let id = self.prepare(sql).await?;
        let mut command = Vec::new();
        let wire = self.begin()?;
        row::put_execute(&mut command, wire.capabilities, id, params);
        wire.command(&command).await?;
        let rows = read_rows(wire, Form::Binary).await;
        self.end(rows)
    }

    async fn prepare(&mut self, sql: &str) -> Result<u32> {
        if let Some((_, id)) = self.statements.iter().find(|(text, _)| text == sql) {
            return Ok(*id);
        }
        if self.statements.len() >= STATEMENTS_MAX
            && let Some((_, oldest)) = self.statements.pop_front()
        {
            let mut command = Vec::new();
            encode::stmt_close(&mut command, oldest);
            let wire = self.begin()?;
            wire.command(&command).await?;
            self.busy = false;
        }
        let mut command = Vec::new();
        encode::stmt_prepare(&mut command, sql.as_bytes());
        let wire = self.begin()?;
        wire.command(&command).await?;
        let prepared = read_prepared(wire).await;
        let id = self.end(prepared)?;
        self.statements.push_back((sql.to_owned(), id));
        Ok(id)
    }

    fn begin(&mut self) -> Result<&mut Wire> {
        if self.busy {
            return Err(Error::Protocol(
                "an earlier statement of this connection was given up: its answer may still come"
                    .to_owned(),
            ));
        }
        self.busy = true;
        self.wire
            .as_mut()
            .ok_or_else(|| Error::Protocol("the connection is closed".to_owned()))
    }

    /// An answer that was read whole leaves the connection usable.
    fn end<T>(&mut self, answer: Result<T>) -> Result<T> {
        if matches!(answer, Ok(_) | Err(Error::Server(_))) {
            self.busy = false;
        }
        answer
    }
}

/// The server must not count our connections among those that were cut off.
impl Drop for Conn {
    fn drop(&mut self) {
        let Some(wire) = self.wire.take().filter(|_| !self.busy) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(quit(wire));
        }
    }
}

async fn quit(mut wire: Wire) {
    let mut command = Vec::new();
    encode::quit(&mut command);
    // It may be gone; then there is nobody to tell.
    let _ = tokio::time::timeout(QUIT_PATIENCE, async {
        wire.command(&command).await?;
        wire.shut_down().await
    })
    .await;
}
