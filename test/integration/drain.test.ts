import { expect, it } from 'vitest'
import type { NaruError } from '../../src/base/errors.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import { connect } from '../../src/server/client.ts'
import { Admin, Consumer, Health, Metadata, Producer } from '../../src/wire/methods.ts'
import { NodeProcess } from '../harness/node-process.ts'
import { Recorded } from '../harness/recorded-stream.ts'
import { batchOf } from '../harness/service-node.ts'

/** A stop with open streams of every kind; the drain timeout is far longer than a test may take. */
const settings = { 'drain.timeout.ms': 300_000 }

async function stopped(node: NodeProcess): Promise<void> {
  expect(await node.stop()).toBe(0)
}

it('answers every frame that it took: what is not answered is not stored', async () => {
  await using node = await NodeProcess.start({ settings })
  const channel = new GrpcTransport().connect(node.address)
  const create = Admin.createTopics.request.encode({ topics: [{ topic: 'logs', partitions: 1 }] })
  await channel.unary(Admin.createTopics.path, create)

  const telling = [
    [Consumer.read, Consumer.read.request.encode({ add: [{ topic: 'logs' }] })],
    [Metadata.watch, Metadata.watch.request.encode({})],
    [Health.watch, Health.watch.request.encode({})],
  ] as const
  const told = telling.map(([method, request]) => {
    const stream = new Recorded(channel.stream(method.path))
    stream.stream.write(request)
    return stream
  })
  const waiting = channel.unary(
    Consumer.fetch.path,
    Consumer.fetch.request.encode({
      partitions: [{ topic: 'logs', partition: 0, start: { at: 'LATEST' } }],
      maxWaitMs: 60_000,
      minBytes: 16_000_000,
    }),
  )

  const producing = new Recorded(channel.stream(Producer.produceStream.path))
  let seq = 0
  let isOpen = true
  const send = () => {
    while (isOpen) {
      const batch = batchOf([`${++seq}`], { valueBytes: 500 })
      const frame = Producer.produceStream.request.encode({
        seq,
        entries: [{ topic: 'logs', partition: 0, batch }],
      })
      if (!producing.stream.write(frame)) return
    }
  }
  producing.onDrain = send
  const closed = producing.closed.then(error => {
    isOpen = false
    return error
  })
  send()
  // Each message answers thousands of frames, and all that are under way must be answered or not stored: a few will do.
  await expect.poll(() => producing.messages.length, { timeout: 20_000 }).toBeGreaterThan(2)

  await stopped(node)
  const errors: (NaruError | undefined)[] = await Promise.all([closed, ...told.map(one => one.closed)])
  expect(errors.map(error => error?.reason)).toEqual(errors.map(() => 'NODE_DRAINING'))
  const answered = producing.messages
    .flatMap(message => Producer.produceStream.response.decode(message).answers)
    .filter(answer => answer.results[0]?.offset !== undefined)
  expect(Consumer.fetch.response.decode(await waiting).failures).toEqual([])

  await node.start()
  await using client = await connect(node.address)
  await using reader = client.reader({ topic: 'logs', stop: 'currentEnd' })
  let count = 0
  for await (const record of reader) {
    expect(Number.parseInt(String(record.value), 10)).toBe(answered[count]?.seq)
    count++
  }
  expect(count).toBe(answered.length)
  channel.close()
}, 60_000)

it('is no more than a pause for the SDK', async () => {
  await using node = await NodeProcess.start({ settings })
  await using client = await connect(node.address)
  await client.admin().createTopics([{ name: 'logs', partitions: 3 }])
  await using producer = client.producer()
  await using reader = client.reader({ topic: 'logs' })
  const got: string[] = []
  const reading = (async () => {
    for await (const record of reader) got.push(String(record.value))
  })()
  let sent = 0
  let isOver = false
  const sending = (async () => {
    while (!isOver) await producer.send({ topic: 'logs', key: `${sent % 50}`, value: `${sent++}` })
  })()
  for (let round = 0; round < 3; round++) {
    const target = sent + 200
    await expect.poll(() => sent, { timeout: 20_000 }).toBeGreaterThan(target)
    await stopped(node)
    await node.start()
  }
  isOver = true
  await sending
  await expect.poll(() => got.length, { timeout: 20_000 }).toBe(sent)
  expect(new Set(got).size).toBe(sent)
  await reader.close()
  await reading
}, 90_000)
