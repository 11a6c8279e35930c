//! Do all shards answer with the same columns? Where DDL has reached some of them only, the same
//! text means other columns elsewhere: rows put under the first shard's names would be wrong.
use super::super::Outcome;
use crate::error::sql_error;
use ahash::RandomState;
use coregate_planner::control::SqlError;
use coregate_protocol::Capabilities;
use coregate_protocol::column::{ColumnDefinition, ColumnFlags, ColumnType};
use coregate_protocol::walker::PacketRole;

/// The columns of one shard's answer, as a hash: nothing is kept of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Definitions(u64);

impl Definitions {
    pub(super) fn add(&mut self, payload: &[u8], capabilities: Capabilities) -> Outcome {
        const SEED: RandomState = RandomState::with_seeds(1, 2, 3, 4);
        let column = ColumnDefinition::parse(payload, capabilities)?;
        // MariaDB calls some texts unsigned from the second execution on.
        let unsigned =
            is_number(column.column_type) && column.flags.contains(ColumnFlags::UNSIGNED);
        self.0 = SEED.hash_one((self.0, column.name, on_the_wire(column.column_type), unsigned));
        Ok(())
    }

    pub(super) fn of<'p>(
        packets: impl IntoIterator<Item = &'p [u8]>,
        capabilities: Capabilities,
    ) -> Outcome<Self> {
        let mut all = Self::default();
        for packet in packets {
            all.add(packet, capabilities)?;
        }
        Ok(all)
    }
}

/// The columns of one shard after another, which must be those of the first.
#[derive(Default)]
pub(super) struct Alike {
    first: Option<Definitions>,
    /// Of the shard whose answer is read; `None` once it is compared.
    theirs: Option<Definitions>,
}

impl Alike {
    pub(super) fn begin_shard(&mut self) {
        self.theirs = Some(Definitions::default());
    }

    pub(super) fn note(
        &mut self,
        role: PacketRole,
        packet: &[u8],
        capabilities: Capabilities,
    ) -> Outcome {
        match &mut self.theirs {
            Some(theirs) if role == PacketRole::ColumnDef => theirs.add(packet, capabilities),
            _ => Ok(()),
        }
    }

    /// All columns of the shard have come.
    pub(super) fn check(&mut self) -> Outcome {
        match self.theirs.take() {
            Some(theirs) if *self.first.get_or_insert(theirs) != theirs => Err(different().into()),
            _ => Ok(()),
        }
    }
}

/// Texts of all lengths are read alike.
fn on_the_wire(column_type: ColumnType) -> u8 {
    use ColumnType as T;
    let texts =
        [T::VARCHAR, T::VAR_STRING, T::STRING, T::TINY_BLOB, T::MEDIUM_BLOB, T::LONG_BLOB, T::BLOB];
    if texts.contains(&column_type) { T::STRING.0 } else { column_type.0 }
}

fn is_number(column_type: ColumnType) -> bool {
    use ColumnType as T;
    [
        T::TINY,
        T::SHORT,
        T::INT24,
        T::LONG,
        T::LONGLONG,
        T::YEAR,
        T::FLOAT,
        T::DOUBLE,
        T::DECIMAL,
        T::NEWDECIMAL,
    ]
    .contains(&column_type)
}

#[cold]
pub(super) fn different() -> SqlError {
    sql_error(
        1105,
        "the shards answered with different columns; a table must have the same definition on all \
            of them, and DDL may have reached some \
         only: run it again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(columns: &[(&str, ColumnType)]) -> Definitions {
        let packets = columns.iter().map(|(name, column_type)| {
            let mut out = Vec::new();
            ColumnDefinition::expression(name.as_bytes(), *column_type)
                .encode(Capabilities::empty(), &mut out);
            out
        });
        let packets: Vec<Vec<u8>> = packets.collect();
        Definitions::of(packets.iter().map(Vec::as_slice), Capabilities::empty())
            .unwrap_or_default()
    }

    #[test]
    fn names_types_and_their_order_count() {
        use ColumnType as T;
        let first = of(&[("a", T::LONG), ("b", T::VAR_STRING)]);
        assert_eq!(first, of(&[("a", T::LONG), ("b", T::BLOB)]), "texts are alike");
        for other in [
            &[("b", T::VAR_STRING), ("a", T::LONG)][..],
            &[("a", T::LONGLONG), ("b", T::VAR_STRING)],
            &[("a", T::LONG), ("c", T::VAR_STRING)],
            &[("a", T::LONG)],
            &[("a", T::LONG), ("b", T::VAR_STRING), ("c", T::LONG)],
        ] {
            assert_ne!(first, of(other));
        }
    }

    #[test]
    fn the_sign_is_that_of_numbers_alone() {
        let of = |column_type, flags| {
            let mut packet = Vec::new();
            let column = ColumnDefinition::expression(b"c", column_type);
            ColumnDefinition { flags, ..column }.encode(Capabilities::empty(), &mut packet);
            Definitions::of([packet.as_slice()], Capabilities::empty()).unwrap()
        };
        let both = |column_type| {
            (of(column_type, ColumnFlags::empty()), of(column_type, ColumnFlags::UNSIGNED))
        };
        let (signed, unsigned) = both(ColumnType::LONGLONG);
        assert_ne!(signed, unsigned);
        // As MariaDB has `CONV(id, ?, ?)` from the second execution on.
        let (first, second) = both(ColumnType::VAR_STRING);
        assert_eq!(first, second);
    }
}
