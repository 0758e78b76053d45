// node-postgres (pg) as it comes from npm: queries, parameters, named statements, a pool, errors.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import pg from 'pg'

const [host, port] = process.env.FOURFOLD_PG.split(':')
const settings = { host, port: Number(port), user: 'anyone', database: 'fourfold' }
const name = (base) => `${base}_${randomUUID().slice(0, 8)}`
const [source, view] = [name('orders'), name('sums')]

const client = new pg.Client(settings)
await client.connect()
await client.query(`CREATE SOURCE ${source} (item TEXT, amount INT) WITH (topic = '${source}', format = 'json')`)
await client.query(`CREATE MATERIALIZED VIEW ${view} AS SELECT item, count(*) AS orders, sum(amount) AS amount FROM ${source} GROUP BY item`)
const records = Array.from({ length: 20 }, (_, i) => ({ value: { item: `i${i % 2}`, amount: i } }))
const answer = await fetch(`http://${process.env.FOURFOLD_HTTP}/v1/topics/${source}/records`, {
  method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ records }),
})
assert.equal(answer.status, 200, await answer.text())
await client.query(`SET fourfold.min_position = '${source}/0:20'`)

const all = await client.query(`SELECT * FROM ${view} ORDER BY item`)
assert.deepEqual(all.fields.map((field) => field.name), ['item', 'orders', 'amount'])
assert.deepEqual(all.rows, [{ item: 'i0', orders: '10', amount: '90' }, { item: 'i1', orders: '10', amount: '100' }])
console.log('ok a view is queried')

const one = await client.query(`SELECT amount FROM ${view} WHERE item = $1`, ['i1'])
assert.deepEqual(one.rows, [{ amount: '100' }])
for (let i = 0; i < 5; i++) {
  const named = await client.query({ name: 'by-item', text: `SELECT orders FROM ${view} WHERE item = $1`, values: [`i${i % 2}`] })
  assert.deepEqual(named.rows, [{ orders: '10' }])
}
const typed = await client.query('SELECT $1::int AS n, $2::text AS t, $3::boolean AS b, $4::float8 AS f', [41, 'x', true, 0.5])
assert.deepEqual(typed.rows, [{ n: 41, t: 'x', b: true, f: 0.5 }])
console.log('ok parameters, named statements and types')

await assert.rejects(client.query('SELECT * FROM no_such_view'), { code: '42P01' })
await assert.rejects(client.query(`SELECT no_such_column FROM ${view}`), { code: '42703' })
assert.deepEqual((await client.query('SELECT 1::int AS one')).rows, [{ one: 1 }])
console.log('ok errors have their state, and the connection goes on')
await client.end()

const pool = new pg.Pool({ ...settings, max: 4 })
const counts = await Promise.all(Array.from({ length: 40 }, () => pool.query(`SELECT sum(orders) AS n FROM ${view}`)))
assert.ok(counts.every(({ rows }) => Number(rows[0].n) === 20))
await pool.end()
console.log('ok forty queries over a pool of four')
