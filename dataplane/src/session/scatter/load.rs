//! LOAD DATA LOCAL INFILE into several shards: every shard is sent the statement and asks for the
//! file; each line of the client's goes on to the shard that it belongs to, as it is. No more is
//! held than a line and a packet for each shard.
use super::super::answer::Answer;
use super::super::info::Info;
use super::super::relay::step;
use super::super::{Failure, Outcome, Session};
use super::{Combined, Part, Parts, Work, error_of};
use crate::error::sql_error;
use crate::exec::Lines;
use crate::link::UNSENT_MAX;
use crate::pool::Place;
use crate::ring::Buf;
use coregate_planner::control::SqlError;
use coregate_planner::plan::load::Load;
use coregate_planner::resolve::keyspace_id;
use coregate_planner::snapshot::KeyRange;
use coregate_protocol::walker::{FeedState, PacketRole, Summary};
use coregate_protocol::{Capabilities, frame};
use std::future::poll_fn;

/// A shard's lines are sent when there are so many bytes.
const PACKET: usize = 64 << 10;

/// A packet of the protocol is continued in another one behind so many bytes.
const FRAME_MAX: usize = 0xff_ffff;

/// Codes of a statement that was stopped from here: by KILL, or its time limit.
const INTERRUPTED: [u16; 2] = [1317, 3024];

/// Which lines go where.
pub(in crate::session) struct Loading {
    load: Load,
    shards: Vec<(Place, KeyRange)>,
}

impl Loading {
    pub(in crate::session) fn new(load: Load, shards: Vec<(Place, KeyRange)>) -> Self {
        Self { load, shards }
    }

    /// The number that the line gives to a column of a sequence's.
    fn number(&self, lines: &Lines<'_>, line: u64) -> Result<i128, SqlError> {
        let Some(numbers) = &self.load.numbered else { return Ok(0) };
        let value = lines.value(usize::from(numbers.field));
        let number = value.as_deref().and_then(plain_number);
        number.filter(|number| *number != 0).ok_or_else(|| {
            sql_error(
                1235,
                format!(
                    "VT12001: unsupported: line {line} of the file has no whole number for a \
                        column whose numbers come from a sequence; \
                     give it one"
                ),
            )
        })
    }

    /// The shard of the line that was found; `None`: all of them have it.
    fn place(&self, lines: &Lines<'_>, line: u64) -> Result<Option<Place>, SqlError> {
        let Some(by) = &self.load.by else { return Ok(None) };
        let values: Vec<Option<Vec<u8>>> = by
            .fields
            .iter()
            .map(|field| lines.value(usize::from(*field)))
            .collect();
        let refused = |why: &str| {
            let columns = by.columns.join("', '");
            sql_error(
                1105,
                format!("line {line} of the file cannot be placed by '{columns}': {why}"),
            )
        };
        if values.iter().any(Option::is_none) {
            return Err(refused("it has no value there"));
        }
        if !by.utf8 && values.iter().flatten().any(|value| !value.is_ascii()) {
            return Err(refused(
                "the value is not ASCII; say CHARACTER SET utf8mb4 of a file in UTF-8",
            ));
        }
        let id = keyspace_id(by.vindex.as_ref(), &by.families, values.iter().map(Option::as_deref))
            .map_err(|_| refused("the column would hold another value than the file"))?;
        let found = self.shards.iter().find(|(_, range)| range.contains(&id));
        let (place, _) = found.ok_or_else(|| refused("no shard covers its keyspace id"))?;
        Ok(Some(*place))
    }
}

/// A number without a point, an exponent or words behind it.
fn plain_number(value: &[u8]) -> Option<i128> {
    let number: i128 = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (number.unsigned_abs() <= u128::from(u64::MAX)).then_some(number)
}

/// What was read of a file.
struct Read {
    lines: u64,
    /// The largest number of a sequence's column.
    largest: i128,
}

/// What waits for one shard.
struct Outgoing {
    bytes: Vec<u8>,
    /// The sequence id of its next packet.
    seq: u8,
}

impl Session {
    /// Divides the client's file among the shards, and adds up what these say.
    pub(super) async fn load_file(
        &mut self,
        parts: &mut Parts,
        work: &Work<'_>,
        loading: &Loading,
        (undoable, info): (bool, &mut Info),
        answer: &mut Answer,
    ) -> Outcome<Combined> {
        match self.load_parts(parts, work, loading, answer).await? {
            None => self.add_up(parts, work, undoable, info).await,
            error => Ok((Summary::default(), error)),
        }
    }

    /// Takes the client's file and divides it among the shards, whose answers come then. `Some`: it
    /// must not be done.
    async fn load_parts(
        &mut self,
        parts: &mut Parts,
        work: &Work<'_>,
        loading: &Loading,
        answer: &mut Answer,
    ) -> Outcome<Option<SqlError>> {
        if let Some(error) = self.await_requests(parts, answer, work).await? {
            return Ok(Some(error));
        }
        let memory = self.query_memory();
        let mut lines = Lines::new(&loading.load.format, loading.load.skip, memory);
        let mut outgoing: Vec<Outgoing> = parts
            .iter()
            .map(|part| Outgoing { bytes: Vec::new(), seq: part.walker.next_seq() })
            .collect();
        let (mut read, mut failed) = (Read { lines: loading.load.skip, largest: 0 }, None);
        loop {
            let Ok(Some(packet)) = self.client.stream.packet(answer.seq).await else {
                return Err(Failure::Close);
            };
            let bytes = packet.payload();
            let frames = bytes.len() / FRAME_MAX + 1;
            answer.seq = answer.seq.wrapping_add(frames as u8);
            let last = bytes.is_empty();
            if failed.is_none() {
                lines.give(bytes);
                if last {
                    lines.end();
                }
                let divided = self
                    .divide(parts, loading, &mut lines, &mut outgoing, &mut read)
                    .await;
                match divided {
                    Ok(()) => {}
                    // The rest of the file is read, so that the client hears of it.
                    Err(Failure::Sql(error)) => failed = Some(error),
                    Err(failure) => return Err(failure),
                }
            }
            if last {
                break;
            }
        }
        if failed.is_none() {
            failed = self.move_on(loading, read.largest).await?;
        }
        for (part, out) in parts.iter_mut().zip(&mut outgoing) {
            if failed.is_none() && !out.bytes.is_empty() {
                write(part, out);
            }
            out.bytes.clear();
            let end = out.seq;
            write(part, out);
            part.walker.infile_sent(end);
            part.backend.unknown_state |= loading.load.variables;
        }
        match failed {
            // What still runs is stopped.
            Some(error) if INTERRUPTED.contains(&error.code) => Err(error.into()),
            Some(error) => {
                self.drain_rest(parts, 0).await?;
                Ok(Some(error))
            }
            None => Ok(None),
        }
    }

    /// Takes the sequence behind the largest number of the file, before a row with it can be seen.
    async fn move_on(&mut self, loading: &Loading, largest: i128) -> Outcome<Option<SqlError>> {
        let sequence = loading.load.numbered.as_ref();
        let Some(sequence) = sequence.and_then(|numbers| numbers.sequence.as_ref()) else {
            return Ok(None);
        };
        // One below the first is nothing to a sequence.
        let largest = u64::try_from(largest).unwrap_or_default();
        match self.give_number(sequence, largest).await {
            Ok(()) => Ok(None),
            Err(Failure::Sql(error)) => Ok(Some(error)),
            Err(failure) => Err(failure),
        }
    }

    /// Every shard asks for the file, and the client is asked in its turn. `Some`: a shard does not
    /// want it.
    async fn await_requests(
        &mut self,
        parts: &mut Parts,
        answer: &mut Answer,
        work: &Work<'_>,
    ) -> Outcome<Option<SqlError>> {
        let mut request = Vec::new();
        let mut error = None;
        if !self.client.capabilities.contains(Capabilities::LOCAL_FILES) {
            error = Some(sql_error(
                1148,
                "The used command is not allowed with this MariaDB version: the client does not \
                    offer LOAD DATA LOCAL",
            ));
        }
        for Part { backend, walker, .. } in parts.iter_mut() {
            while walker.state() == FeedState::More {
                let packet = self.next_packet(backend, walker.next_seq()).await?;
                let role = step(walker, packet.payload(), packet.seq)?;
                match role {
                    PacketRole::Err => error = Some(error_of(packet.payload())),
                    PacketRole::LocalInfile => request = packet.payload().to_vec(),
                    _ => {}
                }
                if walker.state() == FeedState::Done {
                    backend.answered(walker.summary());
                }
            }
        }
        if error.is_none()
            && parts
                .iter()
                .any(|part| part.walker.state() != FeedState::LocalInfile)
        {
            error = Some(sql_error(
                1105,
                format!("a shard did not ask for the file of a {:?}", work.plan.class),
            ));
        }
        if error.is_some() {
            for part in parts
                .iter_mut()
                .filter(|p| p.walker.state() == FeedState::LocalInfile)
            {
                let mut out = Outgoing { bytes: Vec::new(), seq: part.walker.next_seq() };
                let end = out.seq;
                write(part, &mut out);
                part.walker.infile_sent(end);
            }
            self.drain_rest(parts, 0).await?;
            return Ok(error);
        }
        let mut out = Vec::new();
        frame::write_packet(&mut out, &mut answer.seq, &request);
        self.client.stream.link.send(Buf::from(out));
        Ok(None)
    }

    /// Sends what waits for a shard, and waits until it has taken most of what it was sent.
    async fn send_lines(&self, part: &mut Part, out: &mut Outgoing) -> Outcome {
        write(part, out);
        let socket = &part.backend.stream.link.socket;
        let sendable = poll_fn(|cx| socket.poll_sendable(cx, UNSENT_MAX));
        let sent = Self::unless_interrupted(&self.client.handle, sendable).await?;
        sent.map_err(|error| part.backend.lost(&error.to_string()).into())
    }

    /// Gives the lines that are whole to their shards.
    async fn divide(
        &mut self,
        parts: &mut Parts,
        loading: &Loading,
        lines: &mut Lines<'_>,
        outgoing: &mut [Outgoing],
        read: &mut Read,
    ) -> Outcome {
        while lines.next()? {
            read.lines += 1;
            read.largest = read.largest.max(loading.number(lines, read.lines)?);
            let place = loading.place(lines, read.lines)?;
            let line = lines.take();
            for (part, out) in parts.iter().zip(outgoing.iter_mut()) {
                if place.is_none_or(|place| place == part.place) {
                    out.bytes.extend_from_slice(line);
                }
            }
            for (part, out) in parts.iter_mut().zip(outgoing.iter_mut()) {
                if out.bytes.len() >= PACKET {
                    self.send_lines(part, out).await?;
                }
            }
        }
        Ok(())
    }
}

/// Writes a packet; an empty one ends the file.
fn write(part: &mut Part, out: &mut Outgoing) {
    let payload = std::mem::take(&mut out.bytes);
    let mut wire = Vec::with_capacity(payload.len() + 4);
    frame::write_packet(&mut wire, &mut out.seq, &payload);
    part.backend.stream.link.send(Buf::from(wire));
}
