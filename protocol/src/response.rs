//! What servers answer: OK, EOF, ERR, the answer to a prepare, and MariaDB's progress reports.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_response_packets.html>

mod err;
mod ok;
mod prepare;
mod session;
mod translate;

pub use err::{ErrPacket, OwnedError, Progress};
pub use ok::{EofPacket, OkPacket, encode_rows_end};
pub use prepare::PrepareOk;
pub use session::{SessionChange, SessionChanges, put_session_change};
pub use translate::{Translated, translate};
