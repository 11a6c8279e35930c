//! Queries whose answer is the same for all who ask at the same time: they read tables, and nothing
//! else makes a difference. Whatever is not known to be so is not.
use crate::sql::lex::{Lexer, SqlMode, Tok, Token};

/// Functions that give the same for the same arguments, and words that stand before a parenthesis.
const CALLED: &[&[u8]] = &[
    b"abs",
    b"all",
    b"and",
    b"any",
    b"as",
    b"avg",
    b"between",
    b"bit_and",
    b"bit_or",
    b"bit_xor",
    b"by",
    b"case",
    b"cast",
    b"ceil",
    b"ceiling",
    b"char",
    b"char_length",
    b"character_length",
    b"coalesce",
    b"concat",
    b"concat_ws",
    b"convert",
    b"count",
    b"crc32",
    b"date",
    b"date_add",
    b"date_format",
    b"date_sub",
    b"datediff",
    b"day",
    b"dayofmonth",
    b"dayofweek",
    b"dayofyear",
    b"decimal",
    b"distinct",
    b"div",
    b"else",
    b"exists",
    b"extract",
    b"field",
    b"find_in_set",
    b"floor",
    b"format",
    b"from",
    b"greatest",
    b"group_concat",
    b"having",
    b"hex",
    b"hour",
    b"if",
    b"ifnull",
    b"in",
    b"index",
    b"instr",
    b"interval",
    b"is",
    b"isnull",
    b"join",
    b"json_array",
    b"json_arrayagg",
    b"json_extract",
    b"json_length",
    b"json_object",
    b"json_objectagg",
    b"json_unquote",
    b"json_value",
    b"key",
    b"lcase",
    b"least",
    b"left",
    b"length",
    b"like",
    b"locate",
    b"lower",
    b"lpad",
    b"ltrim",
    b"max",
    b"md5",
    b"min",
    b"minute",
    b"mod",
    b"month",
    b"not",
    b"nullif",
    b"octet_length",
    b"on",
    b"or",
    b"over",
    b"partition",
    b"pow",
    b"power",
    b"quarter",
    b"rank",
    b"regexp",
    b"repeat",
    b"replace",
    b"reverse",
    b"right",
    b"round",
    b"row_number",
    b"rpad",
    b"rtrim",
    b"second",
    b"select",
    b"sha1",
    b"sha2",
    b"sign",
    b"some",
    b"sqrt",
    b"std",
    b"stddev",
    b"substr",
    b"substring",
    b"substring_index",
    b"sum",
    b"then",
    b"time",
    b"timestampdiff",
    b"trim",
    b"truncate",
    b"ucase",
    b"union",
    b"unhex",
    b"upper",
    b"using",
    b"values",
    b"variance",
    b"week",
    b"when",
    b"where",
    b"xor",
    b"year",
];

/// Words that make an answer the session's own, or the moment's, or that do more than read.
const OWN: &[&[u8]] = &[
    b"current_date",
    b"current_role",
    b"current_time",
    b"current_timestamp",
    b"current_user",
    b"for",
    b"information_schema",
    b"into",
    b"lastval",
    b"localtime",
    b"localtimestamp",
    b"lock",
    b"mysql",
    b"next",
    b"nextval",
    b"performance_schema",
    b"previous",
    b"procedure",
    b"sql_calc_found_rows",
    b"sys",
    b"utc_date",
    b"utc_time",
    b"utc_timestamp",
];

/// Is the answer to this query the same for whoever asks now?
pub fn is_same_for_all(sql: &[u8], mode: SqlMode) -> bool {
    let mut lexer = Lexer::new(sql, mode);
    let Ok(first) = lexer.next_token() else { return false };
    if !is_one_of(&[b"select"], first.text(sql)) {
        return false;
    }
    let mut before = first;
    let mut after_dot = false;
    loop {
        let Ok(token) = lexer.next_token() else { return false };
        match token.tok {
            Tok::End => return true,
            Tok::UserVar
            | Tok::AtAt
            | Tok::Assign
            | Tok::VersionOpen
            | Tok::VersionClose
            | Tok::Hint
            | Tok::Directive => return false,
            Tok::Word if is_one_of(OWN, token.text(sql)) => return false,
            Tok::Quoted if is_one_of(OWN, bare(token, sql)) => return false,
            Tok::Open if !may_be_called(before, after_dot, sql) => return false,
            _ => {}
        }
        after_dot = before.tok == Tok::Dot;
        before = token;
    }
}

/// May a parenthesis stand behind this?
fn may_be_called(before: Token, after_dot: bool, sql: &[u8]) -> bool {
    match before.tok {
        Tok::Word => !after_dot && is_one_of(CALLED, before.text(sql)),
        // A stored function, however it is written.
        Tok::Quoted => false,
        _ => true,
    }
}

fn bare(token: Token, sql: &[u8]) -> &[u8] {
    let text = token.text(sql);
    text.get(1..text.len().saturating_sub(1))
        .unwrap_or_default()
}

fn is_one_of(words: &[&[u8]], word: &[u8]) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_of_tables_are_the_same_for_all() {
        let same = |sql: &str| is_same_for_all(sql.as_bytes(), SqlMode::empty());
        for sql in [
            "select c from sbtest1 where id = ?",
            "SELECT COUNT(*), max(a + (b)) FROM `t` x WHERE a IN (?) and (b = 'now()') limit 3",
            "select a, (select sum(b) from u where u.a = t.a) from t order by 1",
        ] {
            assert!(same(sql), "{sql}");
        }
        for sql in [
            "select now() from t",
            "select rand(), a from t",
            "select uuid() from t",
            "select a from t where b < current_timestamp",
            "select @a from t",
            "select @@autocommit from t",
            "select a from t for update",
            "select a from t lock in share mode",
            "select a into @x from t",
            "select my_function(a) from t",
            "select `count`(a) from t",
            "select db.count(a) from t",
            "select sql_calc_found_rows a from t",
            "select next value for s",
            "select nextval(s)",
            "select * from information_schema.tables",
            "select * from `mysql`.user",
            "select /*!50000 sleep(1), */ a from t",
            "select sleep(1) from t",
            "select get_lock('a', 1) from t",
            "select last_insert_id() from t",
            "select connection_id() from t",
            "select current_user from t",
            "insert into t values (1)",
            "(select a from t)",
            "with x as (select 1) select * from x",
            "show tables",
            "select 'a from t",
        ] {
            assert!(!same(sql), "{sql}");
        }
    }
}
