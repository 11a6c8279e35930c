//! The words that the grammar knows.

macro_rules! keywords {
    (reserved { $($r:ident $rt:literal)* } free { $($f:ident $ft:literal)* }) => {
        /// A keyword. Each variant is the word of its name, in the table below; `None` is every
        /// other word.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Kw { None, $($r,)* $($f,)* }

        const WORDS: &[(&str, Kw)] = &[$(($rt, Kw::$r),)* $(($ft, Kw::$f),)*];

        impl Kw {
            /// May the word not be a name without quotes?
            pub fn is_reserved(self) -> bool {
                matches!(self, $(Self::$r)|*)
            }
        }
    };
}

keywords! {
    reserved {
        All "all" Analyze "analyze" And "and" As "as" Asc "asc" Between "between" Binary "binary"
        By "by" Call "call" Case "case" Collate "collate" Convert "convert" Cross "cross"
        CurrentUser "current_user" Default "default" Delete "delete" Desc "desc" Describe "describe"
        Distinct "distinct" DistinctRow "distinctrow" Div "div" Else "else" Except "except"
        Exists "exists" Explain "explain" False "false" For "for" Force "force" From "from"
        Group "group" Having "having" HighPriority "high_priority" If "if" Ignore "ignore" In "in"
        Index "index" Inner "inner" Insert "insert" Intersect "intersect" Interval "interval"
        Into "into" Is "is" Join "join" Key "key" Left "left" Like "like" Limit "limit" Lock "lock"
        LowPriority "low_priority" Match "match" Mod "mod" Natural "natural" Not "not" Null "null"
        On "on" Or "or" Order "order" Outer "outer" Over "over" Partition "partition"
        Procedure "procedure" Regexp "regexp" Replace "replace" Right "right" Rlike "rlike"
        Select "select" Separator "separator" Set "set" Straight "straight_join" Table "table"
        Then "then" To "to" True "true" Union "union" Update "update" Use "use" Using "using"
        Values "values" When "when" Where "where" With "with" Xor "xor" Lateral "lateral"
        Window "window" Grant "grant" Revoke "revoke" Alter "alter" Create "create" Drop "drop"
        Load "load" Kill "kill" Show "show" Returning "returning"
        SqlCalcFoundRows "sql_calc_found_rows" SqlSmallResult "sql_small_result"
        SqlBigResult "sql_big_result" Rename "rename" Optimize "optimize" Release "release"
        Unlock "unlock" Rows "rows" Range "range" Of "of" Delayed "delayed"
    }
    free {
        Action "action" Add "add" Against "against" Any "any" Some "some" At "at" Begin "begin"
        Cast "cast" Chain "chain" Char "char" Character "character" Charset "charset" Check "check"
        Checksum "checksum" Columns "columns" Commit "commit" Concurrent "concurrent"
        Connection "connection" Consistent "consistent" Count "count" Data "data"
        Database "database" Databases "databases" Date "date" Deallocate "deallocate" Do "do"
        Dual "dual" Duplicate "duplicate" Dumpfile "dumpfile" End "end" Engine "engine"
        Errors "errors" Escape "escape" Event "event" Execute "execute" Extended "extended"
        Extract "extract" Fields "fields" First "first" Flush "flush" Format "format" Full "full"
        Function "function" Global "global" GroupConcat "group_concat" Handler "handler"
        Install "install" Indexes "indexes" Infile "infile" Keys "keys" Keyspaces "keyspaces"
        LastInsertId "last_insert_id" Level "level" Local "local" Locked "locked" Member "member"
        Mode "mode" Names "names" Next "next" No "no" Nowait "nowait" Offset "offset" Only "only"
        Open "open" Outfile "outfile" Persist "persist" PersistOnly "persist_only"
        Position "position" Prepare "prepare" Previous "previous" Query "query" Quick "quick"
        Read "read" Recursive "recursive" Repair "repair" Repeatable "repeatable" Reset "reset"
        Rollback "rollback" Rollup "rollup" Row "row" Savepoint "savepoint" Schema "schema"
        Schemas "schemas" Session "session" Shards "shards" Share "share" Skip "skip"
        Snapshot "snapshot" Sounds "sounds" SqlBufferResult "sql_buffer_result" SqlCache "sql_cache"
        SqlNoCache "sql_no_cache" Start "start" Status "status" Substring "substring"
        Substr "substr" Tables "tables" Tablets "tablets" Temporary "temporary"
        Transaction "transaction" Trigger "trigger" Trim "trim" Truncate "truncate"
        Unsigned "unsigned" User "user" Value "value" Variables "variables" Vexplain "vexplain"
        View "view" Vitess "vitess" VitessKeyspaces "vitess_keyspaces" VitessShards "vitess_shards"
        VitessTablets "vitess_tablets" VitessTarget "vitess_target" Vschema "vschema"
        Vindexes "vindexes" Vindex "vindex" Wait "wait" Warnings "warnings" Work "work"
        Write "write" Xa "xa" Online "online" Offline "offline" Unique "unique" Fulltext "fulltext"
        Spatial "spatial" Sequence "sequence" Temptable "temptable" Undefined "undefined"
        Merge "merge" Algorithm "algorithm" Definer "definer" Sql "sql" Isolation "isolation"
        Uncommitted "uncommitted" Committed "committed" Serializable "serializable" Help "help"
        Timestamp "timestamp" Time "time" Collation "collation" Processlist "processlist"
        JsonTable "json_table" Xml "xml" Plan "plan" Queries "queries" Trace "trace"
    }
}

const SLOTS: usize = 1024;

const fn slot(word: &[u8]) -> usize {
    let mut hash = word.len() as u32;
    let mut i = 0;
    while i < word.len() {
        hash = hash.wrapping_mul(0x0100_0193) ^ (word[i] | 0x20) as u32;
        i += 1;
    }
    (hash ^ (hash >> 13)) as usize % SLOTS
}

static TABLE: [u16; SLOTS] = {
    let mut table = [u16::MAX; SLOTS];
    let mut n = 0;
    while n < WORDS.len() {
        let mut at = slot(WORDS[n].0.as_bytes());
        while table[at] != u16::MAX {
            at = (at + 1) % SLOTS;
        }
        table[at] = n as u16;
        n += 1;
    }
    table
};

/// The longest keyword, in bytes.
const LONGEST: usize = 20;

impl Kw {
    /// The keyword that a word is, whatever its case.
    pub fn of(word: &[u8]) -> Self {
        if word.len() > LONGEST {
            return Self::None;
        }
        let mut at = slot(word);
        while let Some(&(text, kw)) = TABLE.get(at).and_then(|&n| WORDS.get(n as usize)) {
            if text.as_bytes().eq_ignore_ascii_case(word) {
                return kw;
            }
            at = (at + 1) % SLOTS;
        }
        Self::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_in_any_case() {
        for (text, kw) in WORDS {
            assert!(text.len() <= LONGEST);
            assert_eq!(Kw::of(text.as_bytes()), *kw);
            assert_eq!(Kw::of(text.to_uppercase().as_bytes()), *kw);
        }
        assert_eq!(Kw::of(b"sbtest1"), Kw::None);
    }
}
