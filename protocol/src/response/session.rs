//! Changes of the session's state, as OK packets carry them.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html#sect_protocol_basic_ok_packet_sessinfo>,
//! <https://mariadb.com/kb/en/ok_packet/>

use crate::codec::{self, Reader};
use crate::error::ProtocolError;

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionChange<'a> {
    /// A tracked system variable has another value (`session_track_system_variables`).
    SystemVariable {
        /// Its name.
        name: &'a [u8],
        /// Its value as text.
        value: &'a [u8],
    },
    /// The default database is another.
    Schema(&'a [u8]),
    /// Anything about the session changed: `1`, or not: `0` (`session_track_state_change`).
    State(&'a [u8]),
    /// GTIDs of the transaction that was committed, or the executed set (`session_track_gtids`).
    Gtids(&'a [u8]),
    /// Statements that open the same transaction elsewhere (`session_track_transaction_info`).
    TransactionCharacteristics(&'a [u8]),
    /// State of the transaction, one letter or `_` at each of eight places.
    TransactionState(&'a [u8]),
    /// A kind that is not known here.
    Other {
        /// Its number.
        kind: u8,
        /// Its data.
        data: &'a [u8],
    },
}

/// The changes in one OK packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionChanges<'a> {
    raw: &'a [u8],
}

impl<'a> SessionChanges<'a> {
    /// Takes the block as it is on the wire, without the length in front.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// The block.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The changes in order. After an error there are no more.
    pub fn iter(&self) -> SessionIter<'a> {
        SessionIter { block: Reader::new(self.raw), variables: Reader::new(b"") }
    }
}

impl<'a> IntoIterator for SessionChanges<'a> {
    type Item = Result<SessionChange<'a>, ProtocolError>;
    type IntoIter = SessionIter<'a>;

    fn into_iter(self) -> SessionIter<'a> {
        self.iter()
    }
}

/// Iterator of [`SessionChanges`].
#[derive(Clone, Debug)]
pub struct SessionIter<'a> {
    block: Reader<'a>,
    /// Pairs left in the current entry: MariaDB puts several variables into one.
    variables: Reader<'a>,
}

impl<'a> SessionIter<'a> {
    fn read(&mut self) -> Result<SessionChange<'a>, ProtocolError> {
        if self.variables.is_empty() {
            let kind = self.block.u8("kind of session change")?;
            let data = self.block.lenenc_bytes("session change")?;
            let mut r = Reader::new(data);
            match kind {
                0 => self.variables = r,
                1 => return r.lenenc_bytes("schema").map(SessionChange::Schema),
                2 => return r.lenenc_bytes("state change").map(SessionChange::State),
                3 => {
                    r.u8("encoding of GTIDs")?;
                    return r.lenenc_bytes("GTIDs").map(SessionChange::Gtids);
                }
                4 => {
                    let text = r.lenenc_bytes("transaction characteristics")?;
                    return Ok(SessionChange::TransactionCharacteristics(text));
                }
                5 => {
                    return r
                        .lenenc_bytes("transaction state")
                        .map(SessionChange::TransactionState);
                }
                _ => return Ok(SessionChange::Other { kind, data }),
            }
        }
        let name = self.variables.lenenc_bytes("variable name")?;
        let value = self.variables.lenenc_bytes("variable value")?;
        Ok(SessionChange::SystemVariable { name, value })
    }
}

impl<'a> Iterator for SessionIter<'a> {
    type Item = Result<SessionChange<'a>, ProtocolError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.block.is_empty() && self.variables.is_empty() {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.block.rest();
            self.variables.rest();
        }
        Some(item)
    }
}

/// Appends one change to a block, each variable as an entry of its own.
pub fn put_session_change(block: &mut Vec<u8>, change: &SessionChange<'_>) {
    let one = |block: &mut Vec<u8>, kind: u8, prefix: &[u8], text: &[u8]| {
        let len = prefix.len() + codec::lenenc_int_len(text.len() as u64) + text.len();
        block.push(kind);
        codec::put_lenenc_int(block, len as u64);
        block.extend_from_slice(prefix);
        codec::put_lenenc_bytes(block, text);
    };
    match *change {
        SessionChange::SystemVariable { name, value } => {
            let len = [name, value]
                .iter()
                .map(|text| codec::lenenc_int_len(text.len() as u64) + text.len())
                .sum::<usize>();
            block.push(0);
            codec::put_lenenc_int(block, len as u64);
            codec::put_lenenc_bytes(block, name);
            codec::put_lenenc_bytes(block, value);
        }
        SessionChange::Schema(text) => one(block, 1, b"", text),
        SessionChange::State(text) => one(block, 2, b"", text),
        SessionChange::Gtids(text) => one(block, 3, b"\0", text),
        SessionChange::TransactionCharacteristics(text) => one(block, 4, b"", text),
        SessionChange::TransactionState(text) => one(block, 5, b"", text),
        SessionChange::Other { kind, data } => {
            block.push(kind);
            codec::put_lenenc_bytes(block, data);
        }
    }
}
