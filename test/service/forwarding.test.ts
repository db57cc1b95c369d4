import { beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { Forwarder } from '../../src/service/forwarder.ts'
import type { CallRequest } from '../../src/wire/generated/forward.ts'
import { Forward } from '../../src/wire/generated/internal-services.ts'
import { Admin } from '../../src/wire/methods.ts'
import { failureOf } from '../harness/recorded-stream.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { type TestClusterOptions, TestServiceCluster } from './service-cluster.ts'

let cluster: TestServiceCluster
let onForwarded: NonNullable<TestClusterOptions['onForwarded']>

beforeEach(() => {
  onForwarded = (_, pass) => pass()
  cluster = new TestServiceCluster({ onForwarded: (to, pass) => onForwarded(to, pass) })
})

const LOGS = { topics: [{ topic: 'logs', partitions: 2, replicationFactor: 3 }] }

/** Without greetings. */
function forwardedCalls(): { to: number; call: CallRequest }[] {
  return cluster.forwarded
    .map(({ to, request }) => ({ to, call: Forward.call.request.decode(request) }))
    .filter(({ call }) => call.method !== '')
}

describe('a call of the controller', () => {
  it('is taken by any node, which has applied what it did when it answers', async () => {
    cluster.node(3).quorum.isHeld = true
    const creating = cluster.send(3, Admin.createTopics, LOGS)
    await cluster.scheduler.runUntil(() => cluster.hasTopic('logs'))
    await cluster.scheduler.runFor(200)
    let isAnswered = false
    void creating.then(() => {
      isAnswered = true
    })
    await cluster.scheduler.runFor(0)
    expect(isAnswered).toBe(false)
    cluster.node(3).quorum.release()
    const { results } = Admin.createTopics.response.decode(await cluster.run(creating))
    expect(results[0]).toMatchObject({ topic: 'logs', partitions: 2, notServing: [] })
    expect(cluster.node(3).quorum.image.topics.byName('logs')?.id).toBe(results[0]?.topicId)
    expect(forwardedCalls().map(({ to }) => to)).toEqual([1])
  })

  it('passes byte by byte, fields that nobody here knows included', async () => {
    const unknownField = Buffer.from([0xfa, 0x7f, 0x02, 0x68, 0x69])
    const request = Buffer.concat([Admin.createTopics.request.encode(LOGS), unknownField])
    const { channel } = cluster.node(2)
    const answer = await cluster.run(channel.unary(Admin.createTopics.path, request))
    expect(Buffer.compare(forwardedCalls()[0]?.call.request as Buffer, request)).toBe(0)
    const withMore = Buffer.concat([answer, unknownField])
    onForwarded = async (_, pass) => {
      const { metadataIndex } = Forward.call.response.decode(Buffer.from(await pass()))
      return Forward.call.response.encode({ response: withMore, metadataIndex })
    }
    const second = await cluster.run(channel.unary(Admin.createTopics.path, request))
    expect(Buffer.compare(second, withMore)).toBe(0)
  })

  it('brings its errors back whole', async () => {
    const sent = new NaruError('OVERLOADED', 'too much of it', {
      details: { topic: 'logs', limit: '3' },
      retryAfterMs: 1_250,
      outcome: 'none',
    })
    onForwarded = (_, pass) => (forwardedCalls().length > 0 ? Promise.reject(sent) : pass())
    const error = await cluster.refusal(2, Admin.createTopics, LOGS)
    const { reason, message, details, retryAfterMs, outcome } = sent
    expect(error).toMatchObject({ reason, message, details, retryAfterMs, outcome })
    expect(cluster.hasTopic('logs')).toBe(false)
  })

  it('has the time that the caller has left, less what the way back takes', async () => {
    await cluster.call(2, Admin.createTopics, LOGS, { timeoutMs: 4_000 })
    const timeoutMs = forwardedCalls()[0]?.call.timeoutMs as number
    expect(timeoutMs).toBeGreaterThan(3_000)
    expect(timeoutMs).toBeLessThan(3_900)
  })
})

describe('a controller that moves', () => {
  it('before the call reaches it: the entry node finds the next one', async () => {
    cluster.node(3).quorum.believes = { leaderId: 1 }
    cluster.log.lead(2)
    cluster.scheduler.schedule(300, () => {
      cluster.node(3).quorum.believes = undefined
    })
    const { results } = await cluster.call(3, Admin.createTopics, LOGS)
    expect(results[0]?.failure).toBeUndefined()
    const targets = forwardedCalls().map(({ to }) => to)
    expect(targets.filter(to => to === 1).length).toBeGreaterThan(1)
    expect(targets.at(-1)).toBe(2)
  })

  it('never has a call handed on twice, also where two nodes take each other for the controller', async () => {
    cluster.node(1).quorum.believes = { leaderId: 2 }
    cluster.node(2).quorum.believes = { leaderId: 1 }
    cluster.node(3).quorum.believes = { leaderId: 1 }
    const error = await cluster.refusal(3, Admin.createTopics, LOGS, { timeoutMs: 2_000 })
    expect(error).toMatchObject({ reason: 'CONTROLLER_NOT_AVAILABLE', outcome: 'none' })
    expect(new Set(forwardedCalls().map(({ to }) => to))).toEqual(new Set([1]))
    expect(new Set(forwardedCalls().map(({ call }) => call.fromNodeId))).toEqual(new Set([3]))
  })

  it('answers nothing that it does not know as the controller', async () => {
    const call = { clusterId: 'cluster', toNodeId: 2, method: Admin.describeQuorum.path, timeoutMs: 1_000 }
    const request = Forward.call.request.encode(call)
    const error = await cluster.run(failureOf(cluster.peerChannel(2).unary(Forward.call.path, request)))
    expect(error).toMatchObject({ reason: 'NOT_CONTROLLER', outcome: 'none', details: { leader_id: '1' } })
  })

  it('dies with the call: the outcome is unknown, and it is not tried again', async () => {
    onForwarded = async (to, pass) => {
      if (forwardedCalls().length === 0) return pass()
      await pass()
      cluster.node(to).machine.kill()
      cluster.log.lead(2)
      return NEVER
    }
    const error = await cluster.refusal(3, Admin.createTopics, LOGS)
    expect(error).toMatchObject({ reason: 'UNKNOWN_OUTCOME', outcome: 'unknown' })
    expect(error.message).toContain('look before you try again')
    expect(cluster.hasTopic('logs')).toBe(true)
    expect(forwardedCalls().length).toBe(1)
  })

  it('dies before the call was sent: the next one gets it', async () => {
    cluster.node(1).machine.kill()
    cluster.scheduler.schedule(700, () => cluster.log.lead(2))
    const { results } = await cluster.call(3, Admin.createTopics, LOGS)
    expect(results[0]?.failure).toBeUndefined()
    expect(forwardedCalls().map(({ to }) => to)).toEqual([2])
  })

  it('is silent behind its address: a greeting finds out, and the call goes to the next one', async () => {
    cluster.network.cut('host-3', 'host-1')
    cluster.scheduler.schedule(1_500, () => cluster.log.lead(2))
    const { results } = await cluster.call(3, Admin.createTopics, LOGS, { timeoutMs: 8_000 })
    expect(results[0]?.failure).toBeUndefined()
    expect(cluster.nowMs).toBeLessThan(5_000)
  })

  it('loses what it appended: unknown, whichever node was called', async () => {
    cluster.node(1).quorum.believes = { leaderId: 1 }
    cluster.node(3).quorum.believes = { leaderId: 1 }
    cluster.log.lead(2)
    for (const entry of [1, 3])
      expect(await cluster.refusal(entry, Admin.createTopics, LOGS)).toMatchObject({
        reason: 'UNKNOWN_OUTCOME',
        outcome: 'unknown',
      })
  })

  it('is another node, or of another cluster, than the one at its address: nothing is done there', async () => {
    const channel = cluster.peerChannel(1)
    for (const wrong of [{ clusterId: 'another' }, { toNodeId: 3 }]) {
      const request = Admin.createTopics.request.encode(LOGS)
      const call = { clusterId: 'cluster', toNodeId: 1, method: Admin.createTopics.path, request, ...wrong }
      const answer = channel.unary(Forward.call.path, Forward.call.request.encode(call))
      const error = await cluster.run(failureOf(answer))
      expect(error).toMatchObject({ reason: 'NOT_CONTROLLER', outcome: 'none' })
    }
    expect(cluster.hasTopic('logs')).toBe(false)
  })
})

describe('without a controller', () => {
  it('a change is refused, naming the voters that are not reached', async () => {
    cluster.log.lead(undefined)
    cluster.unreachable = [1, 3]
    const { message } = await cluster.refusal(2, Admin.createTopics, LOGS, { timeoutMs: 1_000 })
    expect(message).toContain('of its voters 1, 2, 3 this node does not reach 1, 3')
  })

  it('a change is refused within its deadline, saying what to look at', async () => {
    cluster.log.lead(undefined)
    for (const timeoutMs of [1_000, undefined]) {
      const startMs = cluster.nowMs
      const error = await cluster.refusal(2, Admin.createTopics, LOGS, timeoutMs ? { timeoutMs } : {})
      expect(error).toMatchObject({ reason: 'CONTROLLER_NOT_AVAILABLE', outcome: 'none', retriable: true })
      expect(error.message).toContain('naru cluster quorum')
      expect(cluster.nowMs - startMs).toBeLessThan(timeoutMs ?? 10_100)
    }
  })

  it('waits for one that is elected meanwhile', async () => {
    cluster.log.lead(undefined)
    cluster.scheduler.schedule(3_000, () => cluster.log.lead(3))
    const { results } = await cluster.call(2, Admin.createTopics, LOGS)
    expect(results[0]?.failure).toBeUndefined()
    expect(cluster.nowMs).toBeLessThan(3_600)
  })

  it('the quorum is described by the node that was asked', async () => {
    cluster.log.lead(undefined)
    cluster.node(2).quorum.metadataAgeMs = 7_000
    const view = await cluster.call(2, Admin.describeQuorum, {})
    expect(view.leaderId).toBeUndefined()
    expect(view.ageMs).toBe(7_000)
    expect(view.members.map(({ nodeId, voter }) => [nodeId, voter])).toEqual([
      [1, true],
      [2, true],
      [3, true],
    ])
  })
})

it('sheds calls beyond what may wait for the controller', async () => {
  cluster.log.lead(undefined)
  const { quorum, machine } = cluster.node(2)
  const limits = { callsMax: 3, bytesMax: 100 }
  const forwarder = new Forwarder({
    quorum,
    clock: machine.clock,
    prng: new SeededPrng('forwarder'),
    cluster: undefined,
    ...limits,
  })
  const call = (bytes: number) => ({
    method: '/a',
    request: Buffer.alloc(bytes),
    timeoutMs: 500,
    repeatable: false,
    serve: () => NEVER,
  })
  const calls = [60, 60, 20, 10, 10].map(bytes =>
    forwarder.call(call(bytes)).catch((error: NaruError) => error),
  )
  const reasons = (await cluster.run(Promise.all(calls))).map(error => (error as NaruError).reason)
  const waited = 'CONTROLLER_NOT_AVAILABLE'
  expect(reasons).toEqual([waited, 'OVERLOADED', waited, waited, 'OVERLOADED'])
  // What has waited in vain makes room.
  const later = await cluster.run(forwarder.call(call(60)).catch((error: NaruError) => error))
  expect((later as NaruError).reason).toBe(waited)
})

describe('a deposed controller', () => {
  it('denies nothing that its successor has made', async () => {
    const old = cluster.node(1).quorum
    old.isHeld = true
    old.believes = { leaderId: 1, term: 1 }
    cluster.log.lead(2)
    cluster.makeTopic('logs')
    cluster.scheduler.schedule(100, () => old.release())
    const { results } = await cluster.call(1, Admin.deleteTopics, { topics: ['logs'] })
    expect(results[0]?.failure).toBeUndefined()
    expect(cluster.hasTopic('logs')).toBe(false)
  })
})

const NEVER = new Promise<never>(() => {})
