"""PyMySQL, mysqlclient and mysql-connector-python: the same checks, by the interface that they share.

Usage: dbapi.py pymysql|mysqlclient|connector
"""
import datetime
import decimal
import hashlib
import json
import sys

import common
from common import DATABASE, OTHER_DATABASE, PREFIX, equal, fails

DRIVER = sys.argv[1]
CONNECTOR = DRIVER == "connector"

if DRIVER == "pymysql":
    import pymysql as driver
    import pymysql.cursors
elif DRIVER == "mysqlclient":
    import MySQLdb as driver
    import MySQLdb.cursors
else:
    import mysql.connector as driver

TYPES = f"{PREFIX}_types"
KV = f"{PREFIX}_kv"
AUTO = f"{PREFIX}_auto"


def connect(user=common.USER, password=common.PASSWORD, database=DATABASE, tls=False, **more):
    options = dict(host=common.HOST, port=common.PORT, user=user, password=password, charset="utf8mb4")
    options.update(more)
    if DRIVER == "pymysql":
        if tls:
            options["ssl"] = {"check_hostname": False, "verify_mode": "none"}
        else:
            options["ssl_disabled"] = True
        options["max_allowed_packet"] = 64 << 20
        return driver.connect(database=database, **options)
    if DRIVER == "mysqlclient":
        # libmariadb wants none in the first case, and takes what it can get in the second.
        options["ssl_mode"] = "REQUIRED" if tls else "DISABLED"
        if options.pop("client_flag", None):
            options["client_flag"] = 1 << 16
        return driver.connect(database=database, **options)
    options["ssl_disabled"] = not tls
    options["use_pure"] = True
    return driver.connect(database=database, **options)


def code_of(error):
    return error.errno if CONNECTOR else error.args[0]


def query(connection, sql, args=None):
    cursor = connection.cursor()
    cursor.execute(sql, args)
    rows = cursor.fetchall() if cursor.description else None
    cursor.close()
    return [tuple(row) for row in rows] if rows is not None else None


def value(connection, sql, args=None):
    rows = query(connection, sql, args)
    equal((len(rows), len(rows[0])), (1, 1))
    return rows[0][0]


def connects():
    connection = connect()
    equal(value(connection, "select 1"), 1)
    equal(value(connection, "select database()"), DATABASE)
    connection.ping()
    connection.close()
    fails(1045, lambda: connect(password="wrong"), code_of)


def connects_by_tls():
    connection = connect(tls=True)
    cipher = query(connection, "select 'over tls', repeat('x', 100000)")
    equal(cipher, [("over tls", "x" * 100000)])
    connection.close()


def caching_sha2():
    for tls in (False, True):
        # The second login takes the short way.
        for _ in range(2):
            if not tls and DRIVER != "pymysql":
                continue  # these need TLS for it, or the server's key in a file
            connection = connect(common.SHA2_USER, common.SHA2_PASSWORD, tls=tls)
            equal(value(connection, "select 7"), 7)
            connection.close()
        if tls or DRIVER == "pymysql":
            fails(1045, lambda: connect(common.SHA2_USER, "wrong", tls=tls), code_of)


ROW = (
    2**63 - 1,
    -128,
    255,
    -32768,
    8388607,
    -2147483648,
    -(2**63),
    2**64 - 1,
    decimal.Decimal("-12345678901234567890.0123456789"),
    0.5,
    -1.7976931348623157e308,
    datetime.date(1000, 1, 1),
    datetime.timedelta(hours=-838, minutes=-59, seconds=-58, microseconds=-999999),
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2038, 1, 19, 3, 14, 6, 123456),
    2155,
    "ch",
    "Ünïcödé 🦀 '\"\\\0\n\x1a%",
    "🦀" * 1000,
    bytes(range(256)),
    b"\0\xff" * 50000,
    json.dumps({"a": [1, None, "🦀"]}, ensure_ascii=False),
    "y",
)
COLUMNS = "id,ti,tu,si,mi,i,bi,bu,d,f,db,da,t,dt,ts,y,c,vc,tx,bin,bl,j,en"


def types():
    connection = connect()
    query(connection, f"delete from {TYPES} where id in (%s, %s)", (ROW[0], -5))
    places = ",".join(["%s"] * len(ROW))
    query(connection, f"insert into {TYPES} ({COLUMNS}) values ({places})", ROW)
    nulls = (-5,) + (None,) * (len(ROW) - 1)
    query(connection, f"insert into {TYPES} ({COLUMNS}) values ({places})", nulls)
    connection.commit()
    got = query(connection, f"select {COLUMNS} from {TYPES} where id = %s", (ROW[0],))
    text = lambda row: tuple(v.decode() if isinstance(v, (bytes, bytearray)) and i == 21 else v for i, v in enumerate(row))
    equal(text(got[0]), ROW)
    got = query(connection, f"select {COLUMNS} from {TYPES} where id = -5")
    equal(got, [nulls])
    query(connection, f"update {TYPES} set bt = b'1010101010', se = 'a,c' where id = -5")
    connection.commit()
    got = query(connection, f"select bt, se, hex(bt) from {TYPES} where id = -5")[0]
    bits = got[0] if isinstance(got[0], int) else int.from_bytes(got[0], "big")
    members = got[1] if isinstance(got[1], str) else ",".join(sorted(got[1]))
    equal((bits, members, got[2]), (0b1010101010, "a,c", "2AA"))
    connection.close()


def transactions():
    one, two = connect(), connect()
    one.autocommit = True if CONNECTOR else one.autocommit
    query(one, f"delete from {KV} where id in (1, 2, 3, 4, 5, 6)")
    one.commit()
    query(one, "set autocommit=0")
    query(two, "set autocommit=1")
    for i in range(1, 7):
        query(one, f"insert into {KV} (id, v) values (%s, 'x')", (i,))
    equal(query(two, f"select id from {KV} where id in (1,2,3,4,5,6)"), [])
    one.rollback()
    equal(query(one, f"select id from {KV} where id in (1,2,3,4,5,6)"), [])
    for i in range(1, 7):
        query(one, f"insert into {KV} (id, v) values (%s, 'x')", (i,))
    one.commit()
    equal(sorted(query(two, f"select id from {KV} where id in (1,2,3,4,5,6)")), [(i,) for i in range(1, 7)])
    query(two, "begin")
    query(two, f"update {KV} set v = 'y' where id = 4")
    query(two, "savepoint s")
    query(two, f"update {KV} set v = 'z' where id = 4")
    query(two, "rollback to s")
    query(two, "commit")
    one.rollback()
    got = value(one, f"select v from {KV} where id = 4")
    equal(bytes(got) if not isinstance(got, str) else got.encode(), b"y")
    one.close()
    two.close()


def errors():
    connection = connect()
    query(connection, f"delete from {KV} where id = 10")
    query(connection, f"insert into {KV} (id) values (10)")
    connection.commit()
    fails(1062, lambda: query(connection, f"insert into {KV} (id) values (10)"), code_of)
    fails(1064, lambda: query(connection, "selekt 1"), code_of)
    fails(1064, lambda: query(connection, "select from where"), code_of)
    fails(1146, lambda: query(connection, "select * from no_such_table where id = 1"), code_of)
    fails(1054, lambda: query(connection, f"select no_such_column from {KV} where id = 10"), code_of)
    equal(value(connection, "select 'still here'"), "still here")
    connection.close()


def many_executions():
    connection = connect()
    cursor = connection.cursor(prepared=True) if CONNECTOR else connection.cursor()
    sql = f"select id, v, %s from {KV} where id = %s"
    query(connection, f"delete from {KV} where id = 20")
    query(connection, f"insert into {KV} (id, v) values (20, 'v')")
    connection.commit()
    values = [1, "two", 3.5, None, 2**40, "ü🦀", -1]
    for i in range(700):
        bound = values[i % len(values)] if not CONNECTOR else str(i)
        cursor.execute(sql, (bound, 20))
        row = cursor.fetchall()[0]
        got = row[2].decode() if isinstance(row[2], (bytes, bytearray)) else row[2]
        same = got == bound or (isinstance(bound, float) and float(got) == bound)
        if not same:
            raise AssertionError(f"{i}: {got!r} instead of {bound!r}")
    cursor.close()
    if CONNECTOR:
        # The same statement with other types.
        cursor = connection.cursor(prepared=True)
        for bound in values:
            cursor.execute("select %s", (bound,))
            got = cursor.fetchall()[0][0]
            got = got.decode() if isinstance(got, (bytes, bytearray)) else got
            equal(float(got) if isinstance(bound, float) else got, bound)
        cursor.close()
    connection.close()


def multi_statements():
    if DRIVER == "pymysql":
        connection = connect(client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)
    elif DRIVER == "mysqlclient":
        connection = connect(client_flag=True)
    else:
        connection = connect()
    query(connection, f"replace into {KV} (id, v) values (20, 'v')")
    connection.commit()
    cursor = connection.cursor()
    cursor.execute(f"select 1; select 2, 3; set @a = 4; select hex(v) from {KV} where id = 20; select 5")
    sets = []
    while True:
        if cursor.description:
            sets.append([tuple(row) for row in cursor.fetchall()])
        if not cursor.nextset():
            break
    equal(sets, [[(1,)], [(2, 3)], [("76",)], [(5,)]])
    cursor.close()
    # An error in the middle ends it, and the connection goes on.
    cursor = connection.cursor()

    def broken():
        cursor.execute("select 1; selekt 2; select 3")
        cursor.fetchall()
        while cursor.nextset():
            cursor.fetchall()

    fails(1064, broken, code_of)
    equal(value(connection, "select 'still here'"), "still here")
    connection.close()


def streams_100_mb():
    connection = connect()
    if DRIVER == "pymysql":
        cursor = connection.cursor(pymysql.cursors.SSCursor)
    elif DRIVER == "mysqlclient":
        cursor = connection.cursor(MySQLdb.cursors.SSCursor)
    else:
        cursor = connection.cursor(buffered=False)
    cursor.execute(f"select id, repeat(v, {common.BIG_BYTES}) from big")
    ids, size = [], 0
    while True:
        row = cursor.fetchone()
        if row is None:
            break
        ids.append(row[0])
        size += len(row[1])
    equal(sorted(ids), list(range(1, common.BIG_ROWS + 1)))
    equal(size, common.BIG_ROWS * common.BIG_BYTES)
    cursor.close()
    equal(value(connection, "select 1"), 1)
    connection.close()


def large_value():
    connection = connect()
    data = common.large_value()
    query(connection, f"delete from {KV} where id = 30")
    if DRIVER == "pymysql":
        # It writes bytes as hexadecimal digits, so that all at once is more than 64 MiB.
        half = len(data) // 2
        query(connection, f"insert into {KV} (id, v) values (30, %s)", (data[:half],))
        query(connection, f"update {KV} set v = concat(v, %s) where id = 30", (data[half:],))
        connection.commit()
        fails(1153, lambda: query(connect(), f"update {KV} set v = %s where id = 30", (data,)), code_of)
    else:
        query(connection, f"insert into {KV} (id, v) values (30, %s)", (data,))
    connection.commit()
    got = bytes(value(connection, f"select v from {KV} where id = 30"))
    equal(len(got), len(data))
    equal(hashlib.sha256(got).hexdigest(), hashlib.sha256(data).hexdigest())
    query(connection, f"delete from {KV} where id = 30")
    connection.commit()
    connection.close()


def warnings():
    connection = connect()
    query(connection, "select cast('12x' as signed)")
    rows = query(connection, "show warnings")
    equal([(r[0], r[1]) for r in rows], [("Warning", 1292)])
    query(connection, f"select id from {KV} where id = -404")
    equal(query(connection, "show warnings"), [])
    connection.close()


def last_insert_id():
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(f"insert into {AUTO} (v) values ('a')")
    first = cursor.lastrowid
    equal(value(connection, "select last_insert_id()"), first)
    cursor.execute(f"insert into {AUTO} (v) values ('b'), ('c')")
    equal(cursor.rowcount, 2)
    second = cursor.lastrowid
    assert first and second > first, (first, second)
    connection.commit()
    equal(value(connection, f"select v from {AUTO} where id = %s", (second,)), "b")
    connection.close()


def use():
    connection = connect()
    query(connection, f"use {OTHER_DATABASE}")
    equal(value(connection, "select database()"), OTHER_DATABASE)
    if hasattr(connection, "select_db"):
        connection.select_db(DATABASE)
    else:
        connection.database = DATABASE
    equal(value(connection, "select database()"), DATABASE)
    fails(1049, lambda: query(connection, "use no_such_database"), code_of)
    equal(value(connection, "select database()"), DATABASE)
    connection.close()


def session_variables():
    """Each session keeps its own, though they share the servers' connections."""
    zones = ["+05:30", "-08:00", "+00:00"]
    sessions = [connect() for _ in zones]
    for session, zone in zip(sessions, zones):
        query(session, f"set time_zone = '{zone}', sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'")
        query(session, "set @mine = %s", (zone,))
    hours = {"+05:30": "1970-01-01 05:30:00", "-08:00": "1969-12-31 16:00:00", "+00:00": "1970-01-01 00:00:00"}
    for _ in range(10):
        for session, zone in zip(sessions, zones):
            got = query(session, "select @@time_zone, @@sql_mode, @mine, cast(from_unixtime(0) as char)")
            equal(got, [(zone, "ANSI_QUOTES,STRICT_ALL_TABLES", zone, hours[zone])])
            session.commit()
    query(sessions[0], f'select "id" from "{KV}" where "id" = 20')
    for session in sessions:
        session.close()
    fresh = connect()
    assert value(fresh, "select @@time_zone") not in zones[:2]
    equal(value(fresh, "select @mine"), None)
    fresh.close()


common.run([
    connects, connects_by_tls, caching_sha2, types, transactions, errors, many_executions, multi_statements,
    streams_100_mb, large_value, warnings, last_insert_id, use, session_variables,
])
