//! Sets of MySQL's GTIDs: `3E11FA47-71CA-11E1-9E33-C80AA9429562:1-5:7`, by server, and since MySQL
//! 8.3 by tag.
use std::collections::BTreeMap;
use std::fmt;

/// Both ends are in it.
type Interval = (u64, u64);

/// By server and tag (`uuid`, `uuid:tag`): intervals in order, none of which touches another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set(BTreeMap<String, Vec<Interval>>);

/// `4f49185b-ea75-11f1-8072-02fc00000001`
fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let hex = |group: &&str| group.bytes().all(|b| b.is_ascii_hexdigit());
    groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex)
}

/// `_` or a letter, then also digits: at most 32.
fn is_tag(text: &str) -> bool {
    let first = |c: char| c == '_' || c.is_ascii_alphabetic();
    text.len() <= 32
        && text.starts_with(first)
        && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

fn interval(text: &str) -> Option<Interval> {
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|n| *n > 0);
    let (from, to) = match text.split_once('-') {
        Some((from, to)) => (number(from)?, number(to)?),
        None => (number(text)?, number(text)?),
    };
    (from <= to).then_some((from, to))
}

impl Set {
    /// `None`: this is no set of MySQL's.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut set = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let mut words = part.split(':').map(str::trim);
            let uuid = words
                .next()
                .filter(|word| is_uuid(word))?
                .to_ascii_lowercase();
            let (mut key, mut any) = (uuid.clone(), false);
            for word in words {
                if is_tag(word) {
                    key = format!("{uuid}:{}", word.to_ascii_lowercase());
                    continue;
                }
                set.0.entry(key.clone()).or_default().push(interval(word)?);
                any = true;
            }
            if !any {
                return None;
            }
        }
        set.0.values_mut().for_each(join);
        Some(set)
    }

    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.minus(self).0.is_empty()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, intervals) in &other.0 {
            let own = self.0.entry(key.clone()).or_default();
            own.extend_from_slice(intervals);
            join(own);
        }
    }

    /// What is in this one only.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let none = Vec::new();
        let left = |(key, own): (&String, &Vec<Interval>)| {
            let rest = without(own, other.0.get(key).unwrap_or(&none));
            (!rest.is_empty()).then(|| (key.clone(), rest))
        };
        Self(self.0.iter().filter_map(left).collect())
    }

    /// Without what this server has committed first.
    pub(crate) fn without_server(&self, uuid: &str) -> Self {
        let others = |(key, _): &(&String, &Vec<Interval>)| {
            !key.split(':')
                .next()
                .is_some_and(|of| of.eq_ignore_ascii_case(uuid))
        };
        let kept = self.0.iter().filter(others);
        Self(kept.map(|(key, own)| (key.clone(), own.clone())).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Puts intervals in order, and joins those that touch.
fn join(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable();
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    for (from, to) in intervals.drain(..) {
        match joined.last_mut() {
            Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    *intervals = joined;
}

fn without(own: &[Interval], others: &[Interval]) -> Vec<Interval> {
    let mut rest = Vec::new();
    for &(from, to) in own {
        let mut next = from;
        for &(start, end) in others {
            if end < next || start > to {
                continue;
            }
            if start > next {
                rest.push((next, start - 1));
            }
            next = end.saturating_add(1);
            if next > to {
                break;
            }
        }
        if next <= to {
            rest.push((next, to));
        }
    }
    rest
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (key, intervals)) in self.0.iter().enumerate() {
            write!(f, "{}{key}", if n > 0 { "," } else { "" })?;
            for (from, to) in intervals {
                match from == to {
                    true => write!(f, ":{from}")?,
                    false => write!(f, ":{from}-{to}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "4f49185b-ea75-11f1-8072-02fc00000001";
    const B: &str = "4f61bf5d-ea75-11f1-98cf-02fc00000001";

    fn set(text: &str) -> Set {
        Set::parse(&text.replace('A', A).replace('B', B)).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let shown = |text: &str| set(text).to_string().replace(A, "A").replace(B, "B");
        assert_eq!(shown("A:1-3:5,\nB:7"), "A:1-3:5,B:7");
        assert_eq!(shown("A:5-6:1-2:3-4, A:9"), "A:1-6:9");
        assert_eq!(shown("A:1-3:tag:1-2:4:_t2:9"), "A:1-3,A:_t2:9,A:tag:1-2:4");
        assert_eq!((shown(""), shown(" ,\n")), (String::new(), String::new()));
        assert_eq!(Set::parse(&A.to_uppercase()[..4]), None);
        for wrong in ["0-1-2", "A", "A:", "A:0", "A:5-3", "A:1-2-3", "A:x-1", "A:tag", "A1:1"] {
            assert_eq!(Set::parse(&wrong.replace('A', A)), None, "{wrong}");
        }
    }

    #[test]
    fn sets_are_compared_joined_and_taken_from_each_other() {
        assert!(set("A:1-9,B:1").covers(&set("A:2-3:5-9")) && !set("A:2-9").covers(&set("A:1")));
        assert!(!set("A:1-3:5-9").covers(&set("A:3-5")) && set("A:1").covers(&set("")));
        assert!(!set("A:1-9").covers(&set("A:tag:1")), "a tag's numbers are its own");
        let minus = |a: &str, b: &str| {
            set(a)
                .minus(&set(b))
                .to_string()
                .replace(A, "A")
                .replace(B, "B")
        };
        assert_eq!(minus("A:1-9,B:1-2", "A:1-2:4:8-20"), "A:3:5-7,B:1-2");
        assert_eq!(minus("A:1-9", "A:1-9"), "");
        assert_eq!(minus("A:5", "A:1-4:6-9"), "A:5");
        let mut all = set("A:1-3,B:2");
        all.merge(&set("A:4:9,B:1"));
        assert_eq!(all, set("A:1-4:9,B:1-2"));
        assert_eq!(set("A:1-4,A:tag:2,B:1").without_server(&A.to_uppercase()), set("B:1"));
    }
}
