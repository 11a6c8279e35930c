//! What the clients' checks run against: the same tables behind a drop-in, in an unsharded keyspace
//! and in a sharded one.
use crate::{Coregate, MariaDb, guard};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

pub const USER: &str = "app";
pub const PASSWORD: &str = "app";
/// Known to the proxy only by a `caching_sha2_password` hash.
pub const SHA2_USER: &str = "hashed";
pub const SHA2_PASSWORD: &str = "sha2 secret";
/// Known only by a `mysql_native_password` hash, of the password `native`.
pub const NATIVE_USER: &str = "native";
pub const NATIVE_PASSWORD: &str = "native";

const USERS: &str = r#"{
  "app": [{"Password": "app", "Groups": ["admin"]}],
  "root": [{"Password": "", "SourceHost": "localhost", "Groups": ["admin"]}],
  "hashed": [{"CachingSha2Password": "$A$005$Qz8kWb2LrT6nXv4JcY1mL1j3OAaB3MFyncQFwzS4PG71nrcAJgrh3H9Sg9X0go/"}],
  "native": [{"MysqlNativePassword": "*5694FF40BC251429744E03A3C20A209D6F9E214E"}]
}"#;

/// Each client has tables of its own, so that their checks run side by side.
pub const CLIENTS: &[&str] = &[
    "cli",
    "pymysql",
    "mysqlclient",
    "connector",
    "sapymysql",
    "samysqldb",
    "node",
    "go",
    "jmysql",
    "jmariadb",
    "sqlx",
    "async",
];
/// Rows of the table `big`: ids from 1, one letter each.
pub const BIG_ROWS: u32 = 100;

const TYPES: &str =
    "id bigint not null primary key, ti tinyint, tu tinyint unsigned, si smallint, \
    mi mediumint, i int,
 bi bigint, bu bigint unsigned, d decimal(30,10), f float, db double, da date, t time(6), dt \
 datetime(6),
 ts timestamp(6) null default null, y year, c char(10), vc varchar(200), tx text, bin \
 varbinary(300), bl longblob, j json,
 bt bit(10), en enum('x','y'), se set('a','b','c')";

fn tables(sharded: bool) -> String {
    let mut sql = String::new();
    for client in CLIENTS {
        let auto = if sharded { "" } else { "auto_increment" };
        let _ = writeln!(sql, "create table {client}_types ({TYPES});");
        let _ =
            writeln!(sql, "create table {client}_kv (id bigint not null primary key, v longblob);");
        let _ = writeln!(
            sql,
            "create table {client}_auto (id bigint not null {auto} primary key, v varchar(100));"
        );
    }
    sql.push_str("create table big (id bigint not null primary key, v varchar(10));\n");
    sql
}

/// Rows of `big`; by the proxy where it must spread them.
fn fill() -> String {
    let rows: Vec<_> = (1..=BIG_ROWS).map(|id| format!("({id},'x')")).collect();
    format!("insert into big (id, v) values {}", rows.join(","))
}

fn sequences() -> String {
    CLIENTS.iter().fold(String::new(), |mut sql, client| {
        let _ = writeln!(
            sql,
            "create table {client}_seq (id int not null primary key, next_id bigint, cache bigint) \
                comment 'vitess_sequence';
             insert into {client}_seq (id, next_id, cache) values (0, 1, 100);"
        );
        sql
    })
}

fn vschema_of_plain() -> String {
    let tables: Vec<_> = CLIENTS
        .iter()
        .map(|c| format!("\"{c}_seq\": {{\"type\": \"sequence\"}}"))
        .collect();
    format!("{{\"sharded\": false, \"tables\": {{{}}}}}", tables.join(","))
}

fn vschema_of_ring() -> String {
    let by_id = r#""column_vindexes": [{"column": "id", "name": "hash"}]"#;
    // The last two are sysbench's, which makes them itself.
    let mut tables: Vec<_> = ["big", "sbtest1", "sbtest2"]
        .map(|table| format!("\"{table}\": {{{by_id}}}"))
        .into();
    for client in CLIENTS {
        tables.push(format!("\"{client}_types\": {{{by_id}}}, \"{client}_kv\": {{{by_id}}}"));
        let auto = format!(
            "\"auto_increment\": {{\"column\": \"id\", \"sequence\": \"plain.{client}_seq\"}}"
        );
        tables.push(format!("\"{client}_auto\": {{{by_id}, {auto}}}"));
    }
    let vindexes = r#"{"hash": {"type": "hash"}}"#;
    format!("{{\"sharded\": true, \"vindexes\": {vindexes}, \"tables\": {{{}}}}}", tables.join(","))
}

/// The users file.
pub fn users_file() -> PathBuf {
    let path = guard::dir().join("users.json");
    fs::write(&path, USERS).expect("the users file");
    path
}

/// A certificate and its key, signed by itself, for 127.0.0.1 and localhost.
pub fn certificate() -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (cert, key) = (guard::dir().join("cert.pem"), guard::dir().join("key.pem"));
    fs::write(&cert, made.cert.pem()).expect("the certificate's file");
    fs::write(&key, made.signing_key.serialize_pem()).expect("the key's file");
    let text = |path: PathBuf| path.to_str().expect("UTF-8").to_owned();
    (text(cert), text(key))
}

/// A plain server with the tables in the database `test`, and a drop-in before it.
pub fn drop_in(more: &[&str]) -> (MariaDb, Coregate) {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    for statement in tables(false).split(";\n").filter(|s| !s.trim().is_empty()) {
        direct.run(statement);
    }
    direct.run(&fill());
    let (users, tls) = (users_file(), certificate());
    let mut args =
        vec!["--users", users.to_str().expect("UTF-8"), "--tls-cert", &tls.0, "--tls-key", &tls.1];
    args.extend_from_slice(more);
    let coregate = Coregate::drop_in("dropin", &server, &args);
    (server, coregate)
}

/// A cluster: the keyspace `plain` (unsharded, also holds the sequences) and `ring` (two shards),
/// the tables in both.
pub fn local(more: &[&str]) -> Coregate {
    let dir = guard::dir().join("schemas");
    fs::create_dir_all(&dir).expect("a directory");
    let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("a schema file");
    write("plain.sql", tables(false) + &sequences() + &fill() + ";\n");
    write("plain.json", vschema_of_plain());
    write("ring.sql", tables(true));
    write("ring.json", vschema_of_ring());
    let (dir, users) = (dir.to_str().expect("UTF-8"), users_file());
    let mut args =
        vec!["--keyspace", "plain", "--keyspace", "ring:2", "--schema", dir, "--vschema", dir];
    args.extend_from_slice(&["--users", users.to_str().expect("UTF-8")]);
    args.extend_from_slice(more);
    let coregate = Coregate::local("cluster", &args);
    coregate
        .connect_as(USER, PASSWORD, Some("ring"))
        .run(&fill());
    coregate
}

#[cfg(test)]
mod tests {
    use sha1::{Digest, Sha1};

    #[test]
    fn the_native_hash_is_of_its_password() {
        let hash = Sha1::digest(Sha1::digest(super::NATIVE_PASSWORD));
        let hex: String = hash.iter().map(|b| format!("{b:02X}")).collect();
        assert!(super::USERS.contains(&format!("\"*{hex}\"")), "{hex}");
    }
}
