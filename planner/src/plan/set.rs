//! SET: what is assigned.

/// One assignment of a SET statement.
#[derive(Clone, PartialEq, Eq)]
pub struct Assignment {
    /// What it assigns to.
    pub scope: Scope,
    /// Lower case; `names` for `SET NAMES`, `character set` for `SET CHARACTER SET`, `transaction`
    /// for `SET [SESSION] TRANSACTION`, the variable's name without `@` for user variables.
    pub name: String,
    /// What is assigned, as far as the session must know.
    pub value: SetValue,
    /// The assignment as SQL, complete: `@@session.sql_mode = 'ANSI'`, `NAMES utf8mb4 COLLATE
    /// utf8mb4_bin`, `@a = 1 + 1`. As the client's bytes: they need not be UTF-8.
    pub sql: Vec<u8>,
}

/// What an assignment of SET is to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// A session's system variable: `@@session.a`, `@@a`, `a`, NAMES.
    Session,
    /// `@@global.a`, `@@persist.a`: the server's own.
    Global,
    /// User variable.
    User,
    /// `SET TRANSACTION ...` without SESSION: the next transaction only.
    NextTransaction,
    /// What a shard's server logs and copies to replicas: in keyspaces it is not the clients' to
    /// decide, so it is not set.
    Ignored,
    /// One of ours or Vitess's (`workload`, `transaction_mode`, `@@vitess_metadata...`): never sent
    /// to a backend.
    Vitess,
}

/// A value of SET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetValue {
    /// `DEFAULT`
    Default,
    /// A plain literal or bare word that means the same wherever it is repeated, as text without
    /// quotes.
    Literal(String),
    /// A string of plain ASCII: it is repeated in quotes that every SQL mode reads alike.
    Text(String),
    /// Must be read back after it was applied, because it depends on something (`CONCAT(@@sql_mode,
    /// ...)`, `NOW()`), or because its bytes mean something else under another SQL mode or
    /// character set.
    Expression(String),
}
