//! Rows of several shards merged on their way: the operators of `exec`, driven by what the sockets
//! bring.
use super::super::answer::Answer;
use super::super::relay::step;
use super::super::{Failure, Outcome, Session};
use super::definitions::{Definitions, different};
use super::{Combined, Merging, Part, Parts, error_of};
use crate::error::sql_error;
use crate::exec::{Collected, Column, ExecError, Feed, Flow, Heap, Keys, Next, Output, Pipeline};
use crate::link::{Packet, UNSENT_MAX};
use crate::pool::Exchange;
use crate::ring::Buf;
use coregate_planner::plan::tree::{Finish, Gather};
use coregate_protocol::column::{ColumnDefinition, ColumnFlags};
use coregate_protocol::response::{OkPacket, encode_rows_end};
use coregate_protocol::walker::{FeedState, PacketRole, Summary};
use coregate_protocol::{Capabilities, Status, codec, frame};
use std::rc::Rc;

/// Packets are sent when so many bytes have gathered.
const CHUNK: usize = 32 << 10;

impl From<ExecError> for Failure {
    fn from(error: ExecError) -> Self {
        sql_error(error.code(), error.to_string()).into()
    }
}

/// What stands in front of each shard's rows: the definitions of its columns.
pub(super) type Heads = Vec<Vec<Packet>>;

/// The answers of a statement's shards, from their first rows on.
struct Merged {
    feeds: Vec<Feed>,
    keys: Keys,
    pipeline: Pipeline,
    out: Output,
}

impl Session {
    /// Reads the rows of all shards in their common order, and sends the client what the plan makes
    /// of them.
    pub(in crate::session) async fn merge(
        &mut self,
        parts: &mut Parts,
        merging: &Merging<'_>,
        answer: &mut Answer,
    ) -> Outcome<Combined> {
        let core = Rc::clone(&self.core);
        let _awaited = Exchange::begin(&core);
        let heads = match self.read_heads(parts).await? {
            Ok(heads) => heads,
            Err(error) => return self.shard_failed(parts, &error).await,
        };
        let (mut merged, shown) = self.begin_merge(parts, &heads, merging, answer)?;
        let result = self.merge_rows(parts, &mut merged).await;
        // What was read and not used belongs to whoever reads on.
        for (part, feed) in parts.iter_mut().zip(&mut merged.feeds) {
            match feed.rest() {
                Some(_) if part.walker.state() == FeedState::Done => part.backend.tainted = true,
                Some(rest) => part.backend.stream.put_back(rest),
                None => {}
            }
        }
        let mut out = merged.out;
        if merging.into.is_none() {
            answer.seq = out.seq;
        }
        let failed = match result {
            Ok(None) => None,
            Ok(Some(error)) => Some(self.shard_failed(parts, &error).await),
            Err(failure) => Some(Err(failure)),
        };
        if let Some(failed) = failed {
            // Before the error is told, what was written has to go: its packets are counted.
            self.flush(&mut out);
            return failed;
        }
        // A LIMIT that was reached leaves a bounded rest. Where there is no transaction, an error
        // in rows that are not wanted is none; in one, it may have undone what the statement locks,
        // and what came before.
        let unread = self.drain_rest(parts, 0).await?;
        if let Some(error) = unread
            && (self.in_transaction() || !self.state.autocommit)
        {
            self.flush(&mut out);
            return Err(error.into());
        }
        let warned = parts.iter().all(|part| part.backend.warnings > 0);
        let alike = if warned { self.warned_alike(parts).await } else { None };
        if let Some(into) = merging.into {
            let sum = Summary { rows: out.rows, columns: shown as u16, ..Summary::default() };
            *into.borrow_mut() = out.collected.take().unwrap_or_default();
            return Ok((sum, None));
        }
        Ok((self.end_merge(parts, out, (shown, alike), merging.finish.is_some(), answer), None))
    }

    fn flush(&mut self, out: &mut Output) {
        if !out.packets.is_empty() {
            self.client
                .stream
                .link
                .send(Buf::from(std::mem::take(&mut out.packets)));
        }
    }

    /// The packets in front of each shard's rows, or the error that a shard answers with.
    pub(super) async fn read_heads(
        &mut self,
        parts: &mut Parts,
    ) -> Outcome<Result<Heads, Vec<u8>>> {
        let mut heads = Heads::with_capacity(parts.len());
        let mut definitions = None;
        self.running.asked.failed = 0;
        let mut at = 0;
        while let Some(part) = parts.get_mut(at) {
            match self.read_head(part).await? {
                Ok(head) => {
                    let packets = head.iter().map(Packet::payload);
                    let theirs = Definitions::of(packets, part.backend.capabilities)?;
                    if *definitions.get_or_insert(theirs) != theirs {
                        return Err(different().into());
                    }
                    heads.push(head);
                }
                Err(error) if self.leaves_out(&error_of(&error), parts.len() - 1) => {
                    self.leave_out(parts, at);
                    continue;
                }
                Err(error) => return Ok(Err(error)),
            }
            at += 1;
        }
        Ok(Ok(heads))
    }

    async fn read_head(&mut self, part: &mut Part) -> Outcome<Result<Vec<Packet>, Vec<u8>>> {
        let mut head = Vec::new();
        while !part.walker.in_rows() {
            let packet = self
                .next_packet(&mut part.backend, part.walker.next_seq())
                .await?;
            match step(&mut part.walker, packet.payload(), packet.seq)? {
                PacketRole::ColumnDef => head.push(packet),
                PacketRole::ColumnCount { .. } | PacketRole::ColumnsEof | PacketRole::Progress => {}
                PacketRole::Err => {
                    part.backend.answered(part.walker.summary());
                    return Ok(Err(packet.payload().to_vec()));
                }
                _ => return Err(sql_error(1105, "a shard answered a query without rows").into()),
            }
        }
        Ok(Ok(head))
    }

    /// A shard answers with an error: the others' answers are read and dropped, so that their
    /// connections stay usable.
    #[cold]
    pub(super) async fn shard_failed(
        &mut self,
        parts: &mut Parts,
        error: &[u8],
    ) -> Outcome<Combined> {
        let error = error_of(error);
        self.drain_rest(parts, 0).await?;
        Err(error.into())
    }

    /// Sends the head of the answer, and makes ready for the rows.
    fn begin_merge(
        &mut self,
        parts: &Parts,
        heads: &Heads,
        merging: &Merging<'_>,
        answer: &Answer,
    ) -> Outcome<(Merged, usize)> {
        let mut columns: Vec<Column> = Vec::new();
        let mut keys = Keys::default();
        for (at, (part, head)) in parts.iter().zip(heads).enumerate() {
            let theirs = columns_of(head, part.backend.capabilities)?;
            if at == 0 {
                keys = Keys::new(&merging.merge.order, &theirs)?;
                columns = theirs;
            } else if theirs.len() != columns.len() || !keys.fit(&columns, &theirs) {
                return Err(different().into());
            }
        }
        let width = usize::from(merging.merge.width);
        if width != 0 && columns.len() != width {
            return Err(sql_error(
                1105,
                format!(
                    "the shards answered with {} columns where the plan has {width}; their tables \
                        were changed, and the change is not \
                     known yet: try again",
                    columns.len()
                ),
            )
            .into());
        }
        let shown = usize::from(merging.merge.shown).min(columns.len());
        let memory = self.query_memory();
        let pipeline =
            Pipeline::new(merging.merge, &columns, (merging.skip, merging.take), memory)?;
        if merging.into.is_some() {
            let collected = Collected::shown(&columns, shown, memory);
            let out = Output::collecting(collected);
            let feeds = heads.iter().map(|_| Feed::new(columns.len())).collect();
            return Ok((Merged { feeds, keys, pipeline, out }, shown));
        }
        let mut out = Output::new(&columns, shown, answer.binary, answer.seq)?;
        let head = heads.first().map_or(&[][..], Vec::as_slice);
        let capabilities = parts
            .first()
            .map_or(self.client.capabilities, |part| part.backend.capabilities);
        self.put_head(head, shown, merging.finish, capabilities, answer, &mut out)?;
        let feeds = heads.iter().map(|_| Feed::new(columns.len())).collect();
        Ok((Merged { feeds, keys, pipeline, out }, shown))
    }

    /// Number and definitions of the columns that the client gets, as the first shard gave them.
    fn put_head(
        &self,
        head: &[Packet],
        shown: usize,
        finish: Option<&Finish>,
        capabilities: Capabilities,
        answer: &Answer,
        out: &mut Output,
    ) -> Outcome {
        // An older server's definitions lack what this client expects of each.
        let extended = Capabilities::MARIADB_EXTENDED_METADATA;
        let translated =
            capabilities.contains(extended) != self.client.capabilities.contains(extended);
        let mut writer = frame::PacketWriter::new(&mut out.packets, &mut out.seq);
        writer.packet(|w| codec::put_lenenc_int(w, shown as u64));
        for packet in head.iter().take(shown) {
            match finish {
                None if !translated => writer.packet(|w| w.extend_from_slice(packet.payload())),
                finish => {
                    let mut column = ColumnDefinition::parse(packet.payload(), capabilities)?;
                    if let Some(finish) = finish {
                        name_the_real(finish, &mut column);
                    }
                    writer.packet(|w| column.encode(self.client.capabilities, w));
                }
            }
        }
        if !self
            .client
            .capabilities
            .contains(Capabilities::DEPRECATE_EOF)
        {
            let end = OkPacket { status: self.status() | answer.flags(), ..OkPacket::default() };
            writer.packet(|w| encode_rows_end(&end, self.client.capabilities, w));
        }
        Ok(())
    }

    /// Merges until the rows end or no more are wanted. `Some`: a shard's error.
    async fn merge_rows(
        &mut self,
        parts: &mut Parts,
        merged: &mut Merged,
    ) -> Outcome<Option<Vec<u8>>> {
        let mut heap = Heap::new(parts.len());
        for at in 0..parts.len() {
            match self.next_row(parts, merged, at).await? {
                Ahead::Row => {
                    let Merged { feeds, keys, .. } = merged;
                    read_keys(&mut heap, feeds, keys, at)?;
                    heap.add(at, keys, |shard| payload(feeds, shard));
                }
                Ahead::End => {}
                Ahead::Error(error) => return Ok(Some(error)),
            }
        }
        while let Some(at) = heap.first() {
            let Merged { feeds, keys, pipeline, out } = merged;
            let flow = match feeds.get(at) {
                Some(feed) => pipeline.push(feed.row(), heap.values(at), keys, out)?,
                None => Flow::Enough,
            };
            if out.packets.len() >= CHUNK {
                self.flush(out);
                if self.client.stream.link.socket.unsent() >= UNSENT_MAX {
                    self.wait_for_client().await?;
                }
            }
            if flow == Flow::Enough {
                return Ok(None);
            }
            let ahead = self.next_row(parts, merged, at).await?;
            let Merged { feeds, keys, .. } = merged;
            match ahead {
                Ahead::Row => {
                    read_keys(&mut heap, feeds, keys, at)?;
                    heap.replaced(keys, |shard| payload(feeds, shard));
                }
                Ahead::End => heap.ended(keys, |shard| payload(feeds, shard)),
                Ahead::Error(error) => return Ok(Some(error)),
            }
        }
        merged.pipeline.finish(&mut merged.out)?;
        Ok(None)
    }

    /// Goes to a shard's next row, waiting for it where it has not come yet.
    async fn next_row(
        &mut self,
        parts: &mut Parts,
        merged: &mut Merged,
        at: usize,
    ) -> Outcome<Ahead> {
        let count = parts.len();
        let (Some(part), Some(feed)) = (parts.get_mut(at), merged.feeds.get_mut(at)) else {
            return Ok(Ahead::End);
        };
        loop {
            match feed.next(&mut part.walker)? {
                Next::Row => return Ok(Ahead::Row),
                Next::End => {
                    part.backend.answered(part.walker.summary());
                    return Ok(Ahead::End);
                }
                Next::Error(error) => {
                    part.backend.answered(part.walker.summary());
                    return Ok(match self.leaves_out_rest(&error_of(&error), count) {
                        true => Ahead::End,
                        false => Ahead::Error(error),
                    });
                }
                Next::Wait => {
                    let bytes = self
                        .wait_for_server(&mut part.backend, |backend, cx| backend.poll_answer(cx))
                        .await??;
                    self.core.metrics().bytes_relayed.add(bytes.len() as u64);
                    part.backend.stream.link.socket.expect_more(&bytes);
                    feed.give(bytes);
                }
            }
        }
    }

    /// Sends what ends the answer.
    fn end_merge(
        &mut self,
        parts: &Parts,
        mut out: Output,
        (shown, warnings): (usize, Option<u16>),
        apart: bool,
        answer: &mut Answer,
    ) -> Summary {
        let mut sum = Summary { rows: out.rows, columns: shown as u16, ..Summary::default() };
        for part in parts {
            let summary = part.walker.summary();
            sum.status = summary.status;
            sum.warnings = sum.warnings.saturating_add(summary.warnings);
        }
        if let Some(warnings) = warnings {
            sum.warnings = warnings;
        }
        sum.warnings = sum.warnings.saturating_add(self.running.asked.left_out);
        if apart || self.transaction.reads_snapshot() {
            // That connection takes no part in the session's transaction, or the client in this.
            sum.status = self.status();
        }
        let mut end = OkPacket {
            status: sum.status | answer.flags(),
            warnings: sum.warnings,
            ..OkPacket::default()
        };
        if out.rows == 0 && answer.opens_empty_cursor(self.client.capabilities) {
            end.status |= Status::CURSOR_EXISTS;
        }
        frame::PacketWriter::new(&mut out.packets, &mut out.seq)
            .packet(|w| encode_rows_end(&end, self.client.capabilities, w));
        answer.seq = out.seq;
        self.flush(&mut out);
        sum
    }
}

/// Where a shard stands.
enum Ahead {
    Row,
    End,
    Error(Vec<u8>),
}

pub(super) fn columns_of(head: &[Packet], capabilities: Capabilities) -> Outcome<Vec<Column>> {
    head.iter()
        .map(|packet| Ok(Column::of(&ColumnDefinition::parse(packet.payload(), capabilities)?)))
        .collect()
}

/// The client sees the table that a gathered one stands for, with its keys.
pub(in crate::session) fn name_the_real<'a>(finish: &'a Finish, column: &mut ColumnDefinition<'a>) {
    // Some plans of MariaDB give the name of the query's own table, not the temporary one's.
    let named = |name: fn(&Gather) -> &String| {
        let mut gathers = finish.gathers.iter();
        gathers.find(|gather| name(gather).as_bytes() == column.org_table)
    };
    let gather = named(|gather| &gather.table).or_else(|| named(|gather| &gather.org_table));
    let Some(gather) = gather else { return };
    column.schema = gather.keyspace.as_bytes();
    column.org_table = gather.org_table.as_bytes();
    let real = gather
        .columns
        .iter()
        .find(|real| real.name.as_bytes().eq_ignore_ascii_case(column.org_name));
    if let Some(real) = real {
        let keys = ColumnFlags::PRI_KEY
            | ColumnFlags::UNIQUE_KEY
            | ColumnFlags::MULTIPLE_KEY
            | ColumnFlags::PART_KEY
            | ColumnFlags::AUTO_INCREMENT
            | ColumnFlags::NO_DEFAULT_VALUE;
        // The temporary table's own, where the server's way of running the query leaves them, but
        // for what it has more.
        let real = ColumnFlags::from_bits_retain(real.flags);
        column.flags -= keys - real;
        if column.flags.contains(ColumnFlags::PART_KEY) {
            // A key that is not unique stands for one that is.
            column.flags -= ColumnFlags::MULTIPLE_KEY;
            column.flags |= real & keys;
        }
    }
}

fn payload(feeds: &[Feed], shard: usize) -> &[u8] {
    feeds.get(shard).map_or(&[], |feed| feed.row().payload)
}

fn read_keys(heap: &mut Heap, feeds: &[Feed], keys: &Keys, shard: usize) -> Outcome {
    if let (Some(values), Some(feed)) = (heap.values_mut(shard), feeds.get(shard)) {
        keys.read(feed.row(), values)?;
    }
    Ok(())
}
