//! Where the columns of a text row lie.
use super::ExecError;
use coregate_protocol::codec::{NULL_MARK, Reader};

/// The places of a row's columns: found once, kept for the next row's use.
#[derive(Debug, Default, Clone)]
pub(crate) struct Cells {
    /// Where each column's value begins and ends in the payload; NULL: `u32::MAX` and the place of
    /// its mark.
    places: Vec<(u32, u32)>,
    /// Where each column begins with its length.
    starts: Vec<u32>,
}

const NULL: u32 = u32::MAX;

impl Cells {
    /// Finds the columns of a text row.
    pub(crate) fn find(&mut self, payload: &[u8], columns: usize) -> Result<(), ExecError> {
        self.places.clear();
        self.starts.clear();
        let mut reader = Reader::new(payload);
        for _ in 0..columns {
            let start = reader.position();
            self.starts.push(start as u32);
            // Nearly all lengths are one byte.
            let value = match reader.lenenc_bytes_or_null("column of a row") {
                Ok(value) => value,
                Err(error) => return Err(ExecError::answer(error.to_string())),
            };
            let end = reader.position() as u32;
            self.places.push(match value {
                Some(bytes) => (end - bytes.len() as u32, end),
                None => (NULL, end),
            });
        }
        if !reader.is_empty() {
            return Err(ExecError::answer("a row has more columns than were announced"));
        }
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Where a column's value lies; `None`: NULL.
    pub(crate) fn place(&self, column: usize) -> Option<(u32, u32)> {
        self.places
            .get(column)
            .copied()
            .filter(|(start, _)| *start != NULL)
    }

    /// Where a column begins, its length included; the row's length behind the last.
    fn start(&self, column: usize, payload: &[u8]) -> usize {
        self.starts
            .get(column)
            .map_or(payload.len(), |start| *start as usize)
    }
}

/// A row and where its columns lie.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) cells: &'a Cells,
}

impl<'a> Row<'a> {
    /// A column's value; `None`: NULL.
    pub(crate) fn value(&self, column: usize) -> Option<&'a [u8]> {
        let (start, end) = self.cells.place(column)?;
        self.payload.get(start as usize..end as usize)
    }

    /// The first columns, as they came.
    pub(crate) fn first(&self, columns: usize) -> &'a [u8] {
        let end = self.cells.start(columns, self.payload);
        self.payload.get(..end).unwrap_or_default()
    }

    /// One column as it came, with its length.
    pub(crate) fn raw(&self, column: usize) -> &'a [u8] {
        let start = self.cells.start(column, self.payload);
        let end = self.cells.start(column + 1, self.payload);
        self.payload.get(start..end).unwrap_or(&[NULL_MARK])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_and_cut() {
        let payload = b"\x01a\xfb\x03bcd\x00";
        let mut cells = Cells::default();
        cells.find(payload, 4).unwrap();
        let row = Row { payload, cells: &cells };
        let values: Vec<_> = (0..4).map(|n| row.value(n)).collect();
        assert_eq!(values, [Some(&b"a"[..]), None, Some(b"bcd"), Some(b"")]);
        assert_eq!(row.first(2), b"\x01a\xfb");
        assert_eq!(row.first(4), payload);
        assert_eq!((row.raw(1), row.raw(2)), (&b"\xfb"[..], &b"\x03bcd"[..]));
    }

    #[test]
    fn a_row_of_another_width_is_refused() {
        let mut cells = Cells::default();
        assert!(cells.find(b"\x01a", 2).is_err());
        assert!(cells.find(b"\x01a\x01b", 1).is_err());
        assert!(cells.find(b"\x09a", 1).is_err());
    }
}
