//! Commands for backends. Each function appends a payload; [`crate::frame::PacketWriter`] puts the
//! header before it.

use super::com;
use crate::capability::Capabilities;
use crate::codec;

/// COM_QUIT.
pub fn quit(out: &mut Vec<u8>) {
    out.push(com::QUIT);
}

/// COM_PING.
pub fn ping(out: &mut Vec<u8>) {
    out.push(com::PING);
}

/// COM_RESET_CONNECTION.
pub fn reset_connection(out: &mut Vec<u8>) {
    out.push(com::RESET_CONNECTION);
}

/// COM_INIT_DB.
pub fn init_db(out: &mut Vec<u8>, database: &[u8]) {
    out.push(com::INIT_DB);
    out.extend_from_slice(database);
}

/// COM_QUERY without attributes, on a connection of these capabilities.
pub fn query(out: &mut Vec<u8>, caps: Capabilities, sql: &[u8]) {
    query_head(out, caps);
    out.extend_from_slice(sql);
}

/// What stands before the text in COM_QUERY without attributes, for callers that append the text in
/// pieces.
pub fn query_head(out: &mut Vec<u8>, caps: Capabilities) {
    out.push(com::QUERY);
    if caps.contains(Capabilities::QUERY_ATTRIBUTES) {
        out.extend_from_slice(&[0, 1]);
    }
}

/// COM_PROCESS_KILL.
pub fn process_kill(out: &mut Vec<u8>, thread_id: u32) {
    out.push(com::PROCESS_KILL);
    out.extend_from_slice(&thread_id.to_le_bytes());
}

/// COM_SET_OPTION: multi-statements on or off.
pub fn set_multi_statements(out: &mut Vec<u8>, on: bool) {
    out.extend_from_slice(&[com::SET_OPTION, u8::from(!on), 0]);
}

/// COM_STATISTICS.
pub fn statistics(out: &mut Vec<u8>) {
    out.push(com::STATISTICS);
}

/// COM_FIELD_LIST.
pub fn field_list(out: &mut Vec<u8>, table: &[u8], wildcard: &[u8]) {
    out.push(com::FIELD_LIST);
    codec::put_nul_bytes(out, table);
    out.extend_from_slice(wildcard);
}

/// COM_STMT_PREPARE.
pub fn stmt_prepare(out: &mut Vec<u8>, sql: &[u8]) {
    out.push(com::STMT_PREPARE);
    out.extend_from_slice(sql);
}

/// COM_STMT_EXECUTE with a body as [`super::execute`] reads or writes it.
pub fn stmt_execute(out: &mut Vec<u8>, stmt_id: u32, flags: u8, body: &[u8]) {
    with_id(out, com::STMT_EXECUTE, stmt_id);
    out.push(flags);
    out.extend_from_slice(&1u32.to_le_bytes());
    out.extend_from_slice(body);
}

/// COM_STMT_SEND_LONG_DATA.
pub fn stmt_send_long_data(out: &mut Vec<u8>, stmt_id: u32, param: u16, data: &[u8]) {
    with_id(out, com::STMT_SEND_LONG_DATA, stmt_id);
    out.extend_from_slice(&param.to_le_bytes());
    out.extend_from_slice(data);
}

/// COM_STMT_CLOSE.
pub fn stmt_close(out: &mut Vec<u8>, stmt_id: u32) {
    with_id(out, com::STMT_CLOSE, stmt_id);
}

/// COM_STMT_RESET.
pub fn stmt_reset(out: &mut Vec<u8>, stmt_id: u32) {
    with_id(out, com::STMT_RESET, stmt_id);
}

/// COM_STMT_FETCH.
pub fn stmt_fetch(out: &mut Vec<u8>, stmt_id: u32, rows: u32) {
    with_id(out, com::STMT_FETCH, stmt_id);
    out.extend_from_slice(&rows.to_le_bytes());
}

fn with_id(out: &mut Vec<u8>, command: u8, stmt_id: u32) {
    out.push(command);
    out.extend_from_slice(&stmt_id.to_le_bytes());
}
