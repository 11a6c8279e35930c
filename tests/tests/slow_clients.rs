//! Clients that stop reading: they hold what is bounded, and the others go on.
#![allow(clippy::unwrap_used)]
use coregate_tests::{Connection, Coregate, MariaDb, wait_until, world};

#[test]
fn clients_that_do_not_read_do_not_stop_a_core() {
    let server = MariaDb::start("upstream", &[]);
    let mut direct = server.connect();
    direct.run("create table big (id int primary key, v longblob)");
    for id in 0..20 {
        direct.run(&format!("insert into big values ({id}, repeat('x', 1000000))"));
    }
    let users = world::users_file();
    let coregate =
        Coregate::drop_in("slow", &server, &["--cores", "1", "--users", users.to_str().unwrap()]);
    let login = || coregate.connect_as(world::USER, world::PASSWORD, Some("test"));
    let mut slow: Vec<Connection> = Vec::new();
    for count in [9, 50] {
        while slow.len() < count {
            let mut conn = login();
            conn.send_command(3, b"select * from big").unwrap();
            slow.push(conn);
        }
        // Each has filled what lies between it and its server.
        wait_until("the answers to stand still", || {
            let stuck = "select count(*) from information_schema.processlist where state = \
                'Writing to net'";
            direct.value(stuck).unwrap().parse::<usize>().unwrap() >= count
        });
        for _ in 0..20 {
            assert_eq!(
                login().value("select 7"),
                Some("7".into()),
                "with {count} that do not read"
            );
        }
        let mib = coregate.process.rss_kib() / 1024;
        assert!(mib < 150, "{mib} MiB with {count} that do not read");
    }
    // They get all of their rows when they go on.
    for mut conn in slow {
        let answers = conn.answers(false).unwrap();
        assert_eq!(answers[0].rows().len(), 20);
    }
}
