"""SQLAlchemy: the ORM and the core, over PyMySQL (`pymysql`) or mysqlclient (`mysqldb`), the driver being the argument."""
import datetime
import decimal
import sys

import sqlalchemy as sa
from sqlalchemy import orm

import common
from common import DATABASE, PREFIX, equal, fails

DRIVER = sys.argv[1]
URL = sa.URL.create(f"mysql+{DRIVER}", common.USER, common.PASSWORD, common.HOST, common.PORT, DATABASE, {"charset": "utf8mb4"})
ENGINE = sa.create_engine(URL, pool_size=3, pool_pre_ping=True)


class Base(orm.DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = f"{PREFIX}_auto"
    id: orm.Mapped[int] = orm.mapped_column(sa.BigInteger, primary_key=True)
    v: orm.Mapped[str] = orm.mapped_column(sa.String(100))


KV = sa.table(f"{PREFIX}_kv", sa.column("id", sa.BigInteger), sa.column("v", sa.LargeBinary))
TYPES = sa.table(
    f"{PREFIX}_types", sa.column("id", sa.BigInteger), sa.column("d", sa.Numeric(30, 10)),
    sa.column("dt", sa.DateTime), sa.column("tx", sa.Text), sa.column("bl", sa.LargeBinary), sa.column("j", sa.JSON),
)


def code_of(error):
    return error.orig.args[0]


def connects():
    with ENGINE.connect() as c:
        equal(c.scalar(sa.text("select 1")), 1)
        equal(c.scalar(sa.text("select database()")), DATABASE)
        assert c.dialect.server_version_info >= (5, 5), c.dialect.server_version_info


def inspects():
    inspector = sa.inspect(ENGINE)
    assert Item.__tablename__ in inspector.get_table_names(), inspector.get_table_names()
    equal([c["name"] for c in inspector.get_columns(Item.__tablename__)], ["id", "v"])
    equal(inspector.get_pk_constraint(Item.__tablename__)["constrained_columns"], ["id"])
    assert inspector.has_table(Item.__tablename__) and not inspector.has_table("no_such_table")


def orm_round_trip():
    with orm.Session(ENGINE) as s:
        item = Item(v="🦀 orm")
        s.add(item)
        s.commit()
        key = item.id
        assert key
    with orm.Session(ENGINE) as s:
        item = s.get(Item, key)
        equal(item.v, "🦀 orm")
        item.v = "changed"
        s.flush()
        s.rollback()
        equal(s.get(Item, key).v, "🦀 orm")
        s.get(Item, key).v = "kept"
        s.commit()
        equal(s.scalar(sa.select(Item.v).where(Item.id == key)), "kept")
        s.delete(s.get(Item, key))
        s.commit()
        equal(s.get(Item, key), None)


def nested():
    with orm.Session(ENGINE) as s:
        s.execute(sa.delete(KV).where(KV.c.id == 100))
        s.execute(sa.insert(KV).values(id=100, v=b"a"))
        try:
            with s.begin_nested():
                s.execute(sa.update(KV).where(KV.c.id == 100).values(v=b"b"))
                raise KeyError
        except KeyError:
            pass
        s.commit()
        equal(s.scalar(sa.select(KV.c.v).where(KV.c.id == 100)), b"a")


def types():
    row = dict(
        id=77, d=decimal.Decimal("12345678901234567890.0123456789"), dt=datetime.datetime(2024, 2, 29, 23, 59, 59),
        tx="🦀" * 100, bl=bytes(range(256)), j={"a": [1, None, "🦀"]},
    )
    with ENGINE.begin() as c:
        c.execute(sa.delete(TYPES).where(TYPES.c.id == 77))
        c.execute(sa.insert(TYPES).values(**row))
    with ENGINE.connect() as c:
        equal(dict(c.execute(sa.select(TYPES).where(TYPES.c.id == 77)).one()._mapping), row)


def many_rows():
    ids = list(range(200, 260))
    with ENGINE.begin() as c:
        c.execute(sa.delete(KV).where(KV.c.id.in_(ids)))
        c.execute(sa.insert(KV), [dict(id=i, v=str(i).encode()) for i in ids])
    with ENGINE.connect() as c:
        got = c.execute(sa.select(KV.c.id, KV.c.v).where(KV.c.id.in_(ids))).all()
        equal(sorted(map(tuple, got)), [(i, str(i).encode()) for i in ids])
        result = c.execution_options(stream_results=True).execute(sa.text("select id, repeat(v, 100000) from big"))
        equal(sum(len(r[1]) for r in result), common.BIG_ROWS * 100000)


def errors():
    def twice():
        with ENGINE.begin() as c:
            c.execute(sa.delete(KV).where(KV.c.id == 101))
            c.execute(sa.insert(KV).values(id=101))
            c.execute(sa.insert(KV).values(id=101))
    fails(1062, twice, code_of)
    with ENGINE.connect() as c:
        fails(1064, lambda: c.execute(sa.text("selekt 1")), code_of)
        fails(1146, lambda: c.execute(sa.text("select * from no_such_table where id = 1")), code_of)
        equal(c.scalar(sa.select(KV.c.id).where(KV.c.id == 101)), None)


def isolation():
    with ENGINE.connect().execution_options(isolation_level="READ COMMITTED") as c:
        equal(c.get_isolation_level(), "READ COMMITTED")
        equal(c.scalar(sa.text("select 1")), 1)
    with ENGINE.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
        c.execute(sa.delete(KV).where(KV.c.id == 102))
        c.execute(sa.insert(KV).values(id=102, v=b"auto"))
        with ENGINE.connect() as other:
            equal(other.scalar(sa.select(KV.c.v).where(KV.c.id == 102)), b"auto")


common.run([connects, inspects, orm_round_trip, nested, types, many_rows, errors, isolation])
