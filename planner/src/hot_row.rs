//! Which row a change is about: its table and WHERE clause, as Vitess's hot-row protection keys
//! them. Changes of the same row have the same key, however they came; two rows never share one.
use crate::sql::lex::{Lexer, SqlMode, Tok, Token};

/// Longer keys are not made: such a statement is no change by key.
pub const KEY_BYTES_MAX: usize = 1_024;

/// The key of an UPDATE or DELETE of one table whose WHERE is `column = value`, or several of these
/// with AND. `value`: how a parameter (by its number) or a user variable (by its text) is written
/// as a literal.
pub fn key(
    sql: &[u8],
    mode: SqlMode,
    mut value: impl FnMut(Source<'_>) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let mut tokens = Tokens { sql, lexer: Lexer::new(sql, mode), params: 0 };
    let mut key = Vec::with_capacity(64);
    let mut token = tokens.table(&mut key)?;
    while !tokens.is(token, b"where") {
        // What is assigned is anything, subqueries too, whose WHERE is another.
        token = match token.tok {
            Tok::End => return None,
            Tok::Open => tokens.behind_parentheses()?,
            _ => tokens.next()?,
        };
    }
    key.extend_from_slice(b" where ");
    loop {
        tokens.equality(&mut key, &mut value)?;
        if key.len() > KEY_BYTES_MAX {
            return None;
        }
        let token = tokens.next()?;
        match token.tok {
            Tok::End => return Some(key),
            Tok::Word if tokens.is(token, b"and") => key.extend_from_slice(b" and "),
            _ => return None,
        }
    }
}

/// Where a value comes from that the text does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'s> {
    /// A parameter's number, from 0.
    Param(usize),
    /// With its `@`.
    Variable(&'s [u8]),
}

struct Tokens<'s> {
    sql: &'s [u8],
    lexer: Lexer<'s>,
    /// How many parameters were read.
    params: usize,
}

impl<'s> Tokens<'s> {
    fn next(&mut self) -> Option<Token> {
        let token = self.lexer.next_token().ok()?;
        match token.tok {
            Tok::Param => self.params += 1,
            // What counts depends on the server.
            Tok::VersionOpen | Tok::VersionClose => return None,
            Tok::Hint | Tok::Directive => return self.next(),
            _ => {}
        }
        Some(token)
    }

    fn text(&self, token: Token) -> &'s [u8] {
        token.text(self.sql)
    }

    fn is(&self, token: Token, word: &[u8]) -> bool {
        token.tok == Tok::Word && self.text(token).eq_ignore_ascii_case(word)
    }

    /// Reads up to the end of the table's name, and returns the token behind it.
    fn table(&mut self, key: &mut Vec<u8>) -> Option<Token> {
        let first = self.next()?;
        let update = self.is(first, b"update");
        if !update && !self.is(first, b"delete") {
            return None;
        }
        let words: [&[u8]; 4] = [b"low_priority", b"ignore", b"quick", b"from"];
        let mut token = self.next()?;
        while words.iter().any(|word| self.is(token, word)) {
            token = self.next()?;
        }
        loop {
            self.name(token, key)?;
            token = self.next()?;
            if token.tok != Tok::Dot {
                break;
            }
            key.push(b'.');
            token = self.next()?;
        }
        match token.tok {
            Tok::Word if self.is(token, b"where") || self.is(token, b"set") => Some(token),
            // An alias would stand before the columns in WHERE, too.
            _ => None,
        }
    }

    fn name(&self, token: Token, key: &mut Vec<u8>) -> Option<()> {
        let text = self.text(token);
        let bare = match token.tok {
            Tok::Word => text,
            Tok::Quoted => text.get(1..text.len().checked_sub(1)?)?,
            _ => return None,
        };
        key.extend(bare.iter().map(u8::to_ascii_lowercase));
        Some(())
    }

    /// Reads up to the parenthesis that closes the one that was read, and returns what is behind.
    fn behind_parentheses(&mut self) -> Option<Token> {
        let mut depth = 1usize;
        while depth > 0 {
            match self.next()?.tok {
                Tok::Open => depth += 1,
                Tok::Close => depth -= 1,
                Tok::End => return None,
                _ => {}
            }
        }
        self.next()
    }

    /// `column = value`
    fn equality(
        &mut self,
        key: &mut Vec<u8>,
        value: &mut impl FnMut(Source<'_>) -> Option<Vec<u8>>,
    ) -> Option<()> {
        let mut token = self.next()?;
        let mut column = Vec::new();
        // Its qualifiers do not matter: there is one table.
        loop {
            column.clear();
            self.name(token, &mut column)?;
            token = self.next()?;
            if token.tok != Tok::Dot {
                break;
            }
            token = self.next()?;
        }
        if token.tok != Tok::Eq {
            return None;
        }
        key.append(&mut column);
        key.push(b'=');
        token = self.next()?;
        if token.tok == Tok::Minus {
            key.push(b'-');
            token = self.next()?;
        }
        match token.tok {
            Tok::Param => key.append(&mut value(Source::Param(self.params - 1))?),
            Tok::UserVar => key.append(&mut value(Source::Variable(self.text(token)))?),
            tok if tok.is_literal() => key.extend_from_slice(self.text(token)),
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<String> {
        let value = |source: Source<'_>| {
            Some(match source {
                Source::Param(n) => format!("{}", n + 5).into_bytes(),
                Source::Variable(name) => [name, b"!"].concat(),
            })
        };
        let key = key(sql.as_bytes(), SqlMode::empty(), value)?;
        Some(String::from_utf8(key).unwrap())
    }

    #[test]
    fn the_same_row_has_the_same_key() {
        let wanted = Some("account where id=5".to_owned());
        for sql in [
            "update account set n = n + 1 where id = 5",
            "UPDATE `Account` SET n = (select 1 from x where y = 1), m = 'where' WHERE `ID`=5;",
            "update ignore account set n = n - 1 where account.id = 5 -- more",
            "delete from account where id = 5",
            "delete /*vt+ PRIORITY=1 */ from account where id = ?",
        ] {
            assert_eq!(of(sql), wanted, "{sql}");
        }
        assert_eq!(
            of("update a.b set x = ? where k = ? and l = -'a b' and m = @v"),
            Some("a.b where k=6 and l=-'a b' and m=@v!".to_owned())
        );
    }

    #[test]
    fn what_is_no_change_by_key_has_none() {
        for sql in [
            "update account set n = 1",
            "update account set n = 1 where id = 5 or id = 6",
            "update account set n = 1 where id > 5",
            "update account set n = 1 where id in (5)",
            "update account set n = 1 where id = 5 limit 1",
            "update account set n = 1 where (id = 5)",
            "update account set n = 1 where id = 5 + 1",
            "update account a join b set n = 1 where id = 5",
            "update account, b set n = 1 where id = 5",
            "delete a from account a where id = 5",
            "delete from account using account where id = 5",
            "insert into account values (5)",
            "update account set n = 1 where id = f(5)",
            "update account set n = 1 /*!50000 where id = 5 */",
            "update account set n = 'x where id = 5",
            "",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
        let long = format!("update a set b = 1 where c = '{}'", "x".repeat(KEY_BYTES_MAX));
        assert_eq!(of(&long), None);
    }
}
