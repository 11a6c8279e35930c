// mysql2, by callbacks' streams and by promises; text (`query`) and binary (`execute`) protocol.
'use strict'
const assert = require('node:assert/strict')
const crypto = require('node:crypto')
const mysql = require('mysql2')

const env = name => process.env['E2E_' + name]
const KV = env('PREFIX') + '_kv'
const TYPES = env('PREFIX') + '_types'
const AUTO = env('PREFIX') + '_auto'
const DATABASE = env('DATABASE')
const OTHER = env('OTHER_DATABASE')
const LARGE = 32 << 20

function options (more = {}) {
  return {
    host: env('HOST'), port: Number(env('PORT')), user: env('USER'), password: env('PASSWORD'), database: DATABASE,
    charset: 'utf8mb4', supportBigNumbers: true, bigNumberStrings: true, dateStrings: true, jsonStrings: true, ...more
  }
}

async function withConnection (more, work) {
  const connection = await mysql.createConnection(options(more)).promise()
  try {
    await connection.connect()
    return await work(connection)
  } finally {
    connection.destroy()
  }
}

async function rows (connection, sql, values) {
  return (await connection.query(sql, values))[0]
}

async function fails (errno, promise) {
  await assert.rejects(promise, error => {
    assert.equal(error.errno, errno, error.message)
    return true
  })
}

const checks = {
  async connects () {
    await withConnection({}, async c => {
      assert.deepEqual((await rows(c, 'select 1 as one, database() as db')).map(r => ({ ...r })), [{ one: 1, db: DATABASE }])
      await c.ping()
    })
    await fails(1045, withConnection({ password: 'wrong' }, async () => {}))
  },

  async connectsByTls () {
    await withConnection({ ssl: { rejectUnauthorized: false } }, async c => {
      const [row] = await rows(c, "select repeat('x', 100000) as x")
      assert.equal(row.x, 'x'.repeat(100000))
    })
  },

  async compresses () {
    await withConnection({ compress: true }, async c => {
      const [row] = await rows(c, "select repeat('x', 100000) as x")
      assert.equal(row.x, 'x'.repeat(100000))
      const [short] = await rows(c, 'select 1 as one')
      assert.equal(short.one, 1)
    })
  },

  async cachingSha2 () {
    const user = { user: env('SHA2_USER'), password: env('SHA2_PASSWORD') }
    for (const more of [{}, { ssl: { rejectUnauthorized: false } }]) {
      for (let i = 0; i < 2; i++) {
        await withConnection({ ...user, ...more }, async c => assert.equal((await rows(c, 'select 7 as n'))[0].n, 7))
      }
      await fails(1045, withConnection({ ...user, ...more, password: 'wrong' }, async () => {}))
    }
  },

  async types () {
    const row = {
      id: '9223372036854775807', ti: -128, tu: 255, si: -32768, mi: 8388607, i: -2147483648, bi: '-9223372036854775808',
      bu: '18446744073709551615', d: '-12345678901234567890.0123456789', f: 0.5, db: -1.5e300, da: '1000-01-01',
      t: '-838:59:58.999999', dt: '9999-12-31 23:59:59.999999', ts: '2038-01-19 03:14:06.123456', y: 2155, c: 'ch',
      vc: 'Ünïcödé 🦀 \'"\\\0\n\x1a%', tx: '🦀'.repeat(1000), bin: Buffer.from([...Array(256).keys()]),
      bl: Buffer.alloc(100000, 0xfe), j: '{"a": [1, null, "🦀"]}', en: 'y'
    }
    const names = Object.keys(row)
    const insert = `insert into ${TYPES} (${names}) values (${names.map(() => '?')})`
    await withConnection({}, async c => {
      for (const how of ['query', 'execute']) {
        await c.query(`delete from ${TYPES} where id in (?, 7)`, [row.id])
        await c[how](insert, Object.values(row))
        await c[how](insert, names.map(name => name === 'id' ? 7 : null))
        for (const back of ['query', 'execute']) {
          const [[got]] = await c[back](`select ${names} from ${TYPES} where id = ?`, [row.id])
          got.id = String(got.id)
          assert.deepEqual({ ...got }, row, `${how}, ${back}`)
          const [[nulls]] = await c[back](`select ${names.filter(n => n !== 'id')} from ${TYPES} where id = ?`, [7])
          assert.ok(Object.values(nulls).every(v => v === null), JSON.stringify(nulls))
        }
      }
      await c.query(`update ${TYPES} set bt = b'1010101010', se = 'a,c' where id = 7`)
      const [[got]] = await c.execute(`select bt, se from ${TYPES} where id = 7`)
      assert.equal(got.bt.toString('hex'), '02aa')
      assert.equal(got.se, 'a,c')
    })
  },

  async transactions () {
    await withConnection({}, one => withConnection({}, async two => {
      const ids = [1, 2, 3, 4, 5, 6]
      const seen = async () => (await rows(two, `select id from ${KV} where id in (?)`, [ids])).map(r => Number(r.id)).sort()
      await one.query(`delete from ${KV} where id in (?)`, [ids])
      await one.beginTransaction()
      for (const id of ids) await one.query(`insert into ${KV} (id, v) values (?, 'x')`, [id])
      assert.deepEqual(await seen(), [])
      await one.rollback()
      assert.deepEqual(await seen(), [])
      await one.query('set autocommit=0')
      for (const id of ids) await one.execute(`insert into ${KV} (id, v) values (?, 'x')`, [id])
      assert.deepEqual(await seen(), [])
      await one.commit()
      assert.deepEqual(await seen(), ids)
      await one.query('set autocommit=1')
      await one.query(`delete from ${KV} where id = 6`)
      assert.deepEqual(await seen(), ids.slice(0, 5))
    }))
  },

  async prepared () {
    await withConnection({}, async c => {
      await c.query(`replace into ${KV} (id, v) values (20, 'v')`)
      const values = [1, 'two', 3.5, null, 'ü🦀', -1, Buffer.from([0, 255])]
      for (let i = 0; i < 700; i++) {
        const value = values[i % values.length]
        const [[row]] = await c.execute(`select id, ? as x from ${KV} where id = ?`, [value, 20])
        assert.equal(Number(row.id), 20)
        if (Buffer.isBuffer(value)) assert.equal(Buffer.from(row.x, 'latin1').length > 0, true)
        else if (value === null) assert.equal(row.x, null)
        else if (typeof value === 'number') assert.equal(Number(row.x), value)
        else assert.equal(row.x, value)
      }
      const statement = await c.prepare(`select v from ${KV} where id = ?`)
      for (let i = 0; i < 50; i++) {
        const [[row]] = await statement.execute([20])
        assert.equal(row.v.toString(), 'v')
        assert.deepEqual((await statement.execute([-404]))[0], [])
      }
      await statement.close()
      // More statements than are kept: each is made anew.
      for (let i = 0; i < 300; i++) assert.equal((await c.execute(`select ${i} as n`))[0][0].n, i)
    })
  },

  async pipelines () {
    // Several commands are sent before the first is answered.
    await withConnection({}, async c => {
      const all = await Promise.all([...Array(100).keys()].map(i => c.query(`select ${i} as n, repeat('p', ${i * 50}) as p`)))
      all.forEach(([[row]], i) => assert.deepEqual([row.n, row.p.length], [i, i * 50]))
    })
  },

  async errors () {
    await withConnection({}, async c => {
      for (const how of ['query', 'execute']) {
        await c[how](`delete from ${KV} where id = 10`)
        await c[how](`insert into ${KV} (id) values (10)`)
        await fails(1062, c[how](`insert into ${KV} (id) values (10)`))
        await fails(1064, c[how]('selekt 1'))
        await fails(1146, c[how]('select * from no_such_table where id = 1'))
        await fails(1054, c[how](`select no_such_column from ${KV} where id = 10`))
        assert.equal((await rows(c, 'select 1 as n'))[0].n, 1)
      }
    })
  },

  async multiStatements () {
    await withConnection({ multipleStatements: true }, async c => {
      const [sets] = await c.query(`select 1 as a; replace into ${KV} (id, v) values (20, 'v'); select 2 as b; select 3 as c`)
      assert.deepEqual([sets[0][0].a, sets[1].affectedRows > 0, sets[2][0].b, sets[3][0].c], [1, true, 2, 3])
      await fails(1064, c.query('select 1; selekt 2; select 3'))
      assert.equal((await rows(c, 'select 1 as n'))[0].n, 1)
    })
    await withConnection({}, async c => { await fails(1064, c.query('select 1; select 2')) })
  },

  async streams () {
    const connection = mysql.createConnection(options())
    let sum = 0
    let size = 0
    const stream = connection.query('select id, repeat(v, 1048576) as v from big').stream({ highWaterMark: 2 })
    for await (const row of stream) {
      sum += Number(row.id)
      size += row.v.length
    }
    assert.deepEqual([sum, size], [5050, 100 << 20])
    connection.destroy()
  },

  async largeValue () {
    const data = crypto.createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(LARGE))
    await withConnection({}, async c => {
      for (const how of ['execute', 'query']) {
        await c.query(`delete from ${KV} where id = 30`)
        await c[how](`insert into ${KV} (id, v) values (30, ${how === 'query' ? `x'${data.toString('hex').slice(0, LARGE)}'` : '?'})`, how === 'query' ? [] : [data])
        const [[row]] = await c[how](`select v from ${KV} where id = 30`)
        const wanted = how === 'query' ? data.subarray(0, LARGE / 2) : data
        assert.equal(row.v.length, wanted.length)
        assert.ok(row.v.equals(wanted), 'the value came back changed')
      }
      await c.query(`delete from ${KV} where id = 30`)
    })
  },

  async warnings () {
    await withConnection({}, async c => {
      await c.query("select cast('12x' as signed)")
      assert.deepEqual((await rows(c, 'show warnings')).map(w => w.Code), [1292])
      const [result] = await c.query(`update ${KV} set v = cast('1y' as signed) where id = -404`)
      assert.equal(result.affectedRows, 0)
    })
  },

  async lastInsertId () {
    await withConnection({}, async c => {
      const [one] = await c.query(`insert into ${AUTO} (v) values ('a')`)
      assert.ok(one.insertId > 0)
      assert.equal(Number((await rows(c, 'select last_insert_id() as id'))[0].id), one.insertId)
      const [two] = await c.execute(`insert into ${AUTO} (v) values (?), (?)`, ['b', 'c'])
      assert.ok(two.insertId > one.insertId)
      assert.equal(two.affectedRows, 2)
      assert.equal((await rows(c, `select v from ${AUTO} where id = ?`, [two.insertId]))[0].v, 'b')
    })
  },

  async use () {
    await withConnection({}, async c => {
      await c.query(`use ${OTHER}`)
      assert.equal((await rows(c, 'select database() as d'))[0].d, OTHER)
      await c.changeUser({ database: DATABASE })
      assert.equal((await rows(c, 'select database() as d'))[0].d, DATABASE)
      await fails(1049, c.query('use no_such_database'))
      assert.equal((await rows(c, 'select database() as d'))[0].d, DATABASE)
    })
  },

  async sessionVariables () {
    const pool = mysql.createPool(options({ connectionLimit: 3 })).promise()
    const sessions = []
    for (const zone of ['+05:30', '-08:00', '+00:00']) {
      const c = await pool.getConnection()
      await c.query('set time_zone = ?, sql_mode = ?', [zone, 'ANSI_QUOTES,STRICT_ALL_TABLES'])
      await c.query('set @mine = ?', [zone])
      sessions.push([c, zone])
    }
    for (let i = 0; i < 10; i++) {
      for (const [c, zone] of sessions) {
        const [[got]] = await c.execute('select @@time_zone z, @@sql_mode m, @mine u')
        assert.deepEqual({ ...got }, { z: zone, m: 'ANSI_QUOTES,STRICT_ALL_TABLES', u: zone })
      }
    }
    await sessions[0][0].changeUser({})
    assert.equal((await rows(sessions[0][0], 'select @mine as u'))[0].u, null)
    await pool.end()
  }
}

async function main () {
  let failed = 0
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check()
      console.log('ok', name)
    } catch (error) {
      failed++
      console.log('FAILED', name, error)
    }
  }
  console.log('checks', Object.keys(checks).length, 'failed', failed)
  process.exit(failed ? 1 : 0)
}
main()
