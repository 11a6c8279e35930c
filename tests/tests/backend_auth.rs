//! `users.auth = "backend"`: the servers' own accounts log in, with what the servers know of their
//! passwords.
#![allow(clippy::unwrap_used, clippy::expect_used)]
use coregate_tests::wire::{Login, caps};
use coregate_tests::{Connection, Coregate, MariaDb, wait_until};
use std::net::TcpStream;

fn login(proxy: &Coregate, user: &str, password: &str) -> Result<Connection, u16> {
    Connection::try_login(proxy.mysql, user, password, None).map_err(|error| error.code)
}

#[test]
fn accounts_of_the_server_log_in() {
    let server = MariaDb::start("auth", &[]);
    let proxy = Coregate::drop_in("auth", &server, &["--auth", "backend"]);
    let mut root = server.connect();
    for sql in [
        "create user app identified by 'one'",
        "create user 'o''dd'@'127.0.0.%' identified by 'two'",
        "create user open@localhost",
        "create user elsewhere@'10.%' identified by 'one'",
        "create user locked identified by 'one' account lock",
        "create user secure identified by 'one' require ssl",
        "create user two@'%' identified by 'outer'",
        "create user two@'127.0.0.1' identified by 'inner'",
        "create user few identified by 'one' with max_user_connections 1",
        "create user shut@'%' identified by 'one'",
        "create user shut@'127.0.0.1' identified by 'one' account lock",
        "create role a_role",
    ] {
        root.run(sql);
    }
    let mut app = login(&proxy, "app", "one").unwrap();
    assert_eq!(app.value("select user()").as_deref(), Some("app@127.0.0.1"));
    // It works with the tablet's account, without the admin right.
    assert_eq!(app.query("create user other").error().code, 1227);
    app.run("select 1");
    login(&proxy, "o'dd", "two").unwrap();
    login(&proxy, "open", "").unwrap();
    // Of several hosts, the one counts that says most.
    login(&proxy, "two", "inner").unwrap();
    let one = login(&proxy, "few", "one").unwrap();
    assert_eq!(login(&proxy, "few", "one").err(), Some(1226));
    drop(one);
    for (user, password) in [
        ("app", "two"),
        ("app", ""),
        ("open", "x"),
        ("elsewhere", "one"),
        ("locked", "one"),
        ("secure", "one"),
        ("two", "outer"),
        ("shut", "one"),
        ("nobody", "one"),
        ("a_role", ""),
        ("", ""),
    ] {
        assert_eq!(login(&proxy, user, password).err(), Some(1045), "{user} {password}");
    }
    // Seconds later, what has changed counts; sessions stay.
    root.run("set password for app = password('new')");
    root.run("drop user two@'127.0.0.1'");
    wait_until("the new password counts", || login(&proxy, "app", "new").is_ok());
    assert_eq!(login(&proxy, "app", "one").err(), Some(1045));
    wait_until("the other account counts", || login(&proxy, "two", "outer").is_ok());
    app.run("select 1");
    // A server takes the account without a name, whose host says more.
    root.run("create user ''@'127.0.0.1'");
    wait_until("nobody is first", || login(&proxy, "app", "new").err() == Some(1045));
    root.run("drop user ''@'127.0.0.1'");
    wait_until("the account is back", || login(&proxy, "app", "new").is_ok());
    // Whom the proxy knows itself needs no server.
    login(&proxy, "sb", "sb").unwrap();
}

#[test]
fn without_it_the_servers_accounts_are_nobody() {
    let server = MariaDb::start("noauth", &[]);
    let proxy = Coregate::drop_in("noauth", &server, &[]);
    server.connect().run("create user app identified by 'one'");
    assert_eq!(login(&proxy, "app", "one").err(), Some(1045));
    let stream = TcpStream::connect(proxy.mysql).unwrap();
    let login =
        Login { user: "app", password: "one", database: None, capabilities: caps::FOUND_ROWS };
    assert_eq!(Connection::over(stream, &login).err().unwrap().code, 1045);
}
