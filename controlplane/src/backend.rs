//! The control plane's own connections to database servers: how they are reached, and what version
//! they are.
use crate::Error;
use crate::sql::{self, Conn, Login};
use crate::tls::TlsClient;
use coregate_planner::snapshot::{BackendTls, Tablet};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How long a connection or a small query of the control plane may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED
const OUT_OF_CONNECTIONS: [u16; 3] = [1040, 1203, 1226];

/// The longest greeting that is read, in bytes.
const MAX_GREETING: usize = 4096;

/// How a server is named in messages.
pub(crate) fn name(tablet: &Tablet) -> String {
    tablet.address.to_string()
}

/// Why nothing can be sent to a name.
pub(crate) fn unresolved(host: &str) -> std::io::Error {
    std::io::Error::other(format!("the name {host} cannot be resolved at the moment"))
}

pub(crate) fn failed(tablet: &Tablet, message: impl ToString) -> Error {
    Error::Backend { address: name(tablet), message: message.to_string() }
}

/// Of a connection that was refused.
fn refused(tablet: &Tablet, error: sql::Error) -> Error {
    match error {
        sql::Error::Server(e) if OUT_OF_CONNECTIONS.contains(&e.code) => {
            Error::OutOfConnections { address: name(tablet), message: e.message }
        }
        other => failed(tablet, other),
    }
}

/// How servers are reached: as the tablet's `tls` says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Connector {
    /// `None`: never encrypted, for the servers of `local`.
    pub(crate) tls: Option<Arc<dyn TlsClient>>,
}

impl Connector {
    /// Fails at start rather than at the first connection, where what is configured cannot work.
    pub(crate) fn check(&self, tablet: &Tablet) -> Result<(), Error> {
        match &self.tls {
            Some(tls) if tablet.tls != BackendTls::Disabled => tls
                .config(tablet.tls)
                .map(drop)
                .map_err(|why| Error::Config(format!("tablet {}: {why}", tablet.alias))),
            _ => Ok(()),
        }
    }

    /// Connects, without a default database.
    pub(crate) async fn connect(&self, tablet: &Tablet) -> Result<Conn, Error> {
        open(tablet, self.tls.as_ref()).await
    }
}

/// Connects without TLS, and without a default database.
pub(crate) async fn connect(tablet: &Tablet) -> Result<Conn, Error> {
    open(tablet, None).await
}

async fn open(tablet: &Tablet, tls: Option<&Arc<dyn TlsClient>>) -> Result<Conn, Error> {
    match timeout(PATIENCE, Conn::open(Login { tablet, tls })).await {
        Ok(conn) => conn.map_err(|e| refused(tablet, e)),
        Err(_) => Err(failed(tablet, format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// Reads the version off the server's greeting: needs no login.
pub(crate) async fn version(tablet: &Tablet) -> Result<String, Error> {
    let greeting = async { read_greeting(sql::dial(&tablet.address).await?).await };
    match timeout(PATIENCE, greeting).await {
        Ok(Ok(packet)) => parse_greeting(&packet).map_err(|e| failed(tablet, e)),
        Ok(Err(e)) => Err(failed(tablet, e)),
        Err(_) => Err(failed(tablet, format!("no greeting within {} s", PATIENCE.as_secs()))),
    }
}

async fn read_greeting(mut stream: impl AsyncRead + Unpin) -> std::io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let length =
        usize::from(header[0]) | usize::from(header[1]) << 8 | usize::from(header[2]) << 16;
    let mut packet = vec![0; length.min(MAX_GREETING)];
    stream.read_exact(&mut packet).await?;
    Ok(packet)
}

/// Protocol version 10, then the server's version up to a NUL; or an error packet ("too many
/// connections").
fn parse_greeting(packet: &[u8]) -> Result<String, String> {
    match packet.split_first() {
        Some((10, rest)) => {
            let version = rest.split(|b| *b == 0).next().unwrap_or_default();
            // With the `5.5.5-` that MariaDB puts before versions 10: clients choose collations by
            // it that MariaDB has.
            Ok(String::from_utf8_lossy(version).into_owned())
        }
        Some((0xff, rest)) => {
            Err(String::from_utf8_lossy(rest.get(2..).unwrap_or_default()).into_owned())
        }
        _ => Err("it does not speak the MySQL protocol".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_give_the_version() {
        assert_eq!(
            parse_greeting(b"\x0a5.5.5-10.11.19-MariaDB\0rest").unwrap(),
            "5.5.5-10.11.19-MariaDB"
        );
        assert_eq!(parse_greeting(b"\x0a8.0.36\0").unwrap(), "8.0.36");
        assert_eq!(
            parse_greeting(b"\xff\x10\x04Too many connections").unwrap_err(),
            "Too many connections"
        );
        assert!(parse_greeting(b"HTTP").is_err() && parse_greeting(b"").is_err());
    }
}
