// kafkajs as it comes from npm: produce with headers and gzip, a group that commits and resumes, admin calls.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { once, EventEmitter } from 'node:events'
import kafkajs from 'kafkajs'

const { CompressionTypes, Kafka, logLevel } = kafkajs
const kafka = new Kafka({ clientId: 'test', brokers: [process.env.FOURFOLD_KAFKA], logLevel: logLevel.WARN })
const topic = `kafkajs_${randomUUID().slice(0, 8)}`
const groupId = `group_${randomUUID().slice(0, 8)}`

const admin = kafka.admin()
await admin.connect()
assert.equal(await admin.createTopics({ topics: [{ topic, numPartitions: 2 }], waitForLeaders: true }), true)
assert.ok((await admin.listTopics()).includes(topic), 'the created topic is not listed')
console.log('ok a topic is created and listed')

const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
await producer.connect()
const messages = Array.from({ length: 100 }, (_, i) => ({
  key: `k${i}`, value: `value ${i}`, partition: i % 2, headers: { n: String(i) },
}))
const sent = await producer.send({ topic, acks: -1, compression: CompressionTypes.GZIP, messages })
assert.deepEqual(sent.map((part) => part.errorCode), sent.map(() => 0))
console.log('ok an idempotent producer writes with gzip')

// Reads until `count` records came, commits, and returns them.
async function read(count) {
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6000, rebalanceTimeout: 6000 })
  const found = []
  const done = new EventEmitter()
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      found.push({ partition, offset: Number(message.offset), value: message.value.toString(), n: message.headers.n?.toString() })
      if (found.length === count) done.emit('done')
    },
  })
  await once(done, 'done', { signal: AbortSignal.timeout(30_000) })
  await consumer.commitOffsets([0, 1].map((partition) => ({
    topic, partition, offset: String(Math.max(-1, ...found.filter((m) => m.partition === partition).map((m) => m.offset)) + 1),
  })).filter(({ offset }) => offset !== '0'))
  await consumer.disconnect()
  return found
}

const found = await read(100)
for (const partition of [0, 1]) {
  const wanted = Array.from({ length: 50 }, (_, n) => ({ partition, offset: n, value: `value ${2 * n + partition}`, n: String(2 * n + partition) }))
  assert.deepEqual(found.filter((m) => m.partition === partition), wanted)
}
console.log('ok a group reads what was written, in order')

await producer.send({ topic, acks: -1, messages: [{ value: 'one more', partition: 1 }] })
assert.deepEqual(await read(1), [{ partition: 1, offset: 50, value: 'one more', n: undefined }])
console.log('ok a group resumes after its commit')

const offsets = await admin.fetchTopicOffsets(topic)
assert.deepEqual(offsets.map(({ partition, high }) => [partition, high]).sort(), [[0, '50'], [1, '51']])
await admin.deleteTopics({ topics: [topic] })
assert.ok(!(await admin.listTopics()).includes(topic), 'the deleted topic is still listed')
console.log('ok offsets are listed and a topic is deleted')

await producer.disconnect()
await admin.disconnect()
