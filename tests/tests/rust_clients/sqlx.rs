//! `sqlx`: everything with parameters is prepared, and kept prepared.
use super::{against_all, world};
use coregate_tests::Coregate;
use futures_lite::StreamExt;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPoolOptions, MySqlSslMode};
use sqlx::types::time::{Date, PrimitiveDateTime};
use sqlx::{AssertSqlSafe, Column, ConnectOptions, Connection, Executor, Row, TypeInfo};

type Target = (&'static Coregate, &'static str);

fn options(target: Target) -> MySqlConnectOptions {
    let address = target.0.mysql;
    MySqlConnectOptions::new()
        .host(&address.ip().to_string())
        .port(address.port())
        .username(world::USER)
        .password(world::PASSWORD)
        .database(target.1)
        .ssl_mode(MySqlSslMode::Disabled)
}

async fn connect(target: Target) -> MySqlConnection {
    options(target).connect().await.unwrap()
}

fn code(error: &sqlx::Error) -> u16 {
    let sqlx::Error::Database(e) = error else {
        panic!("an error of the server was expected: {error}")
    };
    e.downcast_ref::<sqlx::mysql::MySqlDatabaseError>().number()
}

async fn run(conn: &mut MySqlConnection, sql: &str) -> u64 {
    let done = sqlx::query(AssertSqlSafe(sql)).execute(conn).await;
    done.unwrap_or_else(|e| panic!("{sql}: {e}"))
        .rows_affected()
}

#[test]
fn logs_in() {
    against_all(|target| async move {
        let required = options(target).ssl_mode(MySqlSslMode::Required);
        for (options, user, password) in [
            (options(target), world::USER, world::PASSWORD),
            (options(target), world::NATIVE_USER, world::NATIVE_PASSWORD),
            (required.clone(), world::USER, world::PASSWORD),
            // Without TLS it would need the rsa crate, which is not safe to use.
            (required.clone(), world::SHA2_USER, world::SHA2_PASSWORD),
            (required, world::SHA2_USER, world::SHA2_PASSWORD),
        ] {
            let wrong = options.clone().username(user).password("wrong");
            let mut conn = options
                .username(user)
                .password(password)
                .connect()
                .await
                .unwrap();
            conn.ping().await.unwrap();
            let row = sqlx::query("select 7, database(), repeat('x', 100000)")
                .fetch_one(&mut conn)
                .await
                .unwrap();
            assert_eq!((row.get::<i64, _>(0), row.get::<&str, _>(1)), (7, target.1));
            assert_eq!(row.get::<&str, _>(2).len(), 100_000);
            conn.close().await.unwrap();
            assert_eq!(code(&wrong.connect().await.unwrap_err()), 1045, "{user}");
        }
    });
}

#[test]
fn types_come_back() {
    against_all(|target| async move {
        let mut conn = connect(target).await;
        run(&mut conn, "delete from sqlx_types where id in (7, 8)").await;
        let bytes: Vec<u8> = (0..=255).collect();
        let date = Date::from_ordinal_date(9999, 365).unwrap();
        let at = PrimitiveDateTime::new(
            date,
            sqlx::types::time::Time::from_hms_micro(23, 59, 59, 999_999).unwrap(),
        );
        let text = "Ünïcödé 🦀 '\"\\\0\n%";
        let insert =
            "insert into sqlx_types (id, ti, tu, bi, bu, d, f, db, da, dt, vc, tx, bin, bl, en)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(insert)
            .bind(7)
            .bind(-128i8)
            .bind(255u8)
            .bind(i64::MIN)
            .bind(u64::MAX)
            .bind("-12345678901234567890.0123456789")
            .bind(0.5f32)
            .bind(-1.5e300f64)
            .bind(date)
            .bind(at)
            .bind(text)
            .bind("🦀".repeat(1000))
            .bind(&bytes)
            .bind(bytes.repeat(400))
            .bind("y")
            .execute(&mut conn)
            .await
            .unwrap();
        let mut none = sqlx::query(insert).bind(8);
        for _ in 0..14 {
            none = none.bind(None::<i64>);
        }
        none.execute(&mut conn).await.unwrap();
        let select = "select ti, tu, bi, bu, d, f, db, da, dt, vc, tx, bin, bl, en from sqlx_types \
            where id = ?";
        let row = sqlx::query(select)
            .bind(7)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(row.get::<i8, _>("ti"), -128);
        assert_eq!(row.get::<u8, _>("tu"), 255);
        assert_eq!(row.get::<i64, _>("bi"), i64::MIN);
        assert_eq!(row.get::<u64, _>("bu"), u64::MAX);
        assert_eq!(row.get_unchecked::<String, _>("d"), "-12345678901234567890.0123456789");
        assert_eq!(row.get::<f32, _>("f"), 0.5);
        assert_eq!(row.get::<f64, _>("db"), -1.5e300);
        assert_eq!(row.get::<Date, _>("da"), date);
        assert_eq!(row.get::<PrimitiveDateTime, _>("dt"), at);
        assert_eq!(row.get::<&str, _>("vc"), text);
        assert_eq!(row.get::<&str, _>("tx"), "🦀".repeat(1000));
        assert_eq!(row.get::<&[u8], _>("bin"), bytes);
        assert_eq!(row.get::<&[u8], _>("bl"), bytes.repeat(400));
        assert_eq!(row.get::<&str, _>("en"), "y");
        let kinds: Vec<_> = row.columns().iter().map(|c| c.type_info().name()).collect();
        assert_eq!(
            kinds[..5],
            ["TINYINT", "TINYINT UNSIGNED", "BIGINT", "BIGINT UNSIGNED", "DECIMAL"]
        );
        let row = sqlx::query(select)
            .bind(8)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!((0..14).all(|at| row.get_unchecked::<Option<Vec<u8>>, _>(at).is_none()));
        conn.close().await.unwrap();
    });
}

#[test]
fn transactions() {
    const IDS: &str = "select id from sqlx_kv where id in (1, 2, 3, 4, 5, 6)";
    against_all(|target| async move {
        let pool = MySqlPoolOptions::new()
            .max_connections(3)
            .connect_with(options(target))
            .await
            .unwrap();
        sqlx::query("delete from sqlx_kv where id in (1, 2, 3, 4, 5, 6)")
            .execute(&pool)
            .await
            .unwrap();
        let count = || async { sqlx::query(IDS).fetch_all(&pool).await.unwrap().len() };
        for commit in [false, true] {
            let mut tx = pool.begin().await.unwrap();
            for id in 1..=6 {
                sqlx::query("insert into sqlx_kv (id, v) values (?, ?)")
                    .bind(id)
                    .bind("x")
                    .execute(&mut *tx)
                    .await
                    .unwrap();
            }
            // A nested one is a savepoint.
            let mut nested = tx.begin().await.unwrap();
            sqlx::query("delete from sqlx_kv where id in (?, ?)")
                .bind(1)
                .bind(4)
                .execute(&mut *nested)
                .await
                .unwrap();
            nested.rollback().await.unwrap();
            assert_eq!(count().await, 0);
            if commit {
                tx.commit().await.unwrap();
                assert_eq!(count().await, 6);
            } else {
                // Rolled back by the drop, before the connection is used again.
                drop(tx);
                assert_eq!(count().await, 0);
            }
        }
        pool.close().await;
    });
}

#[test]
fn prepares_anew_what_it_has_dropped() {
    against_all(|target| async move {
        let mut conn = connect(target).await;
        run(&mut conn, "replace into sqlx_kv (id, v) values (20, 'v')").await;
        // More texts than its cache holds; each twice.
        for round in 0..2 {
            for n in 0..150 {
                let sql = format!("select {n} + ?, v from sqlx_kv where id = ?");
                let row = sqlx::query(AssertSqlSafe(sql))
                    .bind(round)
                    .bind(20)
                    .fetch_one(&mut conn)
                    .await
                    .unwrap();
                assert_eq!(row.get::<i64, _>(0), n + round);
                assert_eq!(row.get::<&[u8], _>(1), b"v");
            }
        }
        conn.clear_cached_statements().await.unwrap();
        assert_eq!(run(&mut conn, "select id from sqlx_kv where id = 20").await, 0);
        conn.close().await.unwrap();
    });
}

#[test]
fn errors() {
    against_all(|target| async move {
        let mut conn = connect(target).await;
        run(&mut conn, "replace into sqlx_kv (id) values (10)").await;
        for (sql, wanted) in [
            ("insert into sqlx_kv (id) values (10)", 1062),
            ("selekt 1", 1064),
            ("select * from no_such_table where id = 1", 1146),
            ("select nothing from sqlx_kv where id = 10", 1054),
        ] {
            let text = conn
                .execute(sqlx::raw_sql(AssertSqlSafe(sql)))
                .await
                .unwrap_err();
            let prepared = sqlx::query(AssertSqlSafe(sql))
                .execute(&mut conn)
                .await
                .unwrap_err();
            assert_eq!((code(&text), code(&prepared)), (wanted, wanted), "{sql}");
        }
        let duplicate = sqlx::query("insert into sqlx_kv (id) values (?)")
            .bind(10)
            .execute(&mut conn)
            .await;
        assert!(
            duplicate
                .unwrap_err()
                .as_database_error()
                .unwrap()
                .is_unique_violation()
        );
        // Several statements in one text: the first error ends it.
        let several = conn.execute_many(sqlx::raw_sql("select 1; selekt 2"));
        let said: Vec<_> = several.collect().await;
        let Some(Err(error)) = said.last() else { panic!("{said:?}") };
        assert_eq!(code(error), 1064);
        assert_eq!(run(&mut conn, "select 'still here'").await, 0);
        conn.close().await.unwrap();
    });
}

#[test]
fn large_results_and_values() {
    against_all(|target| async move {
        let mut conn = connect(target).await;
        for sql in [
            "select id, repeat(v, 1048576) from big",
            "select id, repeat(v, 1048576) from big where id > ?",
        ] {
            let query = sqlx::query(sql);
            let query = if sql.contains('?') { query.bind(0) } else { query };
            let mut rows = query.fetch(&mut conn);
            let (mut sum, mut size) = (0, 0);
            while let Some(row) = rows.next().await {
                let row = row.unwrap();
                sum += row.get::<i64, _>(0);
                size += row.get::<&str, _>(1).len();
            }
            assert_eq!((sum, size), (5050, 100 << 20));
        }
        // Left in the middle: what is left is read before the next statement.
        let mut rows = sqlx::query("select id, repeat(v, 100000) from big").fetch(&mut conn);
        rows.next().await.unwrap().unwrap();
        drop(rows);
        let data: Vec<u8> = (0..32u32 << 20)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        run(&mut conn, "delete from sqlx_kv where id = 30").await;
        let insert = sqlx::query("insert into sqlx_kv (id, v) values (30, ?)");
        insert.bind(&data).execute(&mut conn).await.unwrap();
        let row = sqlx::query("select v from sqlx_kv where id = ?")
            .bind(30)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert!(row.get::<&[u8], _>(0) == data, "the value came back changed");
        run(&mut conn, "delete from sqlx_kv where id = 30").await;
        conn.close().await.unwrap();
    });
}
