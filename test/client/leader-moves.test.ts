import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { connectClient } from '../../src/client/client.ts'
import type { Client } from '../../src/client/index.ts'
import type { MessageStream, ServiceHandler, ServiceHandlers } from '../../src/ports/transport.ts'
import { initCompression } from '../../src/records/compression.ts'
import { stampBatch } from '../../src/records/stamp-batch.ts'
import { errorToFailure } from '../../src/wire/failure.ts'
import type { MessageInit, ProduceEntry, ProduceResult, TopicMetadata } from '../../src/wire/messages.ts'
import { Consumer, Metadata, Producer } from '../../src/wire/methods.ts'
import { EventScheduler } from '../harness/event-scheduler.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf } from '../harness/service-node.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimNetwork } from '../harness/sim-network.ts'
import { SimTransport, serveSimulated } from '../harness/sim-transport.ts'
import { readAll } from './sdk-harness.ts'

/** Two nodes that say what the test says; the one partition of "logs" is led by one of them. */
class TwoNodes {
  readonly scheduler = new EventScheduler(new SeededPrng('scheduler'))
  readonly network = new SimNetwork({ scheduler: this.scheduler, prng: new SeededPrng('network') })
  readonly #watches = new Set<MessageStream>()
  /** What each node got and did not refuse, in order. */
  readonly got: { nodeId: number; entry: ProduceEntry }[] = []
  /** Which node was asked for offsets and reads. */
  readonly asked: string[] = []
  /** As the metadata tell it, and as it is. */
  told = { leaderId: 1, leaderEpoch: 0, topicId: 'first' }
  leaderId = 1
  /** Otherwise they know no topic, and do not reach the quorum to ask. */
  areSure = true
  topicId = 'first'
  /** Of the leader that refusals name; undefined: they name it without. */
  namedEpoch: number | undefined
  refusals = 0
  #index = 1

  start(): void {
    for (const nodeId of [1, 2]) {
      const name = `n${nodeId}`
      const machine = new SimMachine(nodeId, { name, scheduler: this.scheduler, prng: new SeededPrng(name) })
      const { incarnation } = machine
      const handlers = this.#handlers(nodeId)
      serveSimulated({ network: this.network, incarnation, address: `${name}:7450`, handlers })
    }
    const beat = () => {
      this.#tell({})
      this.scheduler.schedule(500, beat)
    }
    beat()
  }

  /** The metadata catch up with what is so. */
  catchUp(): void {
    this.told = { leaderId: this.leaderId, leaderEpoch: this.told.leaderEpoch + 1, topicId: this.topicId }
    this.#index++
    this.#tell({ topics: [this.#topic()] })
  }

  /** A node that has not heard of the new leader tells its picture. */
  tellAgain(): void {
    this.#index++
    this.#tell({ topics: [this.#topic()] })
  }

  #topic(): TopicMetadata {
    const { topicId, leaderId, leaderEpoch } = this.told
    const partitions = [{ partition: 0, leaderId, leaderEpoch }]
    return { topic: 'logs', topicId, internal: false, maxMessageBytes: 1_000_000, partitions }
  }

  get #facts() {
    const nodes = [1, 2].map(nodeId => ({ nodeId, address: `n${nodeId}:7450` }))
    return { clusterId: 'cluster', metadataIndex: this.#index, nodes }
  }

  #tell(change: { topics?: TopicMetadata[] }): void {
    const frame = Metadata.watch.response.encode({ ...this.#facts, ...change, complete: true })
    for (const stream of this.#watches) stream.write(frame)
  }

  #handlers(nodeId: number): ServiceHandlers {
    return new Map<string, ServiceHandler>([
      [Metadata.get.path, unary(async () => this.#get())],
      [Metadata.watch.path, streaming(stream => this.#watch(stream))],
      [
        Producer.initProducer.path,
        unary(async () => Producer.initProducer.response.encode({ producerId: 7, producerEpoch: 0 })),
      ],
      [Producer.produceStream.path, streaming(stream => this.#produce(nodeId, stream))],
      [Consumer.listOffsets.path, unary(async () => this.#list(nodeId))],
      [Consumer.read.path, streaming(stream => this.#read(nodeId, stream))],
    ])
  }

  #get(): Buffer {
    return Metadata.get.response.encode({ ...this.#facts, topics: this.areSure ? [this.#topic()] : [] })
  }

  #watch(stream: MessageStream): void {
    stream.setHandlers({
      onMessage: () => {
        this.#watches.add(stream)
        stream.write(
          Metadata.watch.response.encode({ ...this.#facts, topics: [this.#topic()], complete: true }),
        )
      },
      onClose: () => this.#watches.delete(stream),
    })
  }

  #produce(nodeId: number, stream: MessageStream): void {
    stream.setHandlers({
      onMessage: message => {
        const { seq, entries } = Producer.produceStream.request.decode(message)
        const answers = entries.map((entry, place) => ({
          seq,
          entry: place,
          results: [this.#append(nodeId, entry)],
        }))
        stream.write(Producer.produceStream.response.encode({ answers }))
      },
      onEnd: () => stream.end(),
    })
  }

  #append(nodeId: number, entry: ProduceEntry): MessageInit<ProduceResult> {
    const refusal = this.#refusal(nodeId, entry.topicId)
    if (refusal !== undefined) return { partition: 0, failure: errorToFailure(refusal) }
    this.got.push({ nodeId, entry })
    return { partition: 0, offset: this.got.length - 1 }
  }

  #list(nodeId: number): Buffer {
    this.asked.push(`list ${nodeId}`)
    const refusal = this.#refusal(nodeId, undefined)
    const place = { topic: 'logs', partition: 0 }
    const one =
      refusal === undefined ? { ...place, offset: 0 } : { ...place, failure: errorToFailure(refusal) }
    const end = refusal === undefined ? { ...place, offset: 1 } : one
    return Consumer.listOffsets.response.encode({ offsets: [one, end] })
  }

  #read(nodeId: number, stream: MessageStream): void {
    stream.setHandlers({
      onMessage: message => {
        const { add, remove } = Consumer.read.request.decode(message)
        for (const _ of remove) this.#failRemoved(nodeId, stream)
        const baseOffset = add[0]?.start?.offset
        if (baseOffset === undefined) return
        this.asked.push(`read ${nodeId}`)
        const place = { topic: 'logs', partition: 0 }
        const refusal = this.#refusal(nodeId, undefined)
        const batch = batchOf(['kept'])
        stampBatch(batch, 0, { baseOffset, leaderEpoch: 0 })
        const end = baseOffset + 1
        const found = { ...place, batches: [batch], nextOffset: end, highWatermark: end }
        const frame =
          refusal === undefined
            ? { records: [found] }
            : { failures: [{ ...place, failure: errorToFailure(refusal) }] }
        stream.write(Consumer.read.response.encode(frame))
      },
      onEnd: () => stream.end(),
    })
  }

  /** The partition had just failed here when its removal came. */
  #failRemoved(nodeId: number, stream: MessageStream): void {
    const place = { topic: 'logs', partition: 0 }
    const notRead = new NaruError('INVALID_REQUEST', '"logs" partition 0 is not being read on this stream')
    for (const error of [this.#refusal(nodeId, undefined), notRead])
      if (error !== undefined)
        stream.write(
          Consumer.read.response.encode({ failures: [{ ...place, failure: errorToFailure(error) }] }),
        )
  }

  #refusal(nodeId: number, topicId: string | undefined): NaruError | undefined {
    if (topicId !== undefined && topicId !== this.topicId)
      return new NaruError('UNKNOWN_TOPIC', 'it was deleted, and made anew', {
        details: { topic: 'logs', topic_id: this.topicId },
      })
    if (nodeId === this.leaderId) return undefined
    this.refusals++
    const epoch = this.namedEpoch === undefined ? {} : { leader_epoch: String(this.namedEpoch) }
    return new NaruError('NOT_LEADER', `node ${this.leaderId} leads it`, {
      details: { leader_id: String(this.leaderId), ...epoch },
    })
  }
}

function unary(handle: (request: Buffer) => Promise<Buffer>) {
  return { kind: 'unary', handle } as const
}

function streaming(handle: (stream: MessageStream) => void) {
  return { kind: 'stream', handle } as const
}

let nodes: TwoNodes
let client: Client

beforeEach(async () => {
  await initCompression()
  nodes = new TwoNodes()
  nodes.start()
  const { scheduler, network } = nodes
  const machine = new SimMachine(9, { name: 'client', scheduler, prng: new SeededPrng('client') })
  const transport = new SimTransport(network, machine.incarnation, 'client')
  const ports = { transport, clock: machine.clock, prng: new SeededPrng('sdk') }
  client = await run(connectClient('n1:7450', {}, ports))
})

afterEach(() => run(client.close()))

/** The beat of the metadata never ends, so not until nothing is left. */
async function run<T>(work: Promise<T>): Promise<T> {
  let isSettled = false
  const settled = () => {
    isSettled = true
  }
  work.then(settled, settled)
  await nodes.scheduler.runUntil(() => isSettled, { timeMsMax: 60_000 })
  return work
}

function cutOff(host: string): void {
  nodes.network.cut('client', host)
  nodes.network.cut(host, 'client')
}

const send = (value: string) => client.producer().send({ topic: 'logs', partition: 0, value })

describe('a partition whose leader moves', () => {
  it('gets its records at the new one, as soon as the metadata name it', async () => {
    nodes.leaderId = 2
    nodes.scheduler.schedule(1_000, () => nodes.catchUp())
    await run(send('late'))
    expect(nodes.got.map(({ nodeId }) => nodeId)).toEqual([2])
    expect(nodes.scheduler.nowMs).toBeLessThan(1_200)
  })

  it('gets its records at once where a refusal names the new one, whatever older metadata say', async () => {
    nodes.leaderId = 2
    nodes.namedEpoch = 1
    const producer = client.producer()
    const sendNext = (value: string) => run(producer.send({ topic: 'logs', partition: 0, value }))
    await sendNext('first')
    expect(nodes.scheduler.nowMs).toBeLessThan(100)
    nodes.tellAgain()
    await run(
      client
        .admin()
        .describeTopics(['logs'])
        .catch(() => {}),
    )
    await sendNext('second')
    expect(nodes.got.map(({ nodeId }) => nodeId)).toEqual([2, 2])
    expect(nodes.refusals).toBe(1)
    // So the node can tell whether it is meant, or has been deposed or made leader without having heard of it.
    expect(nodes.got.map(({ entry }) => entry.leaderEpoch)).toEqual([1, 1])
  })

  it('is read from the one that a refusal names', async () => {
    nodes.leaderId = 2
    nodes.namedEpoch = 1
    const records = await run(
      readAll(client.reader({ topic: 'logs', start: 'earliest', stop: 'currentEnd' })),
    )
    expect(records.map(({ value }) => String(value))).toEqual(['kept'])
    expect(nodes.asked).toEqual(['list 1', 'list 2', 'read 2'])
  })

  it('is written at a node that was down as soon as that leads again', async () => {
    cutOff('n1')
    nodes.scheduler.schedule(1_000, () => {
      nodes.leaderId = 2
      nodes.catchUp()
    })
    await run(send('meanwhile'))
    const backMs = nodes.scheduler.nowMs
    nodes.network.heal()
    nodes.leaderId = 1
    nodes.catchUp()
    await run(send('later'))
    expect(nodes.got.map(({ nodeId }) => nodeId)).toEqual([2, 1])
    expect(nodes.scheduler.nowMs - backMs).toBeLessThan(1_000)
  })

  it('is reached through another node when the one in between hangs', async () => {
    // Nobody tells an address of node 3: what is for it goes to any node, which passes it on.
    nodes.leaderId = 3
    nodes.catchUp()
    nodes.leaderId = 1
    const producer = client.producer()
    const sendNext = (value: string) => run(producer.send({ topic: 'logs', partition: 0, value }))
    await sendNext('through node 1')
    cutOff('n1')
    nodes.leaderId = 2
    await sendNext('through node 2')
    expect(nodes.got.map(({ nodeId }) => nodeId)).toEqual([1, 2])
    expect(nodes.scheduler.nowMs).toBeLessThan(4_000)
  })

  it('is read from the new one', async () => {
    nodes.leaderId = 2
    nodes.scheduler.schedule(1_000, () => nodes.catchUp())
    const records = await run(
      readAll(client.reader({ topic: 'logs', start: 'earliest', stop: 'currentEnd' })),
    )
    expect(records.map(({ value }) => String(value))).toEqual(['kept'])
    expect(nodes.asked.at(0)).toBe('list 1')
    expect(nodes.asked.slice(-2)).toEqual(['list 2', 'read 2'])
  })

  it('is read on where its leadership has been before', async () => {
    const records = client.reader({ topic: 'logs', start: 'earliest' })[Symbol.asyncIterator]()
    for (const leaderId of [1, 2, 1, 2]) {
      nodes.leaderId = leaderId
      nodes.catchUp()
      await run(records.next())
    }
    expect(nodes.asked.filter(what => what.startsWith('read'))).toEqual([
      'read 1',
      'read 2',
      'read 1',
      'read 2',
    ])
  })

  it('is asked for its offsets at the new one', async () => {
    nodes.leaderId = 2
    nodes.scheduler.schedule(1_000, () => nodes.catchUp())
    const offsets = await run(client.admin().listOffsets('logs', 'earliest'))
    expect(offsets.map(({ partition }) => partition)).toEqual([0])
    expect(nodes.asked.at(-1)).toBe('list 2')
  })
})

describe('a topic that is made anew under its name', () => {
  it('gets records by its own id only', async () => {
    const producer = client.producer()
    const write = (value: string) => run(producer.send({ topic: 'logs', partition: 0, value }))
    await write('to the first')
    nodes.topicId = 'second'
    nodes.scheduler.schedule(300, () => nodes.catchUp())
    await write('to the second')
    expect(nodes.got.map(({ entry }) => entry.topicId)).toEqual(['first', 'second'])
  })
})

it('does not take a node that cannot tell for one that says no', async () => {
  nodes.areSure = false
  nodes.scheduler.schedule(2_000, () => {
    nodes.areSure = true
  })
  const offsets = await run(client.admin().listOffsets('logs', 'earliest'))
  expect(offsets).toHaveLength(1)
})
