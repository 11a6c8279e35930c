//! Rows of several shards as INSERT statements for the server that finishes a query.
//!
//! Values are literals that mean the same under any character set: bytes in hexadecimal digits,
//! numbers and dates as they were printed.
use super::held::Held;
use super::kept::KeptValues;
use super::{Column, ExecError, Row};
use coregate_planner::plan::tree::{Gather, Load};

/// An INSERT is ended when it has so many bytes.
const INSERT_MAX: usize = 1 << 20;

/// What may be gathered for one query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GatherLimits {
    pub(crate) rows_max: u64,
    pub(crate) bytes_max: usize,
}

/// Where rows go that the client does not get.
pub(crate) trait Sink {
    /// How many columns they have; `None`: as many as come.
    fn columns(&self) -> Option<usize>;

    /// What they are.
    fn begin(&mut self, _: Vec<Column>) {}

    /// Where the columns' names go, if they are asked for.
    fn names(&mut self) -> Option<&mut Vec<Vec<u8>>> {
        None
    }

    /// Takes a row.
    fn row(&mut self, row: Row<'_>) -> Result<(), ExecError>;
}

/// Rows that are kept as they are, for a statement that goes by them.
#[derive(Default)]
pub(crate) struct Collected {
    /// Those that are kept; `None`: all that come.
    asked: Option<usize>,
    pub(crate) columns: Vec<Column>,
    /// Their names, if these are asked for.
    pub(crate) names: Option<Vec<Vec<u8>>>,
    pub(crate) rows: Vec<Vec<Option<Vec<u8>>>>,
    bytes: usize,
    bytes_max: usize,
    held: Held,
}

impl Collected {
    pub(crate) fn new(columns: usize, bytes_max: usize) -> Self {
        Self { asked: Some(columns), bytes_max, ..Self::default() }
    }

    /// The first columns of rows that are put together here.
    pub(crate) fn shown(columns: &[Column], shown: usize, bytes_max: usize) -> Self {
        let columns = columns.get(..shown).unwrap_or(columns).to_vec();
        Self { asked: Some(columns.len()), columns, bytes_max, ..Self::default() }
    }

    /// Of a query whose columns are not known before.
    pub(crate) fn any(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }
}

impl Collected {
    /// Of a query whose columns are not known before, and are told by name.
    pub(crate) fn named(bytes_max: usize) -> Self {
        Self { names: Some(Vec::new()), ..Self::any(bytes_max) }
    }
}

impl Sink for Collected {
    fn names(&mut self) -> Option<&mut Vec<Vec<u8>>> {
        self.names.as_mut()
    }

    fn columns(&self) -> Option<usize> {
        self.asked
    }

    fn begin(&mut self, columns: Vec<Column>) {
        self.columns = columns;
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), ExecError> {
        self.bytes += row.payload.len() + size_of::<Vec<Option<Vec<u8>>>>();
        if self.bytes > self.bytes_max {
            return Err(ExecError::Memory(self.bytes_max));
        }
        self.held.set(self.bytes)?;
        let columns = self.asked.unwrap_or(self.columns.len());
        let cells = (0..columns).map(|at| row.value(at).map(<[u8]>::to_vec));
        self.rows.push(cells.collect());
        Ok(())
    }
}

/// The rows of one table.
pub(crate) struct Gathered {
    loads: Vec<Load>,
    /// `INSERT INTO t VALUES `
    head: Vec<u8>,
    pub(crate) inserts: Vec<Vec<u8>>,
    current: Vec<u8>,
    /// Of all tables of the query.
    limits: GatherLimits,
    pub(crate) rows: u64,
    pub(crate) bytes: usize,
    /// Values that other tables are asked for.
    kept: KeptValues,
    held: Held,
}

impl Gathered {
    /// Nothing yet of a table; `before` are the rows and bytes of the query's other tables.
    pub(crate) fn new(gather: &Gather, limits: GatherLimits, before: (u64, usize)) -> Self {
        // By name: a column may be INVISIBLE.
        let names: Vec<String> = gather
            .columns
            .iter()
            .map(|column| quoted(&column.name))
            .collect();
        let head = format!("INSERT INTO {} ({}) VALUES ", quoted(&gather.table), names.join(","));
        Self {
            loads: gather.columns.iter().map(|column| column.load).collect(),
            head: head.into_bytes(),
            inserts: Vec::new(),
            current: Vec::new(),
            limits,
            rows: before.0,
            bytes: before.1,
            kept: KeptValues::default(),
            held: Held::default(),
        }
    }

    /// Keeps the values of these columns.
    pub(crate) fn keep(&mut self, columns: impl Iterator<Item = u16>) {
        self.kept = KeptValues::of(columns);
    }

    pub(crate) fn take_kept(&mut self) -> KeptValues {
        std::mem::take(&mut self.kept)
    }

    /// Adds a row that was sent as text.
    fn add(&mut self, row: Row<'_>) -> Result<(), ExecError> {
        self.put(|at| row.value(at))
    }

    /// Adds a row that was kept.
    pub(crate) fn values(&mut self, row: &[Option<Vec<u8>>]) -> Result<(), ExecError> {
        self.put(|at| row.get(at).and_then(Option::as_deref))
    }

    fn put<'v>(&mut self, value: impl Fn(usize) -> Option<&'v [u8]>) -> Result<(), ExecError> {
        let start = self.current.len();
        if self.current.is_empty() {
            self.current.extend_from_slice(&self.head);
        } else {
            self.current.push(b',');
        }
        self.current.push(b'(');
        for (at, load) in self.loads.iter().enumerate() {
            if at > 0 {
                self.current.push(b',');
            }
            match value(at) {
                None => self.current.extend_from_slice(b"NULL"),
                Some(value) => write_literal(*load, value, &mut self.current)?,
            }
        }
        self.current.push(b')');
        self.held.grow(self.kept.add(&value))?;
        self.rows += 1;
        self.bytes += self.current.len() - start;
        self.held.grow(self.current.len() - start)?;
        if self.rows > self.limits.rows_max {
            return Err(ExecError::Gathered("finisher.rows_max", self.limits.rows_max));
        }
        if self.bytes > self.limits.bytes_max {
            return Err(ExecError::Gathered("finisher.bytes_max", self.limits.bytes_max as u64));
        }
        if self.current.len() >= INSERT_MAX {
            self.inserts.push(std::mem::take(&mut self.current));
        }
        Ok(())
    }

    /// The statements that make the table again on another server.
    ///
    /// What they hold counts until the other is given up.
    pub(crate) fn into_statements(mut self, gather: &Gather, out: &mut Vec<Vec<u8>>) -> Held {
        out.push(create(gather));
        out.append(&mut self.inserts);
        if !self.current.is_empty() {
            out.push(self.current);
        }
        self.held
    }
}

impl Sink for Gathered {
    fn columns(&self) -> Option<usize> {
        Some(self.loads.len())
    }

    fn row(&mut self, row: Row<'_>) -> Result<(), ExecError> {
        self.add(row)
    }
}

/// The statement that makes a gathered table on another server.
pub(crate) fn create(gather: &Gather) -> Vec<u8> {
    let mut parts: Vec<String> = gather
        .columns
        .iter()
        .map(|column| format!("{} {}", quoted(&column.name), column.definition))
        .collect();
    let primary: Vec<String> = gather
        .primary
        .iter()
        .filter_map(|at| gather.columns.get(usize::from(*at)))
        .map(|column| quoted(&column.name))
        .collect();
    if !primary.is_empty() {
        parts.push(format!("PRIMARY KEY ({})", primary.join(", ")));
    }
    for at in &gather.indexed {
        if let Some(column) = gather.columns.get(usize::from(*at))
            && !matches!(column.load, Load::Hex | Load::HexText)
        {
            parts.push(format!("KEY ({})", quoted(&column.name)));
        }
    }
    format!("CREATE TEMPORARY TABLE {} ({}) ENGINE=InnoDB", quoted(&gather.table), parts.join(", "))
        .into_bytes()
}

/// An identifier in backticks.
pub(crate) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A value that came as text, as a literal.
pub(crate) fn write_literal(load: Load, value: &[u8], out: &mut Vec<u8>) -> Result<(), ExecError> {
    match load {
        Load::Number => {
            if !value
                .iter()
                .all(|b| b.is_ascii_digit() || b"+-.eE".contains(b))
                || value.is_empty()
            {
                return Err(super::key::not_a("number", value));
            }
            out.extend_from_slice(value);
        }
        Load::Quoted => {
            if value
                .iter()
                .any(|b| matches!(b, b'\'' | b'\\') || !b.is_ascii())
            {
                return Err(super::key::not_a("date or time", value));
            }
            out.push(b'\'');
            out.extend_from_slice(value);
            out.push(b'\'');
        }
        Load::Hex => hex(value, out),
        Load::HexText => {
            out.extend_from_slice(b"CONVERT(");
            hex(value, out);
            out.extend_from_slice(b" USING utf8mb4)");
        }
        Load::Timestamp => {
            let is_zero = value.iter().all(|b| matches!(b, b'0' | b'.'));
            if is_zero {
                out.extend_from_slice(b"'0000-00-00'");
            } else {
                out.extend_from_slice(b"FROM_UNIXTIME(");
                write_literal(Load::Number, value, out)?;
                out.push(b')');
            }
        }
    }
    Ok(())
}

pub(crate) fn hex(value: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend_from_slice(b"x'");
    for byte in value {
        for digit in [byte >> 4, byte & 15] {
            out.push(DIGITS.get(usize::from(digit)).copied().unwrap_or(b'0'));
        }
    }
    out.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::super::Cells;
    use super::*;
    use coregate_planner::plan::tree::GatherColumn;

    fn gather() -> Gather {
        let column = |name: &str, definition: &str, load| GatherColumn {
            name: name.into(),
            definition: definition.into(),
            load,
            flags: 0,
        };
        Gather {
            table: "_coregate_g0".into(),
            columns: vec![
                column("id", "bigint NOT NULL", Load::Number),
                column("na`me", "varchar(10)", Load::Hex),
                column("at", "timestamp NULL", Load::Timestamp),
            ],
            indexed: vec![0, 1],
            ..Gather::default()
        }
    }

    fn statements(rows: &[&[u8]], limits: GatherLimits) -> Result<Vec<String>, ExecError> {
        let gather = gather();
        let mut gathered = Gathered::new(&gather, limits, (0, 0));
        let mut cells = Cells::default();
        for payload in rows {
            cells.find(payload, 3)?;
            gathered.row(Row { payload, cells: &cells })?;
        }
        let mut out = Vec::new();
        gathered.into_statements(&gather, &mut out);
        Ok(out
            .into_iter()
            .map(|sql| String::from_utf8(sql).unwrap())
            .collect())
    }

    const LIMITS: GatherLimits = GatherLimits { rows_max: 10, bytes_max: 1000 };

    #[test]
    fn rows_become_literals() {
        let found = statements(&[b"\x017\x02'\\\x010", b"\x02-1\xfb\x0412.5"], LIMITS).unwrap();
        assert_eq!(
            found,
            [
                "CREATE TEMPORARY TABLE `_coregate_g0` (`id` bigint NOT NULL, `na``me` \
                    varchar(10), `at` timestamp NULL, KEY (`id`)) ENGINE=InnoDB",
                "INSERT INTO `_coregate_g0` (`id`,`na``me`,`at`) VALUES \
                    (7,x'275C','0000-00-00'),(-1,NULL,FROM_UNIXTIME(12.5))",
            ]
        );
    }

    #[test]
    fn what_is_no_number_is_never_put_into_a_statement() {
        assert!(statements(&[b"\x07DROP(1)\x00\xfb"], LIMITS).is_err());
        assert!(statements(&[b"\x00\x00\xfb"], LIMITS).is_err());
    }

    #[test]
    fn the_limits_have_names() {
        let limits = GatherLimits { rows_max: 1, bytes_max: 1000 };
        let row: &[u8] = b"\x017\x01a\xfb";
        let error = statements(&[row, row], limits).unwrap_err().to_string();
        assert!(error.contains("finisher.rows_max"), "{error}");
        let limits = GatherLimits { rows_max: 9, bytes_max: 80 };
        let error = statements(&[row, row], limits).unwrap_err().to_string();
        assert!(error.contains("finisher.bytes_max"), "{error}");
    }
}
