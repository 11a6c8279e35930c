//! Puts a shard's text together from a plan's pieces.
use super::{Binding, EVERYWHERE, Resolved, Scratch, ShardText};
use crate::plan::{Operand, Piece, SessionValue};
use crate::snapshot::ShardIdx;

/// Room for what is written beside the text, and in front of it when it is sent, in bytes.
const ROOM: usize = 64;

/// Writes the text of every shard in the set; `splits`: lists and rows are divided among them.
pub(super) fn write(
    pieces: &[Piece],
    binding: &Binding<'_>,
    scratch: &Scratch,
    splits: bool,
    out: &mut Resolved,
) {
    let rows_split = splits
        && pieces
            .iter()
            .any(|p| matches!(p, Piece::Row { .. } | Piece::CollapsedRows));
    // Divided rows are no longer the statement that was prepared: they run as text. Values of the
    // session are put into a text that is prepared anew.
    let interpolate = !binding.prepared || rows_split || has_clock(pieces);
    out.interpolated = interpolate && binding.prepared;
    for &shard in &scratch.set {
        let size = if rows_split {
            part_size(binding, &scratch.places, shard)
        } else {
            binding.fingerprint.end
        };
        let mut writer = Writer {
            binding,
            places: &scratch.places,
            only: splits.then_some(shard),
            interpolate,
            out: Vec::with_capacity(size + ROOM),
            any_row: false,
        };
        writer.pieces(pieces);
        out.shards
            .push(ShardText { shard, id: Default::default(), text: Some(writer.out) });
    }
}

/// The text for a server that is none of a route's.
pub(super) fn one(pieces: &[Piece], binding: &Binding<'_>) -> Vec<u8> {
    written(pieces, binding, true)
}

/// The same, with parameters where the client has them.
pub(super) fn prepared(pieces: &[Piece], binding: &Binding<'_>) -> Vec<u8> {
    written(pieces, binding, false)
}

fn written(pieces: &[Piece], binding: &Binding<'_>, interpolate: bool) -> Vec<u8> {
    let mut writer = Writer {
        binding,
        places: &[],
        only: None,
        interpolate,
        out: Vec::with_capacity(binding.fingerprint.end + 32),
        any_row: false,
    };
    writer.pieces(pieces);
    writer.out
}

/// About how long the text of a shard's rows is, in bytes.
fn part_size(binding: &Binding<'_>, places: &[ShardIdx], shard: ShardIdx) -> usize {
    let rows = binding.fingerprint.rows.span().map_or(0, |span| span.len());
    let here = places.iter().filter(|place| **place == shard).count();
    // Rows are of different lengths: an eighth more than their share.
    let share = rows / places.len().max(1) * here;
    binding.fingerprint.end - rows + share + share / 8
}

/// Does the text hold values that change from execution to execution?
pub(super) fn has_session(pieces: &[Piece]) -> bool {
    pieces.iter().any(|p| match p {
        Piece::Session(_) => true,
        Piece::Row { pieces, .. } => has_session(pieces),
        _ => false,
    })
}

/// A time that is another one with each execution is not worth a statement that is prepared for it.
pub(super) fn has_clock(pieces: &[Piece]) -> bool {
    // A comment may stand first.
    pieces
        .iter()
        .take(2)
        .any(|piece| *piece == Piece::Session(SessionValue::Clock))
}

struct Writer<'w> {
    binding: &'w Binding<'w>,
    places: &'w [ShardIdx],
    only: Option<ShardIdx>,
    interpolate: bool,
    out: Vec<u8>,
    any_row: bool,
}

impl Writer<'_> {
    fn here(&self, item: usize) -> bool {
        self.only.is_none_or(|shard| {
            self.places
                .get(item)
                .is_none_or(|&place| place == shard || place == EVERYWHERE)
        })
    }

    fn span(&mut self, span: &std::ops::Range<u32>) {
        let text = self.binding.sql.get(span.start as usize..span.end as usize);
        self.out.extend_from_slice(text.unwrap_or_default());
    }

    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            self.piece(piece);
        }
    }

    fn piece(&mut self, piece: &Piece) {
        let fingerprint = self.binding.fingerprint;
        match piece {
            Piece::Verbatim(text) => self.out.extend_from_slice(text),
            Piece::Literal(n) => {
                if let Some(literal) = fingerprint.literals.get(usize::from(*n)) {
                    self.span(&literal.span);
                }
            }
            Piece::Param(n) if self.interpolate => {
                self.binding.session.write_param(*n, &mut self.out)
            }
            Piece::Param(_) => self.out.push(b'?'),
            Piece::Session(SessionValue::Clock | SessionValue::ClockHint) if !self.interpolate => {}
            Piece::Session(which) => self.binding.session.write(*which, &mut self.out),
            Piece::LimitSum { skip: None, take: Operand::Param(_) } if !self.interpolate => {
                self.out.push(b'?')
            }
            Piece::LimitSum { skip, take } => {
                let count = |operand| super::tree::count(self.binding, operand);
                let sum = skip.as_ref().map_or(Ok(0), count);
                let sum = sum.and_then(|skip| Ok(skip.saturating_add(count(take)?)));
                match (sum, take) {
                    (Ok(rows), _) => self.out.extend_from_slice(rows.to_string().as_bytes()),
                    // What is no number is the server's to refuse.
                    (Err(_), Operand::Param(n)) => {
                        self.binding.session.write_param(*n, &mut self.out)
                    }
                    (Err(_), _) => self.out.extend_from_slice(b"-1"),
                }
            }
            Piece::List { list, split } => {
                let items = fingerprint.lists.get(usize::from(*list));
                let items =
                    items.and_then(|l| fingerprint.items.get(l.start as usize..l.end as usize));
                self.out.push(b'(');
                let mut first = true;
                for (n, item) in items.unwrap_or_default().iter().enumerate() {
                    if !*split || self.binding.prepared || self.here(n) {
                        if !std::mem::take(&mut first) {
                            self.out.push(b',');
                        }
                        self.span(&item.span);
                    }
                }
                if first {
                    self.out.extend_from_slice(b"NULL");
                }
                self.out.push(b')');
            }
            Piece::CollapsedRows => {
                for (n, row) in fingerprint.rows.spans.iter().enumerate() {
                    if self.here(n) {
                        self.comma();
                        self.span(row);
                    }
                }
            }
            Piece::Row { row, pieces } => {
                if self.here(usize::from(*row)) {
                    self.comma();
                    self.pieces(pieces);
                }
            }
        }
    }

    fn comma(&mut self) {
        if std::mem::replace(&mut self.any_row, true) {
            self.out.push(b',');
        }
    }
}
