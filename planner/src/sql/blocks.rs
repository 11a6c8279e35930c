//! Where a routine or a compound statement ends: inside of its blocks a `;` ends a statement of its
//! own.
//!
//! BEGIN, IF, CASE, LOOP, REPEAT, WHILE and FOR open a block only where a statement may begin;
//! elsewhere they are functions, names or parts of other clauses. CASE opens one as an expression
//! too.
use super::lex::Tok;

/// What may begin a statement inside a routine, besides blocks: behind it IF and the like are
/// functions.
const VERBS: &[&str] = &[
    "alter",
    "analyze",
    "call",
    "close",
    "commit",
    "create",
    "deallocate",
    "delete",
    "do",
    "drop",
    "execute",
    "fetch",
    "flush",
    "get",
    "grant",
    "insert",
    "iterate",
    "kill",
    "leave",
    "lock",
    "open",
    "optimize",
    "prepare",
    "release",
    "rename",
    "repair",
    "replace",
    "resignal",
    "return",
    "revoke",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "signal",
    "start",
    "truncate",
    "unlock",
    "update",
    "values",
    "with",
];

/// What a statement defines that has a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Routine,
    Trigger,
    Event,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Behind CREATE or ALTER.
    Verb,
    /// Between the object's kind and its body.
    Header(Object),
    /// BEGIN, which is a block only as BEGIN NOT ATOMIC.
    Begin,
    /// Where the body, or a compound statement, begins.
    Body,
    /// In a block, or behind the last one.
    Blocks,
    /// No block can follow.
    Plain,
    /// Oracle's packages and blocks: to the end of the text.
    Whole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Statement,
    /// CASE in an expression.
    Case,
}

/// The last word, where it matters for the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Other,
    Not,
    End,
    Each,
    Handler,
    /// A type or a character set follows, which may be called as a statement is.
    Returns,
    /// A name follows, then the body.
    Order,
}

/// Follows the blocks of one statement, token by token.
#[derive(Debug)]
pub(crate) struct Blocks {
    phase: Phase,
    open: Vec<Block>,
    parens: u32,
    /// A routine's parameters have been read.
    parameters: bool,
    /// A statement may begin here.
    start: bool,
    /// The last token may be a label.
    label: bool,
    declare: bool,
    /// Between HANDLER FOR and its statement.
    handler: bool,
    /// Between UNTIL and END REPEAT.
    until: bool,
    last: Last,
    /// Has a block been opened?
    pub(crate) compound: bool,
}

impl Blocks {
    fn new(phase: Phase) -> Self {
        Self {
            phase,
            open: Vec::new(),
            parens: 0,
            parameters: false,
            start: phase == Phase::Body,
            label: false,
            declare: false,
            handler: false,
            until: false,
            last: Last::Other,
            compound: phase == Phase::Whole,
        }
    }

    /// For a statement that begins with this word, which is yet to be told; `None` if none of this
    /// kind has blocks.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        let is = |names: &[&str]| {
            names
                .iter()
                .any(|n| first.eq_ignore_ascii_case(n.as_bytes()))
        };
        let phase = match () {
            () if is(&["create", "alter"]) => Phase::Verb,
            () if is(&["begin"]) => Phase::Begin,
            () if is(&["declare"]) => Phase::Whole,
            // MariaDB runs these outside of routines, too.
            () if is(&["if", "case", "loop", "repeat", "while", "for"]) => Phase::Body,
            () => return None,
        };
        Some(Self::new(phase))
    }

    /// For a statement behind a label.
    pub(crate) fn labelled() -> Self {
        Self::new(Phase::Body)
    }

    /// Does the statement go on behind a `;`?
    pub(crate) fn is_open(&self) -> bool {
        self.phase == Phase::Whole || !self.open.is_empty()
    }

    /// A `;` inside.
    pub(crate) fn next_statement(&mut self) {
        (self.start, self.declare, self.handler, self.until) = (true, false, false, false);
        self.parens = 0;
        self.last = Last::Other;
    }

    /// The next token; `name`: a word that is part of a name or a variable.
    pub(crate) fn token(&mut self, tok: Tok, text: &[u8], name: bool) {
        match tok {
            Tok::Word if !name => return self.word(text),
            Tok::Word | Tok::Quoted if self.last == Last::Order => {
                self.last = Last::Other;
                self.start = true;
                return;
            }
            Tok::Word | Tok::Quoted => self.label = self.start || self.is_in_header(),
            Tok::Colon if self.label => {
                if self.is_in_header() {
                    self.phase = Phase::Body;
                }
                (self.start, self.label) = (true, false);
                return;
            }
            Tok::Open => {
                self.parens += 1;
                self.label = false;
            }
            Tok::Close => {
                self.parens = self.parens.saturating_sub(1);
                self.parameters |= self.parens == 0;
                self.label = false;
            }
            _ => self.label = false,
        }
        self.start = false;
        self.last = Last::Other;
    }

    fn is_in_header(&self) -> bool {
        self.phase == Phase::Header(Object::Routine) && self.parameters && self.parens == 0
    }

    fn word(&mut self, text: &[u8]) {
        let mut lower = [0; 16];
        let lower = match lower.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text);
                room.make_ascii_lowercase();
                &*room
            }
            // No word that matters is so long.
            None => b"",
        };
        let start = std::mem::take(&mut self.start);
        let before = std::mem::replace(&mut self.last, last_of(lower));
        self.label = start || self.is_in_header();
        match self.phase {
            Phase::Verb => self.verb(lower),
            Phase::Header(_) if self.parens > 0 => {}
            Phase::Header(object) => self.header(object, lower, before),
            Phase::Begin => match lower {
                b"begin" | b"not" => {}
                b"atomic" => {
                    self.phase = Phase::Blocks;
                    self.push(Block::Statement);
                    self.start = true;
                }
                _ => self.phase = Phase::Plain,
            },
            Phase::Body if before == Last::Order => {
                self.last = Last::Other;
                self.start = true;
            }
            Phase::Body if self.last == Last::Order => {}
            Phase::Body => self.body(lower, start),
            Phase::Blocks if self.open.is_empty() => {}
            Phase::Blocks => self.inside(lower, start, before),
            Phase::Plain | Phase::Whole => {}
        }
    }

    fn verb(&mut self, word: &[u8]) {
        self.phase = match word {
            b"procedure" | b"function" => Phase::Header(Object::Routine),
            b"trigger" => Phase::Header(Object::Trigger),
            b"event" => Phase::Header(Object::Event),
            b"package" => {
                self.compound = true;
                Phase::Whole
            }
            b"table" | b"view" | b"index" | b"database" | b"schema" | b"user" | b"role"
            | b"server" | b"sequence" | b"tablespace" => Phase::Plain,
            _ => Phase::Verb,
        };
    }

    fn header(&mut self, object: Object, word: &[u8], before: Last) {
        let begins = match object {
            Object::Trigger => {
                if word == b"row" && before == Last::Each {
                    self.phase = Phase::Body;
                    self.start = true;
                }
                false
            }
            Object::Event => {
                if word == b"do" {
                    self.phase = Phase::Body;
                    self.start = true;
                }
                false
            }
            Object::Routine => {
                self.parameters && before != Last::Returns && (opens(word) || is_verb(word))
            }
        };
        if begins {
            self.phase = Phase::Body;
            self.body(word, true);
        }
    }

    /// The first word of a body.
    fn body(&mut self, word: &[u8], start: bool) {
        if opens(word) && start {
            self.phase = Phase::Blocks;
            self.inside(word, true, Last::Other);
        } else if word == b"begin" || word == b"not" || word == b"atomic" {
            self.inside(word, start, Last::Other);
        } else if !self.label || is_verb(word) {
            self.phase = Phase::Plain;
        }
    }

    fn push(&mut self, block: Block) {
        self.open.push(block);
        self.compound = true;
        (self.declare, self.handler) = (false, false);
    }

    fn inside(&mut self, word: &[u8], start: bool, before: Last) {
        let begins = start || self.handler && before != Last::Handler;
        let in_case = self.open.last() == Some(&Block::Case);
        match word {
            b"begin" | b"loop" | b"repeat" if begins => {
                self.push(Block::Statement);
                self.start = true;
            }
            b"if" | b"while" | b"for" | b"case" if begins => self.push(Block::Statement),
            b"case" if before != Last::End => self.open.push(Block::Case),
            b"atomic" if before == Last::Not && self.open.len() == 1 => self.start = true,
            b"then" | b"else" => self.start = !in_case,
            b"do" if !start => self.start = true,
            b"until" if start => self.until = true,
            b"end" if start || in_case || self.until => {
                self.until &= in_case;
                self.open.pop();
            }
            b"declare" if start => self.declare = true,
            b"handler" if self.declare => self.handler = true,
            _ if self.handler && is_verb(word) => self.handler = false,
            _ => {}
        }
    }
}

fn last_of(word: &[u8]) -> Last {
    match word {
        b"not" => Last::Not,
        b"end" => Last::End,
        b"each" => Last::Each,
        b"handler" => Last::Handler,
        b"returns" | b"character" => Last::Returns,
        b"follows" | b"precedes" => Last::Order,
        _ => Last::Other,
    }
}

fn opens(word: &[u8]) -> bool {
    matches!(word, b"begin" | b"if" | b"case" | b"loop" | b"repeat" | b"while" | b"for")
}

fn is_verb(word: &[u8]) -> bool {
    VERBS
        .binary_search_by(|verb| verb.as_bytes().cmp(word))
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::{SqlMode, end_of_first};

    #[test]
    fn the_verbs_are_sorted() {
        assert!(VERBS.is_sorted());
    }

    /// Statements that are whole up to their last `;`, behind which another one stands.
    const WHOLE: &[&str] = &[
        "create procedure p() begin select 1; select 2; end",
        "CREATE OR REPLACE DEFINER=`a`@`b` PROCEDURE p(IN a INT, OUT b CHAR(3)) COMMENT 'x' BEGIN \
            SELECT 1; END",
        "create procedure p() select 1",
        "create procedure if not exists p() if 1 then select 1; else select 2; end if",
        "create procedure p() lbl: begin leave lbl; end lbl",
        "create procedure p() begin declare exit handler for sqlexception begin rollback; \
            resignal; end; select 1; end",
        "create procedure p() begin declare continue handler for not found, sqlstate '02000' set \
            @d = if(1, repeat('a', 2), 3); select 1; end",
        "create procedure p() begin declare c cursor for select begin, end from t for update; open \
            c; end",
        "create procedure p(x int) begin case x when 1 then select case when 1 then if(1,2,3) else \
            3 end; else begin end; end case; end",
        "create procedure p() begin l1: loop if (1) then leave l1; end if; iterate l1; end loop \
            l1; end",
        "create procedure p() begin repeat set a = case a when 1 then 2 end; until a > case b when \
            1 then 2 end end repeat; select 1; end",
        "create procedure p() begin while a < 3 do do sleep(1); set a = a + 1; end while; end",
        "create procedure p() begin for i in 1..3 do select i; end for; for r in (select 1 as a) \
            do select r.a; end for; end",
        "create procedure p() begin drop table if exists t; insert into t values (1) ; replace \
            into t values (2); xa end 'q'; end",
        "create function f() returns int return if(1, 2, 3)",
        "create function f() returns int deterministic return case when 1 then 2 end",
        "create function f(a int) returns set('begin','end') reads sql data begin return 1; end",
        "create function f() returns char(3) character set utf8mb4 begin return 'a;b'; end",
        "create aggregate function f(x int) returns int begin declare s int; loop fetch group next \
            row; set s = s + x; end loop; end",
        "create function f returns string soname 'x.so'",
        "create trigger t before insert on x for each row set new.a = if(new.b, 1, 2)",
        "create trigger t before insert on x for each row follows `begin` begin set new.a = 1; set \
            new.b = 2; end",
        "create trigger t after delete on x for each row precedes u if old.a then delete from y; \
            end if",
        "create event e on schedule every 1 day starts now() on completion preserve comment 'c' do \
            begin select 1; select 2; end",
        "create event e on schedule at now() do insert into t values (1)",
        "alter event e do begin select 1; select 2; end",
        "create table begin (begin int, end int, `case` int)",
        "create view v as select case when 1 then 2 end as begin",
        "begin not atomic declare a int; select 1; end",
        "begin",
        "lbl: begin not atomic select 1; end lbl",
        "if 1 then select 1; elseif 2 then select 3; else select 2; end if",
        "case 1 when 1 then select 1; else select 2; end case",
        "while 0 do select 1; end while",
        "for i in 1..2 do select i; end for",
        "loop select 1; end loop",
        "select case when 1 then 2 end",
        "set @a = case 1 when 1 then 2 end",
        "create user begin",
    ];

    #[test]
    fn statements_end_where_their_blocks_do() {
        for sql in WHOLE {
            for more in ["", ";", "; call p()", ";call p(); select 1"] {
                let text = format!("{sql}{more}");
                let end = end_of_first(text.as_bytes(), SqlMode::empty()).unwrap();
                assert_eq!(&text[..end], *sql, "{text}");
            }
        }
    }

    #[test]
    fn what_is_not_complete_goes_to_the_end() {
        for sql in [
            "create procedure p() begin select 1; select 2;",
            "begin not atomic if 1 then select 1; end;",
        ] {
            assert_eq!(end_of_first(sql.as_bytes(), SqlMode::empty()), Ok(sql.len()), "{sql}");
        }
    }
}
