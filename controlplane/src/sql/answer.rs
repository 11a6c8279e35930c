//! Whole answers.
use super::row::{Names, Row, Value};
use super::wire::Wire;
use super::{Error, Result};
use coregate_protocol::column::{ColumnDefinition, ColumnFlags};
use coregate_protocol::response::{ErrPacket, OkPacket, PrepareOk};
use coregate_protocol::row::{BinaryRow, TextRow};
use coregate_protocol::value::ParamType;
use coregate_protocol::{Capabilities, Status, codec::Reader};
use std::sync::Arc;

/// The largest answer, in bytes of its rows.
const ANSWER_MAX: usize = 1 << 30;
/// First byte of what ends rows, or columns.
const END: u8 = 0xfe;
/// First byte of a server's wish for a file.
const INFILE: u8 = 0xfb;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Binary,
}

/// The server's error, if the packet is one.
pub(super) fn refusal(packet: &[u8]) -> Result<()> {
    match packet.first() {
        Some(&ErrPacket::HEADER) => Err(Error::Server(ErrPacket::parse(packet)?.to_owned())),
        _ => Ok(()),
    }
}

/// The rows of the first result; those of further ones are dropped.
pub(super) async fn read_rows(wire: &mut Wire, form: Form) -> Result<Vec<Row>> {
    let (rows, mut more) = read_result(wire, form).await?;
    while more {
        more = read_result(wire, form).await?.1;
    }
    Ok(rows)
}

async fn read_result(wire: &mut Wire, form: Form) -> Result<(Vec<Row>, bool)> {
    let caps = wire.capabilities;
    let first = wire.packet().await?;
    refusal(&first)?;
    match first.first() {
        Some(&OkPacket::HEADER) => {
            let ok = OkPacket::parse(&first, caps)?;
            return Ok((Vec::new(), ok.status.contains(Status::MORE_RESULTS)));
        }
        Some(&INFILE) => return Err(Error::Protocol("the server asks for a file".to_owned())),
        _ => {}
    }
    let count = Reader::new(&first).lenenc_int("number of columns")?;
    let mut names = Vec::new();
    let mut types = Vec::new();
    for _ in 0..count {
        let packet = wire.packet().await?;
        let column = ColumnDefinition::parse(&packet, caps)?;
        names.push(String::from_utf8_lossy(column.name).into_owned());
        types.push(ParamType {
            column_type: column.column_type,
            unsigned: column.flags.contains(ColumnFlags::UNSIGNED),
        });
    }
    if !caps.contains(Capabilities::DEPRECATE_EOF) {
        wire.packet().await?;
    }
    let names: Names = Arc::new(names);
    let (mut rows, mut bytes) = (Vec::new(), 0);
    loop {
        let packet = wire.packet().await?;
        refusal(&packet)?;
        if let Some(status) = end_of_rows(&packet, caps)? {
            return Ok((rows, status.contains(Status::MORE_RESULTS)));
        }
        bytes += packet.len();
        if bytes > ANSWER_MAX {
            return Err(Error::Protocol(format!("an answer of more than {ANSWER_MAX} bytes")));
        }
        rows.push(row(&packet, form, &names, &types)?);
    }
}

/// The status of the packet that ends rows. A row may begin with the same byte only if it is a very
/// long one.
fn end_of_rows(packet: &[u8], caps: Capabilities) -> Result<Option<Status>> {
    const ROW_MIN: usize = 1 << 24;
    if packet.first() != Some(&END) || packet.len() >= ROW_MIN {
        return Ok(None);
    }
    if caps.contains(Capabilities::DEPRECATE_EOF) {
        return Ok(Some(OkPacket::parse(packet, caps)?.status));
    }
    let mut reader = Reader::new(packet);
    reader.u8("EOF")?;
    reader.u16("warnings")?;
    Ok(Some(Status::from_bits_retain(reader.u16("status")?)))
}

fn row(packet: &[u8], form: Form, names: &Names, types: &[ParamType]) -> Result<Row> {
    let cells = match form {
        Form::Text => TextRow::new(packet)
            .map(|cell| Ok(cell?.map_or(Value::Null, |text| Value::Bytes(text.to_vec()))))
            .collect::<Result<Vec<_>>>()?,
        Form::Binary => BinaryRow::new(packet, types.iter().copied())?
            .map(|cell| Ok(Value::of(&cell?)))
            .collect::<Result<Vec<_>>>()?,
    };
    if cells.len() != names.len() {
        return Err(Error::Protocol(format!(
            "a row of {} columns, not {}",
            cells.len(),
            names.len()
        )));
    }
    Ok(Row::new(Arc::clone(names), cells))
}

/// The id of a statement.
pub(super) async fn read_prepared(wire: &mut Wire) -> Result<u32> {
    let caps = wire.capabilities;
    let first = wire.packet().await?;
    refusal(&first)?;
    let prepared = PrepareOk::parse(&first, caps)?;
    for count in [prepared.params, prepared.columns] {
        let ends = usize::from(count > 0 && !caps.contains(Capabilities::DEPRECATE_EOF));
        for _ in 0..usize::from(count) + ends {
            wire.packet().await?;
        }
    }
    Ok(prepared.stmt_id)
}
