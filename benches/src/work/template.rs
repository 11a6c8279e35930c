//! SQL with values to be filled in: `SELECT c FROM t WHERE id = ${id=uniform(1,rows)}`.
//!
//! `${uniform(a,b)}`, `${pareto(a,b)}` (80 % of the values in the first 20 %), `${digits(n)}` (text
//! as sysbench's), `${letters(n)}`, `${seq}` (a number that no other execution of the round has),
//! `${name}` and `${name+n}` (a value given a name before, in the same transaction: `${name=...}`),
//! `${part(size,count)}` (of the rows of a table that is filled: which of `count` parts of `size`
//! rows a row is in). `rows` stands for the number of rows of the harness's tables, `scale` for
//! `--scale`; numbers may be multiplied: `scale*10`.
use super::values::{Random, Value};

/// Characters of one generated text, at most.
const TEXT_MAX: i64 = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Source {
    Uniform(i64, i64),
    Pareto(i64, i64),
    Digits(usize),
    Letters(usize),
    Seq,
    /// Rows of a part, and how many parts there are until they begin anew.
    Part(i64, i64),
    /// A named value, and what is added to it.
    Known(usize, i64),
}

#[derive(Debug, Clone, PartialEq)]
struct Slot {
    source: Source,
    /// Where the value is kept for later statements.
    name: Option<usize>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Slot(Slot),
}

/// The names of a transaction's values.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|n| n == name)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn add(&mut self, name: &str) -> usize {
        self.find(name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template(Vec<Part>);

/// What values are drawn from.
pub(crate) struct Draw<'a> {
    pub(crate) random: &'a mut Random,
    /// The values with names, by their index.
    pub(crate) named: &'a mut [Value],
    /// The next number of this connection, and the step to the one after it.
    pub(crate) seq: &'a mut i64,
    pub(crate) step: i64,
    /// The row of a table that is filled, from 1.
    pub(crate) row: i64,
}

/// What numbers may be named.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes {
    pub(crate) rows: i64,
    pub(crate) scale: i64,
}

impl Template {
    /// # Errors
    /// A sentence that names the place.
    pub(crate) fn parse(text: &str, names: &mut Names, sizes: Sizes) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            let (inside, tail) = after
                .split_once('}')
                .ok_or_else(|| format!("${{{after}: the closing brace is missing"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let slot =
                slot(inside.trim(), names, sizes).map_err(|why| format!("${{{inside}}}: {why}"))?;
            parts.push(Part::Slot(slot));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    /// How many values are filled in.
    pub(crate) fn values(&self) -> usize {
        self.0.iter().filter(|p| matches!(p, Part::Slot(_))).count()
    }

    /// With a question mark for each value.
    pub(crate) fn with_marks(&self, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Slot(_) => out.push('?'),
            }
        }
    }

    /// With values as literals.
    pub(crate) fn write(&self, draw: &mut Draw<'_>, out: &mut Vec<u8>) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Slot(slot) => slot.draw(draw).put_literal(out),
            }
        }
    }

    /// Only the values.
    pub(crate) fn draw(&self, draw: &mut Draw<'_>, out: &mut Vec<Value>) {
        for part in &self.0 {
            if let Part::Slot(slot) = part {
                out.push(slot.draw(draw));
            }
        }
    }
}

impl Slot {
    fn draw(&self, draw: &mut Draw<'_>) -> Value {
        let value = match self.source {
            Source::Uniform(low, high) => Value::Int(draw.random.between(low, high)),
            Source::Pareto(low, high) => {
                // h = 0.2: 80 % of what is drawn lies in the first 20 %.
                let power = 0.2f64.ln() / 0.8f64.ln();
                let span = (high - low + 1) as f64;
                let at = (span * draw.random.fraction().powf(power)) as i64;
                Value::Int(low + at.min(high - low))
            }
            Source::Digits(n) => Value::Text(draw.random.digits(n)),
            Source::Letters(n) => Value::Text(draw.random.letters(n)),
            Source::Seq => {
                let value = *draw.seq;
                *draw.seq = value.saturating_add(draw.step);
                Value::Int(value)
            }
            Source::Part(size, count) => Value::Int((draw.row - 1) / size % count + 1),
            Source::Known(index, add) => match draw.named.get(index) {
                Some(Value::Int(n)) => Value::Int(n.saturating_add(add)),
                Some(Value::Text(text)) => Value::Text(text.clone()),
                None => Value::Int(add),
            },
        };
        if let Some(kept) = self.name.and_then(|index| draw.named.get_mut(index)) {
            *kept = value.clone();
        }
        value
    }
}

fn slot(text: &str, names: &mut Names, sizes: Sizes) -> Result<Slot, String> {
    if let Some((name, what)) = text.split_once('=') {
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(format!("{name:?} is no name; write letters, digits and _"));
        }
        let source = source(what.trim(), names, sizes)?;
        return Ok(Slot { source, name: Some(names.add(name)) });
    }
    Ok(Slot { source: source(text, names, sizes)?, name: None })
}

fn source(text: &str, names: &Names, sizes: Sizes) -> Result<Source, String> {
    if text == "seq" {
        return Ok(Source::Seq);
    }
    if let Some((what, rest)) = text.split_once('(') {
        let args = rest
            .trim()
            .strip_suffix(')')
            .ok_or("the closing parenthesis is missing")?;
        let args = args
            .split(',')
            .map(|arg| number(arg.trim(), sizes))
            .collect::<Result<Vec<_>, _>>()?;
        return generator(what.trim(), &args);
    }
    let (name, add) = match text.split_once('+') {
        Some((name, add)) => (name.trim(), number(add.trim(), sizes)?),
        None => (text, 0),
    };
    let index = names.find(name).ok_or_else(|| {
        format!(
            "no value has the name {name:?}; there are uniform(a,b), pareto(a,b), digits(n), \
            letters(n) and seq"
        )
    })?;
    Ok(Source::Known(index, add))
}

fn generator(what: &str, args: &[i64]) -> Result<Source, String> {
    let length = |n: i64| {
        usize::try_from(n)
            .ok()
            .filter(|_| n <= TEXT_MAX)
            .ok_or_else(|| format!("{n} characters: it must be 0 to {TEXT_MAX}"))
    };
    match (what, args) {
        ("uniform" | "pareto", [low, high]) if low > high => Err(format!("{low} is above {high}")),
        ("uniform", [low, high]) => Ok(Source::Uniform(*low, *high)),
        ("pareto", [low, high]) => Ok(Source::Pareto(*low, *high)),
        ("part", [size, count]) if *size < 1 || *count < 1 => {
            Err("part takes numbers from 1 on".to_owned())
        }
        ("part", [size, count]) => Ok(Source::Part(*size, *count)),
        ("digits", [n]) => Ok(Source::Digits(length(*n)?)),
        ("letters", [n]) => Ok(Source::Letters(length(*n)?)),
        ("uniform" | "pareto" | "part", _) => Err(format!("{what} takes two numbers")),
        ("digits" | "letters", _) => Err(format!("{what} takes one number")),
        _ => Err(format!(
            "{what:?} is not known; there are uniform, pareto, part, digits, letters and seq"
        )),
    }
}

/// A number, `rows` or `scale`, products of those, and one of them less a number.
pub(crate) fn number(text: &str, sizes: Sizes) -> Result<i64, String> {
    let wrong = || format!("{text:?} is no number");
    let (product, less) = match text.char_indices().skip(1).find(|(_, c)| *c == '-') {
        Some((at, _)) => (&text[..at], text[at + 1..].trim().parse::<i64>().map_err(|_| wrong())?),
        None => (text, 0),
    };
    let mut all = 1i64;
    for factor in product.split('*') {
        let one = match factor.trim() {
            "rows" => sizes.rows,
            "scale" => sizes.scale,
            other => other.parse().map_err(|_| wrong())?,
        };
        all = all.checked_mul(one).ok_or_else(wrong)?;
    }
    let number = all.saturating_sub(less);
    if number.unsigned_abs() > 1 << 62 {
        return Err(format!("{text} is too large: 2^62 is the most"));
    }
    Ok(if less > 0 { number.max(1) } else { number })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(rows: i64) -> Sizes {
        Sizes { rows, scale: 3 }
    }

    fn drawn(template: &Template, names: &Names, random: &mut Random) -> String {
        let (mut named, mut seq, mut out) = (vec![Value::Int(0); names.len()], 5, Vec::new());
        let (named, seq) = (named.as_mut_slice(), &mut seq);
        template.write(&mut Draw { random, named, seq, step: 3, row: 25 }, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_are_filled_in_and_named() {
        let mut names = Names::default();
        let sql = "SELECT c FROM t WHERE id BETWEEN ${a=uniform(7,7)} AND ${a+99} AND s = \
            ${digits(12)} /* {} */ + ${seq} + ${seq}";
        let template = Template::parse(sql, &mut names, sizes(100)).unwrap();
        let text = drawn(&template, &names, &mut Random::new(1));
        assert!(text.starts_with("SELECT c FROM t WHERE id BETWEEN 7 AND 106 AND s = '"), "{text}");
        assert!(text.ends_with("-' /* {} */ + 5 + 8"), "{text}");
        let mut marks = String::new();
        template.with_marks(&mut marks);
        assert_eq!(marks, "SELECT c FROM t WHERE id BETWEEN ? AND ? AND s = ? /* {} */ + ? + ?");
        assert_eq!(template.values(), 5);
    }

    #[test]
    fn rows_are_in_parts_and_numbers_are_named() {
        let mut names = Names::default();
        // The 25th row of 3 x 10 x 10.
        let template = Template::parse(
            "${part(100,scale)},${part(10,10)},${part(1,10)}",
            &mut names,
            sizes(1),
        )
        .unwrap();
        assert_eq!(drawn(&template, &names, &mut Random::new(1)), "1,3,5");
        for (text, value) in
            [("scale*10", 30), ("rows-99", 1), ("rows*2-1", 13), ("-5", -5), ("2*scale*rows", 42)]
        {
            assert_eq!(number(text, sizes(7)), Ok(value), "{text}");
        }
    }

    #[test]
    fn draws_stay_in_their_range_and_pareto_leans_to_the_low_end() {
        let mut names = Names::default();
        let (uniform, pareto) = (
            Template::parse("${uniform(1,rows)}", &mut names, sizes(10)).unwrap(),
            Template::parse("${pareto(1,rows)}", &mut names, sizes(1000)).unwrap(),
        );
        let (mut random, mut seen, mut low) = (Random::new(3), [false; 11], 0);
        for _ in 0..2_000 {
            let n: usize = drawn(&uniform, &names, &mut random).parse().unwrap();
            seen[n] = true;
            let n: i64 = drawn(&pareto, &names, &mut random).parse().unwrap();
            assert!((1..=1000).contains(&n));
            low += i32::from(n <= 200);
        }
        assert!(!seen[0] && seen[1..].iter().all(|s| *s), "{seen:?}");
        assert!((1_500..1_700).contains(&low), "{low} of 2000 in the first fifth");
    }

    #[test]
    fn mistakes_are_named() {
        for (sql, part) in [
            ("${uniform(1,2)", "closing brace"),
            ("${uniform(1)}", "takes two numbers"),
            ("${uniform(3,2)}", "3 is above 2"),
            ("${gauss(1,2)}", "not known"),
            ("${id}", "no value has the name \"id\""),
            ("${a b=seq}", "is no name"),
            ("${digits(x)}", "is no number"),
            ("${digits(-1)}", "must be 0 to"),
            ("${uniform(1,rows*x)}", "is no number"),
            ("${part(0,2)}", "from 1 on"),
            ("${uniform(1,9223372036854775807)}", "too large"),
        ] {
            let error = Template::parse(sql, &mut Names::default(), sizes(10)).unwrap_err();
            assert!(error.contains(part), "{sql}: {error}");
        }
    }
}
