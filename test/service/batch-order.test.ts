import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { MessageStream } from '../../src/ports/transport.ts'
import { initCompression } from '../../src/records/compression.ts'
import type { ProduceResult } from '../../src/wire/messages.ts'
import { Producer } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { batchOf } from '../harness/service-node.ts'
import { type MoveKind, MovingPartition } from './moving-partition.ts'
import { TestServiceCluster } from './service-cluster.ts'

const BATCHES = 25
const IN_FLIGHT_MAX = 5

/** One client that writes a numbered sequence through one node, five frames in flight, whoever leads. */
class Writer {
  readonly name: string
  readonly results = new Map<number, ProduceResult>()
  readonly #stream: MessageStream
  readonly #producerId: number | undefined
  readonly #cluster: TestServiceCluster
  readonly #prng: SeededPrng
  #sent = 0
  #isSending = false

  constructor(
    cluster: TestServiceCluster,
    of: { name: string; entry: number; producerId: number | undefined; seed: number },
  ) {
    this.#cluster = cluster
    this.#prng = new SeededPrng(`${of.name} ${of.seed}`)
    this.name = of.name
    this.#producerId = of.producerId
    this.#stream = cluster.node(of.entry).channel.stream(Producer.produceStream.path)
    this.#stream.setHandlers({
      onMessage: message => {
        for (const { seq, results } of Producer.produceStream.response.decode(message).answers) {
          // Answers of one partition come in order.
          expect(seq).toBe(this.results.size + 1)
          this.results.set(seq, results[0] as ProduceResult)
        }
        this.#fill()
      },
    })
    this.#fill()
  }

  get isDone(): boolean {
    return this.results.size === BATCHES
  }

  valueOf(seq: number): string {
    return `${this.name}-${seq}`
  }

  /** One by one, so that a change of leaders comes between any two. */
  #fill(): void {
    if (this.#isSending || this.#sent >= BATCHES || this.#sent - this.results.size >= IN_FLIGHT_MAX) return
    this.#isSending = true
    const seq = ++this.#sent
    const producer =
      this.#producerId === undefined ? {} : { producerId: this.#producerId, baseSequence: seq - 1 }
    const entry = { topic: 'logs', partition: 0, batch: batchOf([this.valueOf(seq)], producer) }
    this.#stream.write(Producer.produceStream.request.encode({ seq, entries: [entry] }))
    this.#cluster.scheduler.schedule(this.#prng.uint32() % 6, () => {
      this.#isSending = false
      this.#fill()
    })
  }
}

interface Move {
  readonly atMs: number
  readonly to: number
  readonly kind: MoveKind
  /** This node learns of the metadata only so much later. */
  readonly lagging: number
  readonly lagMs: number
}

const move = fc.record({
  atMs: fc.integer({ min: 1, max: 600 }),
  to: fc.integer({ min: 1, max: 3 }),
  kind: fc.constantFrom<MoveKind>('hand over', 'break', 'hang'),
  lagging: fc.integer({ min: 1, max: 3 }),
  lagMs: fc.integer({ min: 0, max: 200 }),
})

async function live(
  seed: number,
  moves: readonly Move[],
): Promise<{ partition: MovingPartition; writers: Writer[] }> {
  const partition = new MovingPartition('logs', new SeededPrng(`partition ${seed}`))
  const cluster = new TestServiceCluster({ seed: `${seed}`, replicas: node => partition.replicas(node) })
  partition.cluster = cluster
  cluster.makeTopic('logs')
  partition.begin(1)
  const { scheduler, network } = cluster
  // Slow enough for much to happen while a refusal is on its way.
  for (const from of [1, 2, 3])
    for (const to of [1, 2, 3]) if (from !== to) network.slow(`host-${from}`, `host-${to}`, 15)
  const writers = [
    new Writer(cluster, { name: 'sequenced', entry: 1, producerId: 1, seed }),
    new Writer(cluster, { name: 'plain', entry: 2, producerId: undefined, seed }),
    new Writer(cluster, { name: 'another', entry: 3, producerId: 2, seed }),
  ]
  for (const { atMs, to, kind, lagging, lagMs } of moves)
    scheduler.schedule(atMs, () => {
      const { quorum } = cluster.node(lagging)
      quorum.isHeld = true
      scheduler.schedule(lagMs, () => quorum.release())
      partition.move(to, kind)
    })
  await scheduler.runUntil(() => writers.every(writer => writer.isDone), { timeMsMax: 60_000 })
  return { partition, writers }
}

function check({ partition, writers }: { partition: MovingPartition; writers: readonly Writer[] }): void {
  const { values } = partition
  expect(new Set(values).size).toBe(values.length)
  for (const writer of writers) {
    const places = [...writer.results].map(([seq, result]) => {
      const place = values.indexOf(writer.valueOf(seq))
      if (result.failure === undefined) expect(place).toBe(result.offset)
      else expect(result.failure).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'UNKNOWN' })
      if (writer.name !== 'plain') expect(result.failure).toBeUndefined()
      return place
    })
    const stored = places.filter(place => place >= 0)
    expect(stored).toEqual([...stored].sort((a, b) => a - b))
  }
}

it('keeps the order of each stream, and stores nothing twice, wherever leaders go', async () => {
  await initCompression()
  let failures = 0
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.array(move, { minLength: 1, maxLength: 6 }), async (seed, moves) => {
      const lived = await live(seed, moves)
      check(lived)
      for (const { results } of lived.writers)
        for (const { failure } of results.values()) if (failure) failures++
    }),
    { numRuns: 200, seed: 1, endOnFailure: true },
  )
  // Else the moves would no longer meet what they are for.
  expect(failures).toBeGreaterThan(20)
}, 180_000)

/** Sends the second frame when the first has had its time, the third after a pause, and lets a leader appear then. */
async function outwaitLeader(
  seed: number,
  pauseMs: number,
): Promise<{ answered: number[]; values: string[] }> {
  const partition = new MovingPartition('logs', new SeededPrng(`partition ${seed}`))
  const cluster = new TestServiceCluster({ seed: `${seed}`, replicas: node => partition.replicas(node) })
  partition.cluster = cluster
  cluster.makeTopic('logs')
  const { scheduler } = cluster
  const stream = cluster.node(1).channel.stream(Producer.produceStream.path)
  const answered: number[] = []
  const send = (seq: number) => {
    const entries = [{ topic: 'logs', partition: 0, batch: batchOf([`${seq}`]) }]
    const options = seq === 1 ? { options: { timeoutMs: 1_000 } } : {}
    stream.write(Producer.produceStream.request.encode({ seq, entries, ...options }))
  }
  stream.setHandlers({
    onMessage: message => {
      for (const { seq } of Producer.produceStream.response.decode(message).answers) {
        answered.push(seq)
        if (seq !== 1) continue
        send(2)
        scheduler.schedule(pauseMs, () => send(3))
        scheduler.schedule(pauseMs + 100, () => partition.begin(1))
      }
    },
  })
  send(1)
  await scheduler.runUntil(() => answered.length === 3, { timeMsMax: 60_000 })
  return { answered, values: partition.values }
}

it('keeps it where a batch has had its time while no leader was there', async () => {
  await initCompression()
  for (let seed = 1; seed <= 20; seed++)
    for (const pauseMs of [200, 300])
      expect(await outwaitLeader(seed, pauseMs)).toEqual({ answered: [1, 2, 3], values: ['2', '3'] })
})
