//! Rows of several shards kept for the server that finishes a query.
use super::super::{Failure, Outcome, Session};
use super::merge::columns_of;
use super::{Combined, Parts};
use crate::error::sql_error;
use crate::exec::{Feed, Next, Sink};
use crate::pool::Exchange;
use coregate_protocol::column::ColumnDefinition;
use coregate_protocol::walker::{FeedState, Summary};
use std::cell::RefCell;
use std::rc::Rc;

impl Session {
    /// Reads the rows of all shards, one shard after another.
    pub(super) async fn gather(
        &mut self,
        parts: &mut Parts,
        gathered: &RefCell<dyn Sink>,
    ) -> Outcome<Combined> {
        let core = Rc::clone(&self.core);
        let _awaited = Exchange::begin(&core);
        let heads = match self.read_heads(parts).await? {
            Ok(heads) => heads,
            Err(error) => return self.shard_failed(parts, &error).await,
        };
        let asked = gathered.borrow().columns();
        let columns = asked.unwrap_or_else(|| heads.first().map_or(0, Vec::len));
        if heads.iter().any(|head| head.len() != columns) {
            return Err(
                sql_error(1105, "a shard answered with other columns than were asked for").into()
            );
        }
        if let (Some(head), Some(part)) = (heads.first(), parts.first()) {
            let columns = columns_of(head, part.backend.capabilities)?;
            let mut gathered = gathered.borrow_mut();
            gathered.begin(columns);
            if let Some(names) = gathered.names() {
                for packet in head {
                    let column =
                        ColumnDefinition::parse(packet.payload(), part.backend.capabilities)?;
                    names.push(column.name.to_vec());
                }
            }
        }
        let mut sum = Summary { columns: columns as u16, ..Summary::default() };
        for at in 0..parts.len() {
            let mut feed = Feed::new(columns);
            let result = self.gather_part(parts, at, &mut feed, gathered).await;
            if let (Some(part), Some(rest)) = (parts.get_mut(at), feed.rest()) {
                match part.walker.state() {
                    FeedState::Done => part.backend.tainted = true,
                    _ => part.backend.stream.put_back(rest),
                }
            }
            if let Some(error) = result? {
                return self.shard_failed(parts, &error).await;
            }
            if let Some(part) = parts.get(at) {
                sum.rows += part.walker.summary().rows;
                sum.status = part.walker.summary().status;
            }
        }
        Ok((sum, None))
    }

    /// One shard's rows. `Some`: its error.
    async fn gather_part(
        &mut self,
        parts: &mut Parts,
        at: usize,
        feed: &mut Feed,
        gathered: &RefCell<dyn Sink>,
    ) -> Outcome<Option<Vec<u8>>> {
        let count = parts.len();
        let Some(part) = parts.get_mut(at) else { return Ok(None) };
        loop {
            match feed.next(&mut part.walker).map_err(Failure::from)? {
                Next::Row => gathered
                    .borrow_mut()
                    .row(feed.row())
                    .map_err(Failure::from)?,
                Next::End => {
                    part.backend.answered(part.walker.summary());
                    return Ok(None);
                }
                Next::Error(error) => {
                    part.backend.answered(part.walker.summary());
                    let spared = self.leaves_out_rest(&super::error_of(&error), count);
                    return Ok((!spared).then_some(error));
                }
                Next::Wait => {
                    let bytes = self
                        .wait_for_server(&mut part.backend, |backend, cx| backend.poll_answer(cx))
                        .await??;
                    part.backend.stream.link.socket.expect_more(&bytes);
                    feed.give(bytes);
                }
            }
        }
    }
}
