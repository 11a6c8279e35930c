//! `mysql_async`.
use super::{against_all, world};
use coregate_tests::Coregate;
use mysql_async::prelude::*;
use mysql_async::{Conn, OptsBuilder, Row, TxOpts, Value};

fn code(error: &mysql_async::Error) -> u16 {
    match error {
        mysql_async::Error::Server(e) => e.code,
        other => panic!("an error of the server was expected: {other}"),
    }
}

async fn connect(
    target: (&Coregate, &str),
    user: &str,
    password: &str,
) -> Result<Conn, mysql_async::Error> {
    let address = target.0.mysql;
    let opts = OptsBuilder::default()
        .ip_or_hostname(address.ip().to_string())
        .tcp_port(address.port())
        .user(Some(user))
        .pass(Some(password))
        .db_name(Some(target.1))
        .prefer_socket(Some(false))
        .max_allowed_packet(Some(64 << 20));
    Conn::new(opts).await
}

#[test]
fn logs_in_by_every_method() {
    against_all(|target| async move {
        for (user, password) in [
            (world::USER, world::PASSWORD),
            (world::NATIVE_USER, world::NATIVE_PASSWORD),
            (world::SHA2_USER, world::SHA2_PASSWORD),
            (world::SHA2_USER, world::SHA2_PASSWORD),
        ] {
            let mut conn = connect(target, user, password).await.unwrap();
            assert_eq!(conn.query_first::<u8, _>("select 7").await.unwrap(), Some(7), "{user}");
            let refused = connect(target, user, "wrong")
                .await
                .expect_err("a wrong password");
            assert_eq!(code(&refused), 1045, "{user}");
            conn.reset().await.unwrap();
            assert_eq!(
                conn.query_first::<String, _>("select database()")
                    .await
                    .unwrap()
                    .as_deref(),
                Some(target.1)
            );
            conn.disconnect().await.unwrap();
        }
    });
}

#[test]
fn binds_and_rebinds() {
    against_all(|target| async move {
        let mut conn = connect(target, world::USER, world::PASSWORD).await.unwrap();
        conn.query_drop("replace into async_kv (id, v) values (1, 'one'), (4, 'four')")
            .await
            .unwrap();
        let statement = conn
            .prep("select v, ? from async_kv where id = ?")
            .await
            .unwrap();
        let values: [Value; 7] = [
            1.into(),
            "two".into(),
            3.5.into(),
            Value::NULL,
            vec![0u8, 255].into(),
            u64::MAX.into(),
            Value::Date(2024, 2, 29, 1, 2, 3, 456_789),
        ];
        for round in 0..200 {
            let value = &values[round % values.len()];
            let id = if round % 2 == 0 { 1 } else { 4 };
            let row: Row = conn
                .exec_first(&statement, (id_first(value), id))
                .await
                .unwrap()
                .expect("a row");
            let wanted = if id == 1 { "one" } else { "four" };
            assert_eq!(row.get::<String, _>(0).as_deref(), Some(wanted));
            match value {
                Value::NULL => assert_eq!(row.as_ref(1), Some(&Value::NULL)),
                Value::Int(n) => assert_eq!(row.get::<i64, _>(1), Some(*n)),
                Value::UInt(n) => assert_eq!(row.get::<u64, _>(1), Some(*n)),
                Value::Double(n) => assert_eq!(row.get::<f64, _>(1), Some(*n)),
                Value::Bytes(bytes) => assert_eq!(row.get::<Vec<u8>, _>(1).as_ref(), Some(bytes)),
                other => {
                    assert_eq!(row.as_ref(1).map(|v| v.as_sql(true)), Some(other.as_sql(true)))
                }
            }
        }
        conn.close(statement).await.unwrap();
        let error = conn
            .query_drop("insert into async_kv (id) values (1)")
            .await
            .unwrap_err();
        assert_eq!(code(&error), 1062);
        conn.disconnect().await.unwrap();
    });
}

fn id_first(value: &Value) -> Value {
    value.clone()
}

#[test]
fn transactions_and_large_values() {
    against_all(|target| async move {
        let mut conn = connect(target, world::USER, world::PASSWORD).await.unwrap();
        let ids = "select id from async_kv where id in (11, 12, 13, 14, 15, 16)";
        conn.query_drop("delete from async_kv where id in (11, 12, 13, 14, 15, 16)")
            .await
            .unwrap();
        for commit in [false, true] {
            let mut tx = conn.start_transaction(TxOpts::default()).await.unwrap();
            tx.exec_batch(
                "insert into async_kv (id, v) values (?, 'x')",
                (11..=16).map(|id| (id,)),
            )
            .await
            .unwrap();
            if commit {
                tx.commit().await.unwrap()
            } else {
                tx.rollback().await.unwrap()
            }
            let mut seen: Vec<u64> = conn.query(ids).await.unwrap();
            seen.sort_unstable();
            assert_eq!(seen, if commit { (11..=16).collect() } else { Vec::<u64>::new() });
        }
        let data: Vec<u8> = (0..32u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        conn.exec_drop("update async_kv set v = ? where id = 14", (&data,))
            .await
            .unwrap();
        let got: Option<Vec<u8>> = conn
            .exec_first("select v from async_kv where id = ?", (14,))
            .await
            .unwrap();
        assert!(got.is_some_and(|got| got == data), "the value came back changed");
        conn.query_drop("delete from async_kv where id in (11, 12, 13, 14, 15, 16)")
            .await
            .unwrap();
        conn.disconnect().await.unwrap();
    });
}

/// A setting that is undone must not undo a transaction that lies on several shards.
#[test]
fn settings_that_change_in_a_transaction_keep_it() {
    against_all(|target| async move {
        let mut conn = connect(target, world::USER, world::PASSWORD).await.unwrap();
        conn.query_drop("delete from async_kv where id in (21, 22, 23, 24, 25, 26)")
            .await
            .unwrap();
        conn.query_drop("set time_zone = '+01:00', @mine = 1")
            .await
            .unwrap();
        conn.query_drop("begin").await.unwrap();
        for id in 21..=26 {
            conn.query_drop(format!("insert into async_kv (id, v) values ({id}, 'x')"))
                .await
                .unwrap();
        }
        conn.query_drop("set time_zone = default").await.unwrap();
        for id in 21..=26 {
            conn.query_drop(format!("update async_kv set v = 'y' where id = {id}"))
                .await
                .unwrap();
        }
        conn.query_drop("use no_such_database").await.unwrap_err();
        conn.query_drop("commit").await.unwrap();
        let seen: Vec<String> = conn
            .query("select v from async_kv where id in (21,22,23,24,25,26)")
            .await
            .unwrap();
        assert_eq!(seen, ["y"; 6]);
        conn.disconnect().await.unwrap();
    });
}
