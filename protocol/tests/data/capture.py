#!/usr/bin/env python3
"""Writes the answers of a real server, byte for byte, as answers-*.txt beside this file.

usage: capture.py HOST PORT USER PASSWORD

The account's method must be mysql_native_password, and the server must allow LOCAL INFILE and track all system
variables; it must be MariaDB. A file holds what was sent on one connection, a line for each answer: kind, name, bytes in
hexadecimal. The file's name says what was agreed: e DEPRECATE_EOF, t SESSION_TRACK, m the MariaDB extension, 0 none of
them. Of an answer that asks for a file there are two lines: up to the request, and (infile.after) from there.
"""
import hashlib
import os
import socket
import struct
import sys

host, port, user, password = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))

LONG_PASSWORD, FOUND_ROWS, LONG_FLAG, CONNECT_DB = 1, 2, 4, 8
LOCAL_FILES, PROTOCOL_41, TRANSACTIONS, SECURE = 0x80, 0x200, 0x2000, 0x8000
MULTI_STATEMENTS, MULTI_RESULTS, PS_MULTI = 1 << 16, 1 << 17, 1 << 18
PLUGIN_AUTH, SESSION_TRACK, DEPRECATE_EOF = 1 << 19, 1 << 23, 1 << 24
BASE = (LONG_FLAG | LOCAL_FILES | PROTOCOL_41 | TRANSACTIONS | SECURE | MULTI_STATEMENTS | MULTI_RESULTS | PS_MULTI
        | PLUGIN_AUTH)
PROGRESS, EXTENDED, CACHE = 1, 1 << 3, 1 << 4


def native(scramble, text):
    one = hashlib.sha1(text).digest()
    two = hashlib.sha1(scramble + hashlib.sha1(one).digest()).digest()
    return bytes(a ^ b for a, b in zip(one, two))


class Connection:
    def __init__(self, letters):
        self.sock = socket.create_connection((host, int(port)))
        self.sock.settimeout(10)
        self.letters = letters
        caps, ext = BASE, 0
        if "e" in letters:
            caps |= DEPRECATE_EOF
        if "t" in letters:
            caps |= SESSION_TRACK
        if "m" in letters:
            ext = PROGRESS | EXTENDED | CACHE
        else:
            caps |= LONG_PASSWORD
        self.greeting = self.packet()
        p = self.greeting[4:]
        end = p.index(0, 1)
        rest = p[end + 1:]
        scramble = rest[4:12] + rest[12 + 1 + 2 + 1 + 2 + 2 + 1 + 10:][:12]
        auth = native(scramble, password.encode())
        body = struct.pack("<IIB19xI", caps, 1 << 24, 45, ext) + user.encode() + b"\0" + bytes([len(auth)]) + auth
        body += b"mysql_native_password\0"
        self.response = struct.pack("<I", len(body))[:3] + b"\x01" + body
        self.sock.sendall(self.response)
        self.verdict = self.packet()
        assert self.verdict[4] == 0, self.verdict

    def exactly(self, n):
        data = b""
        while len(data) < n:
            more = self.sock.recv(n - len(data))
            assert more, "closed"
            data += more
        return data

    def packet(self):
        head = self.exactly(4)
        return head + self.exactly(int.from_bytes(head[:3], "little"))

    def send(self, command, seq=0):
        self.sock.sendall(struct.pack("<I", len(command))[:3] + bytes([seq]) + command)

    def answer(self, command):
        self.send(command)
        return self.quiet()

    def quiet(self):
        """All bytes until the server falls silent: so that the end is found without understanding the answer."""
        data = b""
        wait = 5.0
        while True:
            self.sock.settimeout(wait)
            try:
                more = self.sock.recv(1 << 20)
            except socket.timeout:
                break
            assert more, "closed"
            data += more
            wait = 0.25
        self.sock.settimeout(10)
        return data


def save(name, data):
    kind, tag, what = name.split("-")
    with open(os.path.join(HERE, f"answers-{tag}.txt"), "a") as f:
        f.write(f"{kind} {what} {data.hex()}\n")


def query(sql):
    return b"\x03" + sql.encode()


TYPES = """SELECT CAST(-5 AS SIGNED) i, CAST(18446744073709551615 AS UNSIGNED) u, 1.25 d, 1e10 f, NULL n, 'text' s,
 DATE'2024-02-29' dt, TIMESTAMP'2024-02-29 01:02:03.000040' ts, TIME'-51:04:05.5' t, b'101' bits, '' empty,
 ST_GeomFromText('POINT(1 2)') g, JSON_OBJECT('a', 1) j"""

SETUP = """CREATE DATABASE IF NOT EXISTS capture; USE capture; DROP TABLE IF EXISTS t;
 CREATE TABLE t (id INT UNSIGNED PRIMARY KEY AUTO_INCREMENT, small TINYINT, medium SMALLINT, wide BIGINT UNSIGNED,
 fl FLOAT, db DOUBLE, de DECIMAL(10,3), dt DATE, tm TIME(3), ts DATETIME(6), y YEAR, b BIT(12), txt TEXT, bl BLOB,
 e ENUM('a','b'), st SET('x','y'), j JSON, g POINT);
 INSERT INTO t VALUES (1, -1, -300, 18446744073709551615, 1.5, -2.25, 12.345, '2024-02-29', '-12:34:56.789',
 '2024-02-29 23:59:59.999999', 2024, b'100000000001', 'text', x'00FF', 'a', 'x,y', '{"k":[1,2]}', POINT(1,2)),
 (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 (3, 0, 0, 0, 0, 0, 0, '0000-00-00', '00:00:00', '0000-00-00 00:00:00', 0, b'0', '', '', 'b', '', '[]', NULL);
 DROP PROCEDURE IF EXISTS p; CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2, 3; END;
 DROP PROCEDURE IF EXISTS o; CREATE PROCEDURE o(OUT x INT) SET x = 42"""


def capture(letters):
    c = Connection(letters)
    tag = letters or "0"
    open(os.path.join(HERE, f"answers-{tag}.txt"), "w").close()
    save(f"greeting-{tag}-hello", c.greeting)
    save(f"response-{tag}-hello", c.response)
    c.answer(query("SET sql_mode = ''"))
    c.answer(query(SETUP))
    one = lambda name, sql: save(f"query-{tag}-{name}", c.answer(query(sql)))
    one("ok", "UPDATE t SET small = small + 1 WHERE id = 1")
    one("insert", "INSERT INTO t (small) VALUES (7), (8)")
    one("select", "SELECT 1")
    one("types", TYPES)
    one("table", "SELECT * FROM t")
    one("empty", "SELECT * FROM t WHERE FALSE")
    one("rows", "SELECT seq, REPEAT('x', seq % 300) FROM seq_1_to_60")
    one("multi", "SELECT 1; UPDATE t SET small = 3; SELECT 2 UNION SELECT 3; DO 0")
    one("multi_error", "SELECT 1; SELECT * FROM nowhere; SELECT 2")
    one("call", "CALL p()")
    one("error", "SELEC")
    one("error_in_rows", "SELECT seq, (SELECT seq FROM seq_1_to_3 s WHERE s.seq <= q.seq) FROM seq_1_to_5 q")
    one("use", "USE capture")
    one("set", "SET autocommit = 1, NAMES utf8mb4")
    one("begin", "BEGIN")
    one("commit", "COMMIT")
    one("progress", "SET progress_report_time = 1; ALTER TABLE t ENGINE = MyISAM, ADD COLUMN extra INT DEFAULT 1, FORCE")
    c.answer(query("ALTER TABLE t DROP COLUMN IF EXISTS extra"))
    c.answer(query("CREATE OR REPLACE TABLE l (a INT, b VARCHAR(20))"))
    save(f"query-{tag}-infile", c.answer(query("LOAD DATA LOCAL INFILE 'x' INTO TABLE l FIELDS TERMINATED BY ','")))
    c.send(b"1,one\n2,two\n", 2)
    c.send(b"", 3)
    save(f"query-{tag}-infile.after", c.quiet())

    def prepare(name, sql):
        data = c.answer(b"\x16" + sql.encode())
        save(f"prepare-{tag}-{name}", data)
        return struct.unpack("<I", data[5:9])[0]

    def execute(name, stmt, flags=0, body=b""):
        save(f"execute-{tag}-{name}", c.answer(b"\x17" + struct.pack("<IBI", stmt, flags, 1) + body))

    stmt = prepare("plain", "SELECT * FROM t")
    execute("table", stmt)
    execute("again", stmt)
    execute("cursor", stmt, 1)
    save(f"fetch-{tag}-some", c.answer(b"\x1c" + struct.pack("<II", stmt, 2)))
    save(f"fetch-{tag}-rest", c.answer(b"\x1c" + struct.pack("<II", stmt, 1000)))
    save(f"simple-{tag}-reset", c.answer(b"\x1a" + struct.pack("<I", stmt)))
    stmt = prepare("params", "SELECT ? + 1, ?, id FROM t WHERE id = ?")
    params = struct.pack("<BB2B2B2B", 0, 1, 8, 0, 253, 0, 3, 0) + struct.pack("<q", 41) + b"\x02hi" + struct.pack("<i", 1)
    execute("params", stmt, 0, params)
    stmt = prepare("update", "UPDATE t SET small = ? WHERE id = ?")
    execute("update", stmt, 0, struct.pack("<BB2B2B", 0, 1, 1, 0, 1, 0) + b"\x05\x01")
    stmt = prepare("call", "CALL p()")
    execute("call", stmt)
    stmt = prepare("out", "CALL o(?)")
    execute("out", stmt, 0, struct.pack("<BB2B", 0, 1, 3, 0) + struct.pack("<i", 0))
    prepare("none", "DO 1")
    save(f"prepare-{tag}-error", c.answer(b"\x16SELEC"))
    save(f"execute-{tag}-unknown", c.answer(b"\x17" + struct.pack("<IBI", 9999, 0, 1)))
    save(f"fields-{tag}-list", c.answer(b"\x04t\0"))
    save(f"fields-{tag}-error", c.answer(b"\x04nowhere\0"))
    save(f"statistics-{tag}-text", c.answer(b"\x09"))
    save(f"simple-{tag}-ping", c.answer(b"\x0e"))
    save(f"simple-{tag}-init_db", c.answer(b"\x02capture"))
    save(f"simple-{tag}-init_db_error", c.answer(b"\x02nowhere"))
    save(f"simple-{tag}-set_option", c.answer(b"\x1b\x00\x00"))
    save(f"simple-{tag}-debug", c.answer(b"\x0d"))
    save(f"simple-{tag}-reset_connection", c.answer(b"\x1f"))


for letters in ["", "e", "et", "m", "emt"]:
    capture(letters)
