//! Lines of a LOAD DATA file, as they come: where each ends, and the values of some of its fields.
//! As servers read them.
use super::ExecError;
use coregate_planner::plan::load::LineFormat;

/// A file that comes in pieces. What is read of it is kept until the line ends.
pub(crate) struct Lines<'f> {
    format: &'f LineFormat,
    buffer: Vec<u8>,
    /// Where the line begins, and how far it is read.
    start: usize,
    at: usize,
    /// Where the current field begins, and its number.
    field: usize,
    number: usize,
    inside: bool,
    /// The fields of the line that are wanted: bounds in the buffer.
    found: Vec<(usize, usize)>,
    /// Lines that are left out at first.
    skip: u64,
    ended: bool,
    bytes_max: usize,
}

/// Bytes of lines that were given out are dropped when there are so many.
const DROPPED: usize = 256 << 10;

enum Ends {
    Line,
    Field,
    No,
    /// More must come to tell.
    Unknown,
}

impl<'f> Lines<'f> {
    /// `bytes_max`: a line is no longer than that.
    pub(crate) fn new(format: &'f LineFormat, skip: u64, bytes_max: usize) -> Self {
        Self {
            format,
            buffer: Vec::new(),
            start: 0,
            at: 0,
            field: 0,
            number: 0,
            inside: false,
            found: Vec::new(),
            skip,
            ended: false,
            bytes_max,
        }
    }

    /// More of the file.
    pub(crate) fn give(&mut self, bytes: &[u8]) {
        if self.start >= DROPPED {
            self.buffer.drain(..self.start);
            (self.at, self.field) = (self.at - self.start, self.field - self.start);
            for (from, to) in &mut self.found {
                (*from, *to) = (*from - self.start, *to - self.start);
            }
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// There is no more.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    fn ends_with(&self, end: &[u8]) -> Option<bool> {
        let rest = self.buffer.get(self.at..).unwrap_or_default();
        let known = rest.len().min(end.len());
        let same = rest.get(..known) == end.get(..known);
        if same && known < end.len() && !self.ended {
            return None;
        }
        Some(same && known == end.len())
    }

    /// Does the line or a field end here?
    fn ends(&self) -> Ends {
        match self.ends_with(&self.format.line_end) {
            Some(true) => return Ends::Line,
            None => return Ends::Unknown,
            Some(false) => {}
        }
        match self.ends_with(&self.format.field_end) {
            Some(true) => Ends::Field,
            None => Ends::Unknown,
            Some(false) => Ends::No,
        }
    }

    /// Is the rest of the line no field: what is left out, or more than is asked for?
    fn is_rest(&self) -> bool {
        self.skip > 0 || self.number >= self.format.width
    }

    fn field_ends(&mut self, end: usize) {
        if self.number < self.format.width {
            self.found.push((self.field, self.at));
        }
        self.number += 1;
        self.at += end;
        self.field = self.at;
    }

    /// Goes to the end of the next line. `false`: it has not come yet, or there is none.
    pub(crate) fn next(&mut self) -> Result<bool, ExecError> {
        if self.at == self.start {
            self.found.clear();
            (self.number, self.inside, self.field) = (0, false, self.start);
        }
        loop {
            if self.at - self.start > self.bytes_max {
                return Err(ExecError::Memory(self.bytes_max));
            }
            let Some(&byte) = self.buffer.get(self.at) else {
                if !self.ended || self.at == self.start {
                    return Ok(false);
                }
                if self.skip > 0 {
                    return Ok(false);
                }
                self.field_ends(0);
                return Ok(true);
            };
            let next = self.buffer.get(self.at + 1).copied();
            if Some(byte) == self.format.escaped {
                if next.is_none() && !self.ended {
                    return Ok(false);
                }
                self.at = (self.at + 2).min(self.buffer.len());
                continue;
            }
            if self.inside {
                match self.within(byte, next) {
                    Some(step) => self.at += step,
                    None => return Ok(false),
                }
                continue;
            }
            if self.at == self.field && Some(byte) == self.format.enclosed && !self.is_rest() {
                self.inside = true;
                self.at += 1;
                continue;
            }
            match self.ends() {
                Ends::Unknown => return Ok(false),
                Ends::No => self.at += 1,
                Ends::Field => self.field_ends(self.format.field_end.len()),
                Ends::Line if self.skip > 0 => {
                    self.skip -= 1;
                    self.at += self.format.line_end.len();
                    self.start = self.at;
                    self.found.clear();
                    (self.number, self.field) = (0, self.at);
                }
                Ends::Line => {
                    self.field_ends(self.format.line_end.len());
                    return Ok(true);
                }
            }
        }
    }

    /// A byte of an enclosed field: how many belong together. `None`: more must come.
    fn within(&mut self, byte: u8, next: Option<u8>) -> Option<usize> {
        if Some(byte) != self.format.enclosed {
            return Some(1);
        }
        if next == Some(byte) {
            return Some(2);
        }
        if next.is_none() && !self.ended {
            return None;
        }
        self.at += 1;
        let ends = if next.is_none() { Ends::Line } else { self.ends() };
        self.at -= 1;
        match ends {
            Ends::Line | Ends::Field => {
                self.inside = false;
                Some(1)
            }
            Ends::No => Some(1),
            Ends::Unknown => None,
        }
    }

    /// The line that [`Self::next`] has found, with what ends it; it is gone then.
    pub(crate) fn take(&mut self) -> &[u8] {
        let line = self.start..self.at;
        self.start = self.at;
        self.buffer.get(line).unwrap_or_default()
    }

    /// A field of that line, before it is taken: `None` for NULL, and where the line has no such
    /// field.
    pub(crate) fn value(&self, field: usize) -> Option<Vec<u8>> {
        let (from, to) = self.found.get(field).copied()?;
        let raw = self.buffer.get(from..to).unwrap_or_default();
        let (escaped, enclosed) = (self.format.escaped, self.format.enclosed);
        let quoted = enclosed.is_some()
            && raw.len() > 1
            && raw.first().copied() == enclosed
            && raw.last().copied() == enclosed;
        if !quoted {
            let escaped_null = escaped.is_some_and(|e| raw == [e, b'N']);
            if escaped_null || enclosed.is_some() && raw == b"NULL" {
                return None;
            }
        }
        let inner = if quoted { raw.get(1..raw.len() - 1).unwrap_or_default() } else { raw };
        let mut out = Vec::with_capacity(inner.len());
        let mut bytes = inner.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if Some(byte) == escaped {
                out.extend(bytes.next().map(unescaped).or(Some(byte)));
            } else {
                if quoted && Some(byte) == enclosed && bytes.peek() == Some(&byte) {
                    bytes.next();
                }
                out.push(byte);
            }
        }
        Some(out)
    }
}

/// What a character means behind the one that escapes.
fn unescaped(byte: u8) -> u8 {
    match byte {
        b'0' => 0,
        b'b' => 8,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 26,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(field_end: &str, enclosed: Option<u8>, line_end: &str) -> LineFormat {
        LineFormat {
            field_end: field_end.into(),
            enclosed,
            escaped: Some(b'\\'),
            line_end: line_end.into(),
            width: 2,
        }
    }

    type Found = Vec<(String, Vec<Option<String>>)>;

    /// Lines and their first two values, of a file that comes in pieces of every size.
    fn lines(format: &LineFormat, skip: u64, file: &str) -> Found {
        let mut first: Option<Found> = None;
        for size in 1..=file.len() + 1 {
            let mut lines = Lines::new(format, skip, 1000);
            let mut out = Vec::new();
            let mut read = |lines: &mut Lines<'_>| {
                while lines.next().unwrap() {
                    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                    let values = (0..2).map(|n| lines.value(n).map(text)).collect();
                    out.push((text(lines.take().to_vec()), values));
                }
            };
            for piece in file.as_bytes().chunks(size) {
                lines.give(piece);
                read(&mut lines);
            }
            lines.end();
            read(&mut lines);
            assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "pieces of {size}");
        }
        first.unwrap_or_default()
    }

    fn some(values: &[&str]) -> Vec<Option<String>> {
        values
            .iter()
            .map(|v| (*v != "-").then(|| (*v).to_owned()))
            .collect()
    }

    #[test]
    fn tabs_and_escapes() {
        let found = lines(&format("\t", None, "\n"), 0, "1\ta\\tb\n\\N\tx\\\ny\tmore\n\n7");
        let wanted: Found = vec![
            ("1\ta\\tb\n".into(), some(&["1", "a\tb"])),
            ("\\N\tx\\\ny\tmore\n".into(), some(&["-", "x\ny"])),
            ("\n".into(), vec![Some(String::new()), None]),
            ("7".into(), vec![Some("7".into()), None]),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn enclosed_fields_and_long_ends() {
        let file = "id,v\r\n\"1\",\"a\"\"b,\nc\"\r\nNULL,\"NULL\"\r\n2,x\"y,\"open\r\n";
        let found = lines(&format(",", Some(b'"'), "\r\n"), 1, file);
        let wanted: Found = vec![
            ("\"1\",\"a\"\"b,\nc\"\r\n".into(), some(&["1", "a\"b,\nc"])),
            ("NULL,\"NULL\"\r\n".into(), some(&["-", "NULL"])),
            // What follows the last field that is asked for is read without quotes.
            ("2,x\"y,\"open\r\n".into(), some(&["2", "x\"y"])),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_line_has_a_bound() {
        let format = format("\t", None, "\n");
        let mut lines = Lines::new(&format, 0, 3);
        lines.give(b"12345");
        assert!(
            lines
                .next()
                .unwrap_err()
                .to_string()
                .contains("query.memory_max")
        );
    }
}
