import { beforeEach, expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { HandoverSlots } from '../../../src/drivers/replicas/handover-slots.ts'
import { MovePace } from '../../../src/drivers/replicas/move-pace.ts'
import {
  type Acks,
  PartitionLeader,
  type ProduceOutcome,
} from '../../../src/drivers/replicas/partition-leader.ts'
import type { PartitionSettings } from '../../../src/drivers/replicas/partition-settings.ts'
import { type LeaderContext, REPLICATION_LIMITS } from '../../../src/drivers/replicas/replication-options.ts'
import { DiskReserve } from '../../../src/log/disk-reserve.ts'
import { DEFAULT_LOG_CONFIG } from '../../../src/log/log-config.ts'
import { PartitionLog } from '../../../src/log/partition-log.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import { REPLICA_TIMING } from '../../../src/replication/replica-timing.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { logResources, makeBatch, recordsOf } from '../../log/log-harness.ts'

const SETTINGS: PartitionSettings = {
  log: DEFAULT_LOG_CONFIG,
  maxMessageBytes: 10_000,
  timestampType: 'CreateTime',
  timestampAfterMaxMs: Number.MAX_SAFE_INTEGER / 4,
  minInsyncReplicas: 1,
}

let machine: SimMachine
let isUnheard = false

/** Of a node without any other. */
function leaderContext(clock: Clock): LeaderContext {
  return {
    time: { nowMs: clock.monotonicMs() },
    timing: REPLICA_TIMING,
    limits: REPLICATION_LIMITS,
    self: { nodeId: 1, directoryId: 'directory', nodeEpoch: 1 },
    isEligible: () => false,
    isUnheard: () => isUnheard,
    isDraining: false,
    handovers: new HandoverSlots(1),
    movePace: new MovePace(clock),
    propose() {},
  }
}

beforeEach(() => {
  machine = new SimMachine(1)
  isUnheard = false
})

async function lead(settings: Partial<PartitionSettings> = {}): Promise<PartitionLeader> {
  const { disk, clock } = machine
  await disk.makeDirectory('logs-0')
  let leader: PartitionLeader | undefined
  const log = await PartitionLog.open({
    resources: logResources(disk, clock),
    directory: 'logs-0',
    name: 'logs-0',
    config: { ...SETTINGS.log, ...settings.log },
    cleanStop: false,
    checkpoint: async () => {},
    onProgress: () => leader?.onLogProgress(),
    onEvent: event => {
      if (event.kind === 'offline') leader?.end(event.error)
    },
  })
  const reserve = new DiskReserve({ disk, clock, dataDirectory: '.', freeBytesMin: 1000 })
  leader = new PartitionLeader({
    topic: 'logs',
    topicId: 'id',
    partition: 0,
    metadata: {
      replicas: [1],
      isr: [1],
      elr: [],
      leader: 1,
      leaderEpoch: 1,
      partitionEpoch: 0,
      lastUncleanEpoch: null,
    },
    log,
    clock,
    reserve,
    settings: { ...SETTINGS, ...settings },
    context: leaderContext(clock),
    attend: () => {},
  })
  await reserve.start()
  return leader
}

function produce(leader: PartitionLeader, batch = makeBatch(), acks: Acks = 'ALL'): Promise<ProduceOutcome> {
  return new Promise(done => leader.produce(batch, { acks, done }))
}

test('acks ALL and LEADER answer after the sync, NONE at once', async () => {
  const leader = await machine.run(() => lead())
  const answered: string[] = []
  for (const acks of ['ALL', 'LEADER', 'NONE'] as const)
    leader.produce(makeBatch(), { acks, done: () => answered.push(acks) })
  expect(answered).toEqual(['NONE'])
  expect(leader.highWatermark).toBe(0)
  await machine.run(() => produce(leader))
  expect(answered).toEqual(['NONE', 'ALL', 'LEADER'])
  expect(leader.highWatermark).toBe(4)
})

test('what is not under the high watermark is not read', async () => {
  const leader = await machine.run(() => lead())
  const stored = produce(leader, makeBatch({ value: 'a' }))
  const before = await machine.run(async () => leader.read({ from: 0, maxBytes: 1000 }))
  expect(before.buffers).toEqual([])
  await machine.run(() => stored)
  const after = await machine.run(async () => leader.read({ from: 0, maxBytes: 1000 }))
  expect(recordsOf(after)).toEqual([{ offset: 0, value: 'a' }])
})

test('a leader that may be deposed does not say that a batch is not stored because those before it are not', async () => {
  const leader = await machine.run(() => lead())
  await machine.run(() => produce(leader, makeBatch({ producerId: 5, baseSequence: 0 })))
  const gap = () => produce(leader, makeBatch({ producerId: 5, baseSequence: 7 }))
  const unknown = () => produce(leader, makeBatch({ producerId: 6, baseSequence: 7 }))
  await expect(gap()).rejects.toMatchObject({ reason: 'OUT_OF_ORDER_SEQUENCE', outcome: 'none' })
  await expect(unknown()).rejects.toMatchObject({ reason: 'UNKNOWN_PRODUCER_ID' })
  isUnheard = true
  await expect(gap()).rejects.toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', retriable: true })
  await expect(unknown()).rejects.toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', retriable: true })
  await machine.run(() => produce(leader, makeBatch({ producerId: 5, baseSequence: 1 })))
})

test('a leader that may be deposed by the time it knows where its log is committed does not say it (C12)', async () => {
  const leader = await machine.run(() => lead())
  expect(await leader.committedEnd()).toBe(0)
  const end = leader.committedEnd()
  isUnheard = true
  await expect(end).rejects.toMatchObject({ reason: 'LEADER_NOT_AVAILABLE', retriable: true })
})

test('a repeated batch gets the first offset, and only once that is committed', async () => {
  const leader = await machine.run(() => lead())
  const order: string[] = []
  const batch = () => makeBatch({ producerId: 5, baseSequence: 0, count: 2 })
  leader.produce(batch(), { acks: 'ALL', done: () => order.push('first') })
  leader.produce(batch(), {
    acks: 'ALL',
    done: outcome => order.push(`again ${outcome.kind === 'stored' && outcome.baseOffset}`),
  })
  expect(order).toEqual([])
  await machine.run(() => produce(leader, makeBatch({ producerId: 5, baseSequence: 2 })))
  expect(order).toEqual(['first', 'again 0'])
  expect(leader.highWatermark).toBe(3)
})

test('when the disk fails, what is parked ends as unknown, and nothing is taken any more', async () => {
  const leader = await machine.run(() => lead())
  machine.image.syncErrorProbability = 1
  const outcome = await machine.run(() => produce(leader))
  expect(outcome).toMatchObject({ kind: 'failed', error: { reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' } })
  expect(() => leader.produce(makeBatch(), { acks: 'ALL', done() {} })).toThrow(/offline/)
  expect(leader.highWatermark).toBe(0)
})

test('under write.caching the page cache is enough', async () => {
  const leader = await machine.run(() => lead({ log: { ...DEFAULT_LOG_CONFIG, writeCaching: true } }))
  machine.image.syncErrorProbability = 1
  expect(await machine.run(() => produce(leader))).toMatchObject({ kind: 'stored', baseOffset: 0 })
})

test('a full disk refuses records and changes nothing', async () => {
  machine.image.capacityBytes = 500
  const leader = await machine.run(() => lead())
  expect(() => leader.produce(makeBatch(), { acks: 'ALL', done() {} })).toThrow(NaruError)
  expect(() => leader.produce(makeBatch(), { acks: 'ALL', done() {} })).toThrow(/disk.free.min|free/)
  expect(leader.highWatermark).toBe(0)
})

test('two batches in one entry, a control batch and a too large one are refused', async () => {
  const leader = await machine.run(() => lead())
  const refused = (batch: Buffer) => expect(() => leader.produce(batch, { acks: 'ALL', done() {} }))
  refused(Buffer.concat([makeBatch(), makeBatch()])).toThrow(/more than one batch/)
  refused(makeBatch({ valueBytes: 20_000 })).toThrow(/max.message.bytes/)
  const flipped = makeBatch({ value: 'abc' })
  flipped[flipped.length - 2] = (flipped[flipped.length - 2] ?? 0) ^ 1
  refused(flipped).toThrow(/CRC/)
})

test('with LogAppendTime the leader gives the time and tells it', async () => {
  const leader = await machine.run(() => lead({ timestampType: 'LogAppendTime' }))
  const outcome = await machine.run(() => produce(leader))
  const logAppendTimeMs = outcome.kind === 'stored' ? outcome.logAppendTimeMs : undefined
  expect(logAppendTimeMs).toBeTypeOf('number')
  expect(await machine.run(() => leader.offsetForTimestamp((logAppendTimeMs ?? 0) + 1))).toBeUndefined()
  expect(await machine.run(() => leader.offsetForTimestamp(logAppendTimeMs ?? 0))).toEqual({
    offset: 0,
    timestampMs: logAppendTimeMs,
  })
})

test('a batch that may come again is left as it came, also with LogAppendTime', async () => {
  const leader = await machine.run(() => lead({ timestampType: 'LogAppendTime' }))
  const batch = makeBatch({ producerId: 5, baseSequence: 1 })
  const before = Buffer.from(batch)
  isUnheard = true
  const again = () => leader.produce(batch, { acks: 'ALL', done() {}, mayComeAgain: true })
  expect(again).toThrow(expect.objectContaining({ reason: 'LEADER_NOT_AVAILABLE' }))
  expect(batch).toEqual(before)
  expect(again).toThrow(expect.objectContaining({ reason: 'LEADER_NOT_AVAILABLE' }))
})

test('who waits for room on a disk that hangs need not when the leadership ends', async () => {
  const leader = await machine.run(() => lead({ maxMessageBytes: 9e6 }))
  machine.image.stall()
  while (leader.hasRoom) leader.produce(makeBatch({ valueBytes: 8e6 }), { acks: 'ALL', done() {} })
  const room = leader.room()
  await machine.scheduler.runFor(5_000)
  leader.end(new NaruError('NOT_LEADER', 'another leads'))
  await machine.run(() => room)
  expect(leader.ended).toMatchObject({ reason: 'NOT_LEADER' })
})

test('readers are woken when the high watermark moves and when the leadership ends', async () => {
  const leader = await machine.run(() => lead())
  let wakes = 0
  const stop = leader.follow(() => wakes++)
  await machine.run(() => produce(leader))
  expect(wakes).toBe(1)
  leader.end(new NaruError('NODE_DRAINING', 'stopping'))
  expect(wakes).toBe(2)
  stop()
  expect(() => leader.read({ from: 0, maxBytes: 1 })).toThrow(/stopping/)
})
