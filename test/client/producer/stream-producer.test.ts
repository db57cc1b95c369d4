import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import type { Producer as SdkProducer } from '../../../src/client/index.ts'
import { baseSequenceAt, producerIdAt } from '../../../src/records/batch-header.ts'
import { errorToFailure } from '../../../src/wire/failure.ts'
import type { ProduceAnswer, ProduceStreamRequest } from '../../../src/wire/messages.ts'
import { Producer } from '../../../src/wire/methods.ts'
import { type Fate, SdkHarness } from '../sdk-harness.ts'

const PATH = Producer.produceStream.path

let sdk: SdkHarness

beforeEach(async () => {
  sdk = await SdkHarness.start()
  await sdk.node.createTopic('logs', 1)
})

afterEach(async () => {
  await sdk.stop()
  expect(sdk.node.bugs).toEqual([])
})

describe('a producer whose answers are lost', () => {
  it('resends under the same id and sequence: stored once', async () => {
    const frames = watchFrames()
    loseAnswers(1)
    const producer = sdk.client.producer()
    const sent = await sdk.run(
      Promise.all(['a', 'b', 'c'].map(value => producer.send({ topic: 'logs', value }))),
    )
    expect(sent.map(one => one.offset)).toEqual([0, 1, 2])
    expect(await values('logs')).toEqual(['a', 'b', 'c'])
    const stamps = frames.flatMap(frame => frame.entries.map(entry => stampOf(entry.batch as Buffer)))
    expect(stamps).toHaveLength(2)
    expect(stamps[1]).toEqual(stamps[0])
  })

  it.each([1, 2, 3])(
    'keeps order and loses nothing while streams break again and again (%i)',
    async every => {
      let count = 0
      sdk.faults.toClient = path => (path === PATH && ++count % (every + 1) === 0 ? 'break' : 'pass')
      let frames = 0
      sdk.faults.toNode = path => (path === PATH && ++frames % 5 === 4 ? 'break' : 'pass')
      const producer = sdk.client.producer({ batchBytesMax: 200, requestTimeoutMs: 1_000 })
      const wanted = Array.from({ length: 300 }, (_, i) => `${i}`)
      for (const value of wanted) producer.enqueue({ topic: 'logs', value })
      await sdk.run(producer.flush())
      expect(await values('logs')).toEqual(wanted)
    },
  )

  it('does not resend without idempotence: the outcome is unknown', async () => {
    const frames = watchFrames()
    loseAnswers(1)
    const producer = sdk.client.producer({ idempotent: false })
    const error = await sdk.run(failure(producer.send({ topic: 'logs', value: 'a' })))
    expect(error).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' })
    expect(frames).toHaveLength(1)
    expect((await sdk.run(producer.send({ topic: 'logs', value: 'b' }))).offset).toBe(1)
  })

  it('does not send it again without an id where the node says nothing at all', async () => {
    const frames = watchFrames()
    sdk.faults.toClient = path => (path === PATH ? 'drop' : 'pass')
    const producer = sdk.client.producer({ idempotent: false, requestTimeoutMs: 1_000 })
    const error = await sdk.run(failure(producer.send({ topic: 'logs', value: 'a' })))
    expect(error).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' })
    expect(frames).toHaveLength(1)
    expect(await values('logs')).toEqual(['a'])
  })

  it('gives up after deliveryTimeoutMs, and goes on under a new id', async () => {
    const frames = watchFrames()
    sdk.faults.toClient = path => (path === PATH ? 'drop' : 'pass')
    const producer = sdk.client.producer({ deliveryTimeoutMs: 3_000 })
    const error = await sdk.run(failure(producer.send({ topic: 'logs', value: 'a' })))
    expect(error).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' })
    sdk.faults.toClient = () => 'pass'
    await sdk.run(producer.send({ topic: 'logs', value: 'b' }))
    expect(await values('logs')).toEqual(['a', 'b'])
    const ids = frames.flatMap(frame => frame.entries.map(entry => stampOf(entry.batch as Buffer).producerId))
    expect(new Set(ids).size).toBe(2)
  })
})

describe('a producer that is refused', () => {
  it('tries again what may pass, in order', async () => {
    refuse(3, new NaruError('NOT_ENOUGH_REPLICAS', 'only one is in sync'))
    const producer = sdk.client.producer({ batchBytesMax: 100 })
    const wanted = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const value of wanted) producer.enqueue({ topic: 'logs', value })
    await sdk.run(producer.flush())
    expect(await values('logs')).toEqual(wanted)
  })

  it('sends nothing again before all that is in flight is answered', async () => {
    const sentAtMs: number[] = []
    sdk.faults.toNode = (path, message, answer) => {
      if (path !== PATH) return 'pass'
      sentAtMs.push(sdk.nowMs)
      if (sentAtMs.length > 1) return 'pass'
      const error = new NaruError('NOT_ENOUGH_REPLICAS', 'only one is in sync')
      const { answers } = Producer.produceStream.response.decode(refusal(message, error))
      const [first, ...others] = answers
      if (first) queueMicrotask(() => answer(Producer.produceStream.response.encode({ answers: [first] })))
      sdk.node.machine.clock.setTimer(5_000, () =>
        answer(Producer.produceStream.response.encode({ answers: others })),
      )
      return 'drop'
    }
    const producer = sdk.client.producer({ batchBytesMax: 100 })
    const wanted = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const value of wanted) producer.enqueue({ topic: 'logs', value })
    await sdk.run(producer.flush())
    expect((sentAtMs[1] as number) - (sentAtMs[0] as number)).toBeGreaterThanOrEqual(5_000)
    expect(await values('logs')).toEqual(wanted)
  })

  it('lets nothing overtake what is in flight behind a batch that fails for good', async () => {
    const encode = (answers: readonly ProduceAnswer[]) => Producer.produceStream.response.encode({ answers })
    let isFirst = true
    sdk.faults.toNode = (path, message, answer) => {
      if (path !== PATH || !isFirst) return 'pass'
      isFirst = false
      const told = (error: NaruError) =>
        Producer.produceStream.response.decode(refusal(message, error)).answers
      const [first] = told(new NaruError('INVALID_TIMESTAMP', 'from the future'))
      const [, ...others] = told(new NaruError('OUT_OF_ORDER_SEQUENCE', 'the one before is missing'))
      if (first) queueMicrotask(() => answer(encode([first])))
      sdk.node.machine.clock.setTimer(5_000, () => answer(encode(others)))
      return 'drop'
    }
    const producer = sdk.client.producer({ batchBytesMax: 100, onError: () => {} })
    const wanted = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const value of wanted) producer.enqueue({ topic: 'logs', value })
    await sdk.run(failure(producer.flush()))
    const stored = await values('logs')
    expect(stored.length).toBeGreaterThan(20)
    expect(stored).toEqual(wanted.slice(wanted.length - stored.length))
  })

  it('lets nothing under a new id overtake what may be stored under the old one', async () => {
    const encode = (answers: readonly ProduceAnswer[]) => Producer.produceStream.response.encode({ answers })
    const producer = sdk.client.producer({ batchBytesMax: 100 })
    await sdk.run(producer.send({ topic: 'logs', value: 'first' }))
    let isFirst = true
    sdk.faults.toNode = (path, message, answer) => {
      if (path !== PATH || !isFirst) return 'pass'
      isFirst = false
      const [lost, ...others] = Producer.produceStream.response.decode(refusal(message, GAP)).answers
      const failure = errorToFailure(
        new NaruError('DEADLINE_EXCEEDED', 'nobody knows', { outcome: 'unknown' }),
      )
      const unknown = others.map(one => ({ ...one, results: [{ partition: 0, failure }] }))
      queueMicrotask(() => answer(encode([lost, ...unknown] as ProduceAnswer[])))
      return 'drop'
    }
    const wanted = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const value of wanted) producer.enqueue({ topic: 'logs', value })
    await sdk.run(producer.flush())
    expect(await values('logs')).toEqual(['first', ...wanted])
  })

  it('fails the records of the batch and no others, and tells of it', async () => {
    refuse(1, new NaruError('INVALID_TIMESTAMP', 'from the future'))
    const failures: unknown[] = []
    const producer = sdk.client.producer({ batchBytesMax: 100, onError: failed => failures.push(failed) })
    const wanted = Array.from({ length: 20 }, (_, i) => `value-${i}`)
    for (const value of wanted) producer.enqueue({ topic: 'logs', value })
    const error = await sdk.run(failure(producer.flush()))
    expect(error).toMatchObject({ reason: 'INVALID_TIMESTAMP', outcome: 'none' })
    const [failed] = failures as { recordCount: number; topic: string; partition: number }[]
    expect(failures).toHaveLength(1)
    expect(failed).toMatchObject({ topic: 'logs', partition: 0 })
    expect(await values('logs')).toEqual(wanted.slice(failed?.recordCount))
    // It was told once.
    await sdk.run(producer.flush())
  })

  it('takes a new id where the leader has lost the sequence', async () => {
    const producer = sdk.client.producer()
    await sdk.run(producer.send({ topic: 'logs', value: 'a' }))
    refuse(1, new NaruError('UNKNOWN_PRODUCER_ID', 'retention removed it'))
    const frames = watchFrames()
    await sdk.run(producer.send({ topic: 'logs', value: 'b' }))
    expect(await values('logs')).toEqual(['a', 'b'])
    expect(frames.map(frame => stampOf(frame.entries[0]?.batch as Buffer).baseSequence)).toEqual([1, 0])
  })

  it('does not resend under another id what may be stored', async () => {
    const producer = sdk.client.producer()
    await sdk.run(producer.send({ topic: 'logs', value: 'a' }))
    let count = 0
    // The answer is lost first; then the leader has forgotten the producer.
    loseAnswers(1)
    sdk.faults.toNode = (path, message, answer) => {
      if (path !== PATH || ++count < 2) return 'pass'
      answer(refusal(message, new NaruError('UNKNOWN_PRODUCER_ID', 'forgotten')))
      return 'drop'
    }
    const error = await sdk.run(failure(producer.send({ topic: 'logs', value: 'b' })))
    expect(error).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' })
    expect(await values('logs')).toEqual(['a', 'b'])
  })
})

describe('batching', () => {
  it('sends at once when idle, and gathers while something is in flight', async () => {
    const producer = sdk.client.producer()
    await sdk.run(producer.send({ topic: 'logs', value: 'warm' }))
    const sentAtMs: number[] = []
    const sizes: number[] = []
    sdk.faults.toNode = (path, message) => {
      if (path !== PATH) return 'pass'
      sentAtMs.push(sdk.nowMs)
      sizes.push(message.length)
      return 'pass'
    }
    const startMs = sdk.nowMs
    const sends = [producer.send({ topic: 'logs', value: '0' })]
    await sdk.node.until(() => sentAtMs.length === 1)
    expect(sentAtMs[0]).toBeCloseTo(startMs, 0)
    for (let i = 1; i <= 100; i++) sends.push(producer.send({ topic: 'logs', value: `${i}` }))
    await sdk.run(Promise.all(sends))
    expect(sentAtMs).toHaveLength(2)
  })

  it('waits for lingerMs if told to, and not at a flush', async () => {
    const sentAtMs: number[] = []
    sdk.faults.toNode = path => {
      if (path === PATH) sentAtMs.push(sdk.nowMs)
      return 'pass'
    }
    const producer = sdk.client.producer({ lingerMs: 50 })
    const startMs = sdk.nowMs
    await sdk.run(producer.send({ topic: 'logs', value: 'a' }))
    expect((sentAtMs[0] as number) - startMs).toBeGreaterThanOrEqual(49)
    const flushMs = sdk.nowMs
    producer.enqueue({ topic: 'logs', value: 'b' })
    await sdk.run(producer.flush())
    expect((sentAtMs[1] as number) - flushMs).toBeLessThan(20)
  })

  it('has at most five batches of a partition in flight', async () => {
    let inFlight = 0
    let most = 0
    sdk.faults.toNode = (path, message) => {
      if (path === PATH) inFlight += Producer.produceStream.request.decode(message).entries.length
      most = Math.max(most, inFlight)
      return 'pass'
    }
    sdk.faults.toClient = (path, message) => {
      if (path === PATH) inFlight -= Producer.produceStream.response.decode(message).answers.length
      return 'pass'
    }
    const producer = sdk.client.producer({ batchBytesMax: 100 })
    for (let i = 0; i < 200; i++) producer.enqueue({ topic: 'logs', value: `value-${i}` })
    await sdk.run(producer.flush())
    expect(most).toBe(5)
  })
})

describe('the buffer', () => {
  it('says when it is full, stays bounded, and lets go when answers come', async () => {
    let isHeld = true
    sdk.faults.toClient = (path): Fate => (path === PATH && isHeld ? 'drop' : 'pass')
    const producer = sdk.client.producer({ bufferBytesMax: 64 * 1024 })
    await sdk.run(sdk.client.admin().describeCluster())
    const value = Buffer.alloc(1_000)
    let taken = 1
    while (producer.enqueue({ topic: 'logs', value })) taken++
    expect(taken).toBeLessThan(70)
    expect(producer.bufferedBytes).toBeLessThan(66 * 1024)
    let isReady = false
    const ready = producer.ready().then(() => {
      isReady = true
    })
    // Sends wait their turn without being taken.
    const late = Array.from({ length: 200 }, () => producer.send({ topic: 'logs', value }))
    await sdk.node.forMs(1_000)
    expect(isReady).toBe(false)
    expect(producer.bufferedBytes).toBeLessThan(66 * 1024)
    expect(() => {
      for (;;) producer.enqueue({ topic: 'logs', value })
    }).toThrow(/await ready/)
    isHeld = false
    await sdk.run(Promise.all([ready, ...late]))
    await sdk.run(producer.flush())
    expect(producer.bufferedBytes).toBe(0)
  })
})

describe('the end of a producer', () => {
  it('stores what was taken before it closes', async () => {
    const producer = sdk.client.producer()
    for (let i = 0; i < 100; i++) producer.enqueue({ topic: 'logs', value: `${i}` })
    await sdk.run(producer.close())
    expect(await values('logs')).toHaveLength(100)
    await expect(producer.send({ topic: 'logs', value: 'x' })).rejects.toMatchObject({ reason: 'CLOSED' })
  })

  it('refuses options and records of wrong types by name', () => {
    const wrong = (options: object) => () => sdk.client.producer(options)
    expect(wrong({ lingerms: 5 })).toThrow(/no option "lingerms" \(did you mean "lingerMs"\?\)/)
    expect(wrong({ bufferBytesMax: '1' })).toThrow(/bufferBytesMax must be a whole number/)
    expect(wrong({ compression: 'zip' })).toThrow(/compression must be one of none, gzip/)
    const producer: SdkProducer = sdk.client.producer()
    expect(() => producer.enqueue({ topic: 'logs', value: 5 as unknown as string })).toThrow(
      /value must be a Uint8Array, a string or null, not 5/,
    )
  })
})

async function values(topic: string): Promise<string[]> {
  return (await sdk.stored(topic)).map(record => String(record.value))
}

function stampOf(batch: Buffer): { producerId: number; baseSequence: number } {
  return { producerId: producerIdAt(batch, 0), baseSequence: baseSequenceAt(batch, 0) }
}

/** The frames that reach the node. */
function watchFrames(): ProduceStreamRequest[] {
  const frames: ProduceStreamRequest[] = []
  const before = sdk.faults.toNode
  sdk.faults.toNode = (path, message, answer) => {
    if (path === PATH) frames.push(Producer.produceStream.request.decode(Buffer.from(message)))
    return before?.(path, message, answer) ?? 'pass'
  }
  return frames
}

function loseAnswers(count: number): void {
  let left = count
  sdk.faults.toClient = path => (path === PATH && left-- > 0 ? 'break' : 'pass')
}

/** The first frames never reach the log: the node refuses them. */
function refuse(count: number, error: NaruError): void {
  let left = count
  sdk.faults.toNode = (path, message, answer) => {
    if (path !== PATH || left-- <= 0) return 'pass'
    queueMicrotask(() => answer(refusal(message, error)))
    return 'drop'
  }
}

function refusal(message: Uint8Array, error: NaruError): Buffer {
  const { seq, entries } = Producer.produceStream.request.decode(message)
  return Producer.produceStream.response.encode({
    answers: entries.map(({ partition = 0 }, entry) => ({
      seq,
      entry,
      // What follows it in the sequence cannot be stored without it.
      results: [{ partition, failure: errorToFailure(entry === 0 ? error : GAP) }],
    })),
  })
}

const GAP = new NaruError('OUT_OF_ORDER_SEQUENCE', 'a batch before it is missing')

async function failure(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return error
  }
  throw new Error('it should have failed')
}
