//! Answers as they come, from a server that a test plays.
use super::wire::Wire;
use super::{Conn, Error};
use coregate_protocol::column::{ColumnDefinition, ColumnType};
use coregate_protocol::frame::write_packet;
use coregate_protocol::row::put_text;
use coregate_protocol::{Capabilities, Status};
use std::collections::VecDeque;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn caps() -> Capabilities {
    Capabilities::DRIVER.union(Capabilities::DEPRECATE_EOF)
}

fn pair() -> (Conn, DuplexStream) {
    let (client, server) = duplex(64);
    let wire = Wire::played(Box::new(client), caps());
    (Conn { wire: Some(wire), busy: false, statements: VecDeque::new() }, server)
}

/// The answer to a query: one column, these rows.
fn answer(rows: &[&[u8]]) -> Vec<u8> {
    let (mut out, mut seq) = (Vec::new(), 1);
    write_packet(&mut out, &mut seq, &[1]);
    let mut column = Vec::new();
    ColumnDefinition::expression(b"c", ColumnType::VAR_STRING).encode(caps(), &mut column);
    write_packet(&mut out, &mut seq, &column);
    for row in rows {
        let mut payload = Vec::new();
        put_text(&mut payload, Some(row));
        write_packet(&mut out, &mut seq, &payload);
    }
    let mut end = vec![0xfe, 0, 0];
    end.extend(Status::empty().bits().to_le_bytes());
    end.extend([0, 0]);
    write_packet(&mut out, &mut seq, &end);
    out
}

/// Reads a command and answers it.
async fn play(server: &mut DuplexStream, answer: &[u8]) {
    let mut head = [0; 4];
    server.read_exact(&mut head).await.expect("a command");
    let mut body = vec![0; usize::from(head[0]) | usize::from(head[1]) << 8];
    server.read_exact(&mut body).await.expect("its text");
    server.write_all(answer).await.expect("sent");
}

#[tokio::test]
async fn rows_come_whole_however_they_are_cut() {
    let (mut conn, mut server) = pair();
    // 0xfe begins a row of more than 16 MiB: it must not be taken for the end.
    let long = vec![b'x'; (1 << 24) + 5];
    let sent = answer(&[b"a", &long, b""]);
    let (rows, ()) = tokio::join!(conn.query::<String>("SELECT c"), play(&mut server, &sent));
    let lengths: Vec<usize> = rows.expect("rows").iter().map(String::len).collect();
    assert_eq!(lengths, [1, long.len(), 0]);
    let refused = b"\x09\0\0\x01\xff\x28\x04#42000".to_vec();
    let (result, ()) = tokio::join!(conn.query_drop("SELEC"), play(&mut server, &refused));
    assert!(matches!(result, Err(Error::Server(e)) if e.code == 1064 && e.sqlstate == *b"42000"));
    let sent = answer(&[b"b"]);
    let (again, ()) =
        tokio::join!(conn.query_first::<String>("SELECT c"), play(&mut server, &sent));
    assert_eq!(again.expect("usable").as_deref(), Some("b"));
}

/// The answer of a statement that was given up must not be taken for the next one's.
#[tokio::test]
async fn a_statement_that_was_given_up_ends_the_connection() {
    let (mut conn, mut server) = pair();
    {
        let given_up = conn.query_drop("SELECT SLEEP(9)");
        tokio::pin!(given_up);
        tokio::select! {
            biased;
            _ = &mut given_up => panic!("nobody answers"),
            () = tokio::task::yield_now() => {}
        }
    }
    play(&mut server, &answer(&[b"late"])).await;
    let next = conn.query_first::<String>("SELECT c").await;
    assert!(matches!(next, Err(Error::Protocol(_))), "{next:?}");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_said() {
    for (bytes, part) in [
        (&b"\x01\0\0\x05\x01"[..], "packet 5 came where 1 was due"),
        (b"\x01\0\0\x01\xfb", "asks for a file"),
        (b"\xff\xff\xff\x01", "closed the connection"),
    ] {
        let (mut conn, mut server) = pair();
        let played = async {
            play(&mut server, bytes).await;
            drop(server);
        };
        let (result, ()) = tokio::join!(conn.query_drop("SELECT 1"), played);
        let error = result.expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
        assert!(conn.query_drop("SELECT 1").await.is_err(), "of no use any more");
    }
}
