import { expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { Method } from '../../src/wire/methods.ts'
import { Admin, Consumer, Groups, METHODS, Metadata, Producer } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf, ServiceNodeHarness } from '../harness/service-node.ts'

const CALLS = 10_000
const prng = new SeededPrng('requests that nobody should send')
/** All but what stops a node when it is asked to. */
const SERVED = [Producer, Consumer, Admin, Metadata, Groups]
  .flatMap(service => Object.values(service) as Method<unknown, unknown>[])
  .filter(method => method.path !== Admin.drainNode.path)

/** Valid requests to start from; methods without one start from nothing. */
const SEEDS: ReadonlyMap<string, readonly object[]> = new Map<string, readonly object[]>([
  [
    Producer.produce.path,
    [
      { topic: 'logs', records: [{ key: Buffer.from('k'), value: Buffer.from('v') }] },
      { topic: 'logs', batches: [{ partition: 1, batch: batchOf(['a', 'b']) }] },
      { topic: 'logs', partition: 0, timeoutMs: 500, records: [{}], producer: { producerId: 1 } },
    ],
  ],
  [
    Producer.produceStream.path,
    [
      {
        seq: 1,
        options: { timeoutMs: 100 },
        entries: [{ topic: 'logs', partition: 0, batch: batchOf(['a']) }],
      },
      { seq: 2, entries: [{ topic: 'logs', records: [{ value: Buffer.from('x') }] }] },
    ],
  ],
  [
    Consumer.fetch.path,
    [
      {
        partitions: [{ topic: 'logs', partition: 0, start: { last: 3 } }],
        maxWaitMs: 20,
        maxFrameBytes: 4096,
      },
    ],
  ],
  [
    Consumer.read.path,
    [
      { add: [{ topic: 'logs', stop: { at: 'CURRENT_END' } }], options: { maxFrameBytes: 2048 } },
      { add: [{ topic: 'logs', partition: 0, start: { timestampMs: 5 } }], credit: { records: 4 } },
      { remove: [{ topic: 'logs' }] },
    ],
  ],
  [Consumer.listOffsets.path, [{ partitions: [{ topic: 'logs', position: { timestampMs: 1 } }] }]],
  [
    Admin.createTopics.path,
    [{ topics: [{ topic: 'made', partitions: 1, settings: { 'segment.ms': '5000' } }] }],
  ],
  [Admin.deleteTopics.path, [{ topics: ['made', 'none'] }]],
  [Admin.listTopics.path, [{ namePrefix: 'l', pageSize: 1, pageToken: 'bG9ncw' }]],
  [Admin.describeTopics.path, [{ topics: ['logs', 'made'], pageSize: 1, pageToken: '' }]],
  [Admin.addPartitions.path, [{ topic: 'made', partitionCount: 2, timeoutMs: 10 }]],
  [Admin.describeConfigs.path, [{ topics: ['logs'] }]],
  [
    Admin.alterConfigs.path,
    [{ changes: [{ topic: 'made', set: { 'retention.ms': '1000' }, unset: ['x'] }] }],
  ],
  [Admin.deleteRecords.path, [{ partitions: [{ topic: 'logs', partition: 1, before: { offset: 1 } }] }]],
  [Metadata.get.path, [{ topics: ['logs', 'none'] }, { pageSize: 1 }]],
  [
    Groups.attend.path,
    [
      { join: { group: 'g', topics: ['logs'], member: 'm', sessionTimeoutMs: 1_000, start: { last: 2 } } },
      { join: { group: 'h', topicPattern: 'l*', assignor: 'range', clientId: 'c' } },
      { topics: { topics: ['made'] } },
      { release: { partitions: [{ topic: 'logs', partition: 0 }], memberEpoch: 2 } },
      { heartbeat: { number: 5 } },
    ],
  ],
  [
    Groups.commitOffsets.path,
    [
      { group: 'g', offsets: [{ topic: 'logs', partition: 0, nextOffset: 0, metadata: 'text' }] },
      { group: 'g', member: 'm', memberEpoch: 1, offsets: [{ topic: 'logs', partition: 1, nextOffset: 1 }] },
    ],
  ],
  [
    Groups.fetchOffsets.path,
    [{ group: 'g', partitions: [{ topic: 'logs' }], pageSize: 1, pageToken: 'bG9ncy8w' }],
  ],
  [Groups.listGroups.path, [{ states: ['STABLE'], namePrefix: 'g', pageSize: 1, pageToken: 'Zw' }]],
  [Groups.describeGroup.path, [{ group: 'g' }]],
  [
    Groups.resetOffsets.path,
    [
      { group: 'g', to: { timestampMs: 4 }, dryRun: true },
      { group: 'k', shiftBy: -1, partitions: [{ topic: 'logs', partition: 0 }] },
      { group: 'k', offsets: [{ topic: 'logs', partition: 1, nextOffset: 0 }] },
    ],
  ],
  [Groups.deleteGroup.path, [{ group: 'k' }]],
])

function request(method: Method<unknown, unknown>): Buffer {
  if (prng.chance(0.2)) return Buffer.from(prng.bytes(prng.uint32() % 64))
  const seeds = SEEDS.get(method.path) ?? [{}]
  const bytes = Buffer.from(method.request.encode(prng.pick(seeds)))
  const changes = prng.uint32() % 4
  for (let change = 0; change < changes && bytes.length > 0; change++)
    bytes[prng.uint32() % bytes.length] = prng.chance(0.5) ? prng.uint32() : prng.uint32() & 0x7f
  return prng.chance(0.1) ? bytes.subarray(0, prng.uint32() % (bytes.length + 1)) : bytes
}

it('answers ten thousand mutated requests over all methods, and is well afterwards', async () => {
  const node = await ServiceNodeHarness.start({ settings: { 'num.partitions': 2 } })
  await node.createTopic('logs', 2)
  const errors: unknown[] = []
  let answered = 0
  const over = (thrown?: unknown) => {
    answered++
    if (thrown !== undefined && !(thrown instanceof NaruError && thrown.reason !== 'INTERNAL'))
      errors.push(thrown)
  }
  for (let call = 0; call < CALLS; call++) {
    const method = prng.pick(SERVED)
    if (!method.requestStream && !method.responseStream) {
      node.channel.unary(method.path, request(method)).then(() => over(), over)
    } else {
      const stream = node.channel.stream(method.path)
      stream.setHandlers({ onMessage() {}, onClose: over })
      const frames = 1 + (prng.uint32() % 3)
      for (let frame = 0; frame < frames; frame++) stream.write(request(method))
      // Some say that they are done; the others go away.
      if (prng.chance(0.5)) stream.end()
      node.machine.clock.setTimer(50, () => stream.fail(new NaruError('CANCELLED', 'gone')))
    }
    if (call % 50 === 49) await node.forMs(60)
  }
  await node.until(() => answered === CALLS)
  expect(errors).toEqual([])
  expect(node.bugs).toEqual([])
  // What came through is what was well-formed; the node goes on as if nothing had been.
  await node.createTopic('after', 1)
  const { results } = await node.call(Producer.produce, {
    topic: 'after',
    records: [{ value: Buffer.from('v') }],
  })
  expect(results[0]?.failure).toBeUndefined()
  const { partitions } = await node.call(Consumer.fetch, { partitions: [{ topic: 'after', partition: 0 }] })
  expect(partitions[0]?.records.map(one => String(one.value))).toEqual(['v'])
  await node.stop()
}, 60_000)

it('serves every method of the API', async () => {
  const node = await ServiceNodeHarness.start()
  const api = [...METHODS.keys()].filter(path => path.startsWith('/naru.v1.'))
  expect([...node.broker.handlers.keys()].sort()).toEqual(api.sort())
  await node.stop()
})
