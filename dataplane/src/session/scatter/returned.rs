//! Rows that INSERT, REPLACE and DELETE ... RETURNING give on several shards: kept until all shards
//! have done their part and it is committed, then sent in the order of the statement's rows.
use super::super::answer::Answer;
use super::super::{Outcome, Session};
use super::{Combined, Loading, Rows, Work};
use crate::exec::{Cells, Column, ExecError, Row, binary_check, binary_row};
use crate::pool::Place;
use crate::ring::Buf;
use coregate_planner::plan::{Effects, Plan, Route, Target};
use coregate_planner::resolve::Resolved;
use coregate_planner::snapshot::KeyRange;
use coregate_protocol::column::ColumnDefinition;
use coregate_protocol::frame::PacketWriter;
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::walker::{PacketRole, ResponseKind};
use coregate_protocol::{Capabilities, codec};
use std::cell::RefCell;

/// What is kept of a statement's rows.
#[derive(Default)]
pub(in crate::session) struct Returned {
    /// The first shard's column definitions, as it sent them.
    head: Vec<Vec<u8>>,
    /// Whose definitions are being read.
    head_from: Option<Place>,
    capabilities: Option<Capabilities>,
    /// Of each shard, as its rows have come.
    parts: Vec<(Place, Vec<Vec<u8>>)>,
    /// Those whose order is settled.
    rows: Vec<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
    /// Where the statement's rows go, in their order, if that is known.
    order: Vec<Place>,
    /// The rows are in the binary protocol.
    binary: bool,
}

impl Returned {
    pub(in crate::session) fn new(order: Vec<Place>, bytes_max: usize) -> Self {
        Self { order, bytes_max, ..Self::default() }
    }

    /// A packet of a shard's answer.
    pub(super) fn packet(
        &mut self,
        place: Place,
        (role, payload): (PacketRole, &[u8]),
        kind: ResponseKind,
        capabilities: Capabilities,
    ) -> Result<(), ExecError> {
        match role {
            PacketRole::ColumnCount { .. } => {
                if self.capabilities.is_none() {
                    self.capabilities = Some(capabilities);
                    self.binary = kind == ResponseKind::Execute;
                    self.head_from = Some(place);
                }
                if !self.parts.iter().any(|(known, _)| *known == place) {
                    self.parts.push((place, Vec::new()));
                }
            }
            PacketRole::ColumnDef if self.head_from == Some(place) => {
                self.head.push(payload.to_vec())
            }
            PacketRole::Row => {
                self.head_ends(place);
                self.bytes += payload.len() + size_of::<Vec<u8>>();
                if self.bytes > self.bytes_max {
                    return Err(ExecError::Memory(self.bytes_max));
                }
                if let Some((_, rows)) = self.parts.iter_mut().find(|(known, _)| *known == place) {
                    rows.push(payload.to_vec());
                }
            }
            PacketRole::RowsEnd => self.head_ends(place),
            _ => {}
        }
        Ok(())
    }

    fn head_ends(&mut self, place: Place) {
        if self.head_from == Some(place) {
            self.head_from = None;
        }
    }

    /// Puts the rows of all shards in the order of the statement's, where each of these has given
    /// one.
    pub(in crate::session) fn settle(&mut self, order: &[Place]) {
        let mut parts = std::mem::take(&mut self.parts);
        parts.sort_by_key(|(place, _)| *place);
        let wanted = |place: &Place| order.iter().filter(|p| *p == place).count();
        let complete = !order.is_empty()
            && parts
                .iter()
                .all(|(place, rows)| rows.len() == wanted(place));
        let mut parts: Vec<_> = parts
            .into_iter()
            .map(|(place, rows)| (place, rows.into_iter()))
            .collect();
        if complete {
            for place in order {
                let part = parts.iter_mut().find(|(known, _)| known == place);
                self.rows.extend(part.and_then(|(_, rows)| rows.next()));
            }
        }
        for (_, rest) in &mut parts {
            self.rows.extend(rest);
        }
    }

    /// Adds those of another step.
    pub(in crate::session) fn join(&mut self, mut other: Self) {
        other.settle(&[]);
        if self.capabilities.is_none() {
            (self.head, self.capabilities, self.binary) =
                (other.head, other.capabilities, other.binary);
            self.bytes_max = other.bytes_max;
        }
        self.bytes += other.bytes;
        self.rows.append(&mut other.rows);
    }

    /// Takes them to go on with another step, which may keep so many bytes.
    pub(in crate::session) fn taken(&mut self, bytes_max: usize) -> Self {
        Self { bytes_max, ..std::mem::take(self) }
    }

    /// Has any server answered with rows, be they none?
    pub(in crate::session) fn is_some(&self) -> bool {
        self.capabilities.is_some()
    }

    fn columns(&self) -> Outcome<Vec<Column>> {
        let capabilities = self.capabilities.unwrap_or(Capabilities::empty());
        let columns = self
            .head
            .iter()
            .map(|packet| Ok(Column::of(&ColumnDefinition::parse(packet, capabilities)?)));
        columns.collect()
    }

    /// Can they be given to the client as it wants them? Asked before anything is committed.
    pub(in crate::session) fn check(&self, answer: &Answer) -> Outcome {
        if self.is_some() && answer.binary && !self.binary {
            binary_check(&self.columns()?)?;
        }
        Ok(())
    }
}

impl Session {
    /// What becomes of the rows of a change.
    pub(in crate::session) fn rows_of(
        &self,
        plan: &Plan,
        route: &Route,
        resolved: &Resolved,
    ) -> Rows<'static> {
        if let Some(load) = &route.load {
            return Rows::Load(Box::new(Loading::new((**load).clone(), self.ranges_of(route))));
        }
        if !plan.effects.contains(Effects::RETURNS) {
            return Rows::Pass;
        }
        let memory = self.query_memory();
        Rows::Return(Box::new(RefCell::new(Returned::new(self.order_of(route, resolved), memory))))
    }

    fn ranges_of(&self, route: &Route) -> Vec<(Place, KeyRange)> {
        let snapshot = self.core.snapshot.borrow();
        let Target::Keyspace { keyspace, .. } = &route.to else { return Vec::new() };
        let shards = snapshot
            .keyspaces
            .get(usize::from(*keyspace))
            .map(|k| k.shards.as_slice());
        let kind = route.tablet_kind.into();
        let shards = shards.unwrap_or_default().iter();
        shards
            .map(|shard| (Place::Shard { shard: shard.id, kind }, shard.range.clone()))
            .collect()
    }

    /// The shards of an INSERT's rows, in their order, as far as that is known.
    pub(in crate::session) fn order_of(&self, route: &Route, resolved: &Resolved) -> Vec<Place> {
        let snapshot = self.core.snapshot.borrow();
        let Target::Keyspace { keyspace, .. } = &route.to else { return Vec::new() };
        let shards = snapshot
            .keyspaces
            .get(usize::from(*keyspace))
            .map(|k| k.shards.as_slice());
        let place = |shard: &u16| {
            let shard = shards?.get(usize::from(*shard))?;
            Some(Place::Shard { shard: shard.id, kind: route.tablet_kind.into() })
        };
        let order: Option<Vec<Place>> = resolved.places.iter().map(place).collect();
        order.unwrap_or_default()
    }

    /// Answers a change with the rows that it gave. `None`: it gave none, not even columns.
    pub(in crate::session) fn send_returned(
        &mut self,
        mut returned: Returned,
        warnings: u16,
        answer: &mut Answer,
    ) -> Outcome<Option<u64>> {
        let Some(capabilities) = returned.capabilities else { return Ok(None) };
        let order = std::mem::take(&mut returned.order);
        returned.settle(&order);
        let columns = returned.columns()?;
        let end =
            OkPacket { status: self.status() | answer.flags(), warnings, ..OkPacket::default() };
        let binary = answer.binary;
        let mut out = Vec::new();
        let mut writer = PacketWriter::new(&mut out, &mut answer.seq);
        writer.packet(|w| codec::put_lenenc_int(w, columns.len() as u64));
        for packet in &returned.head {
            let column = ColumnDefinition::parse(packet, capabilities)?;
            writer.packet(|w| column.encode(self.client.capabilities, w));
        }
        if !self
            .client
            .capabilities
            .contains(Capabilities::DEPRECATE_EOF)
        {
            writer.packet(|w| encode_rows_end(&end, self.client.capabilities, w));
        }
        let mut cells = Cells::default();
        for payload in &returned.rows {
            if binary && !returned.binary {
                cells.find(payload, columns.len())?;
                let row = binary_row(Row { payload, cells: &cells }, &columns)?;
                writer.packet(|w| w.extend_from_slice(&row));
            } else {
                writer.packet(|w| w.extend_from_slice(payload));
            }
        }
        writer.packet(|w| encode_rows_end(&end, self.client.capabilities, w));
        self.client.stream.link.send(Buf::from(out));
        Ok(Some(returned.rows.len() as u64))
    }
}

impl Work<'_> {
    /// An outcome whose rows the client can have as it wants them, or an error.
    pub(super) fn checked(&self, result: Outcome<Combined>, answer: &Answer) -> Outcome<Combined> {
        match (result, self.returned()) {
            (Ok(combined), Some(returned)) => returned.borrow().check(answer).map(|()| combined),
            (result, _) => result,
        }
    }

    /// The rows that it keeps, if it is a change that gives some.
    pub(super) fn returned(&self) -> Option<&RefCell<Returned>> {
        match &self.rows {
            Rows::Return(returned) => Some(&**returned),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Kind;
    use coregate_planner::identity::ShardId;

    fn place(shard: u32) -> Place {
        Place::Shard { shard: ShardId(shard), kind: Kind::Primary }
    }

    fn rows(parts: &[(u32, &[&str])], order: &[u32]) -> Vec<String> {
        let parts = parts.iter().map(|(shard, rows)| {
            (place(*shard), rows.iter().map(|row| row.as_bytes().to_vec()).collect())
        });
        let mut returned = Returned { parts: parts.collect(), ..Returned::default() };
        let order: Vec<Place> = order.iter().map(|shard| place(*shard)).collect();
        returned.settle(&order);
        let rows = returned.rows.into_iter();
        rows.map(|row| String::from_utf8(row).unwrap()).collect()
    }

    #[test]
    fn rows_come_in_the_order_of_the_statement_s() {
        let parts: &[(u32, &[&str])] = &[(2, &["b", "c"]), (1, &["a", "d"])];
        assert_eq!(rows(parts, &[1, 2, 2, 1]), ["a", "b", "c", "d"]);
        // Some are left out: which ones is not known.
        assert_eq!(rows(parts, &[1, 2, 2, 1, 1]), ["a", "d", "b", "c"]);
        assert_eq!(rows(parts, &[]), ["a", "d", "b", "c"]);
    }
}
