//! An execution's packet: what it binds, and its form for a server.
use super::Statement;
use super::bulk::is_bulk;
use crate::error::sql_error;
use crate::link::Packet;
use crate::ring::Buf;
use crate::session::Outcome;
use crate::session::wire::Wire;
use coregate_protocol::Capabilities;
use coregate_protocol::column::ColumnType;
use coregate_protocol::command::execute::{BODY_AT, ExecuteBody, STMT_ID_AT};
use coregate_protocol::value::{ParamType, Value as Bound};
use smallvec::SmallVec;

/// COM_STMT_EXECUTE's flags, behind the statement's id.
const FLAGS_AT: usize = 5;

/// Values as bound, and their types.
pub(super) type BoundParams<'a> = (SmallVec<[Bound<'a>; 8]>, SmallVec<[ColumnType; 8]>);

impl Statement {
    /// The values of an execution, those that came as long data among them.
    pub(super) fn bound<'a>(
        &self,
        parsed: &ExecuteBody<'a>,
        long: &'a [(u16, Vec<u8>)],
    ) -> Outcome<BoundParams<'a>> {
        let types = self.types.borrow();
        let types: SmallVec<[ParamType; 8]> = types
            .chunks_exact(2)
            .map(|t| ParamType::from_bytes([t[0], t[1]]))
            .collect();
        if types.len() < parsed.params && !parsed.new_params_bound && !parsed.is_all_null() {
            return Err(sql_error(1210, "Incorrect arguments to mysqld_stmt_execute").into());
        }
        let is_long = |n: usize| long.iter().any(|(param, _)| usize::from(*param) == n);
        let (mut bound, mut kinds) = BoundParams::default();
        for (n, value) in parsed.values(&types, is_long).enumerate() {
            let (ty, value) = value?;
            kinds.push(ty.column_type);
            let from_long = long.iter().find(|(param, _)| usize::from(*param) == n);
            bound.push(from_long.map_or(value, |(_, data)| Bound::Bytes(data)));
        }
        Ok((bound, kinds))
    }

    /// The values of an execution's packet, as texts have them.
    pub(in crate::session) fn parameter_texts(
        &self,
        payload: &[u8],
        capabilities: Capabilities,
    ) -> Option<Vec<Vec<u8>>> {
        let flags = payload.get(FLAGS_AT).copied().unwrap_or_default();
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let parsed = ExecuteBody::parse(body, self.params(), flags, capabilities).ok()?;
        let long = self.long_data.borrow();
        let (values, _) = self.bound(&parsed, &long).ok()?;
        let text = |value: &Bound<'_>| match value {
            Bound::Bytes(bytes) => [b"'", *bytes, b"'"].concat(),
            value => {
                let mut text = Vec::new();
                value.write_text(&mut text);
                text
            }
        };
        Some(values.iter().map(text).collect())
    }

    /// What makes an execution's answer another: the text, and what is bound to it. `None`: it has
    /// long data.
    pub(in crate::session) fn add_execution(
        &self,
        payload: &[u8],
        key: &mut Vec<u8>,
    ) -> Option<()> {
        if !self.long_data.borrow().is_empty() {
            return None;
        }
        key.extend_from_slice(format!("{:x} ", self.key).as_bytes());
        key.extend_from_slice(&self.sql);
        key.push(0);
        key.extend_from_slice(&self.types.borrow());
        key.extend_from_slice(payload.get(FLAGS_AT..)?);
        Some(())
    }

    pub(super) fn bind_types(&self, types: &[u8]) {
        let mut known = self.types.borrow_mut();
        if known.as_slice() != types {
            known.clear();
            known.extend_from_slice(types);
        }
        self.types_hash.set(hash_of_types(types) | 1);
    }

    /// The execution's packet for a backend: the client's own with another id, and with the types
    /// if that server has not seen them.
    pub(super) fn execution(
        &self,
        mut packet: Packet,
        id: u32,
        types: u64,
        capabilities: Capabilities,
    ) -> Outcome<Buf> {
        if is_bulk(packet.payload()) {
            return Ok(Wire::Payload(self.bulk_execution(packet.payload(), id)).into_buf());
        }
        let bound = self.brings_types(packet.payload(), capabilities)?;
        if bound || types == self.types_hash.get() {
            if let Some(place) = packet.payload_mut().get_mut(STMT_ID_AT) {
                place.copy_from_slice(&id.to_le_bytes());
            }
            return Ok(packet.into_wire());
        }
        Ok(Wire::Payload(self.execution_payload(packet.payload(), id, types, capabilities)?)
            .into_buf())
    }

    fn brings_types(&self, payload: &[u8], capabilities: Capabilities) -> Outcome<bool> {
        let flags = payload.get(5).copied().unwrap_or_default();
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let params = usize::from(self.fingerprint.params);
        Ok(params == 0 || ExecuteBody::parse(body, params, flags, capabilities)?.new_params_bound)
    }

    pub(super) fn execution_payload(
        &self,
        payload: &[u8],
        id: u32,
        types: u64,
        capabilities: Capabilities,
    ) -> Outcome<Vec<u8>> {
        let flags = payload.get(5).copied().unwrap_or_default();
        let body = payload.get(BODY_AT..).unwrap_or_default();
        let parsed =
            ExecuteBody::parse(body, usize::from(self.fingerprint.params), flags, capabilities)?;
        let mut out = payload.to_vec();
        if let Some(place) = out.get_mut(STMT_ID_AT) {
            place.copy_from_slice(&id.to_le_bytes());
        }
        let insert =
            parsed.params > 0 && !parsed.new_params_bound && types != self.types_hash.get();
        if insert {
            let at = BODY_AT + parsed.flag_at;
            if let Some(flag) = out.get_mut(at) {
                *flag = 1;
            }
            out.splice(at + 1..at + 1, self.types.borrow().iter().copied());
        }
        Ok(out)
    }
}

fn hash_of_types(types: &[u8]) -> u64 {
    thread_local! {
        static SEED: ahash::RandomState = ahash::RandomState::new();
    }
    SEED.with(|seed| seed.hash_one(types))
}
