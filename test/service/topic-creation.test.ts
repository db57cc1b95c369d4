import { beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import { delay } from '../../src/ports/clock.ts'
import { Forward } from '../../src/wire/generated/internal-services.ts'
import { Admin, Producer } from '../../src/wire/methods.ts'
import { type TestClusterOptions, TestServiceCluster } from './service-cluster.ts'

let cluster: TestServiceCluster
let awaitServing: NonNullable<TestClusterOptions['awaitServing']>
let onForwarded: NonNullable<TestClusterOptions['onForwarded']>
let asked: number[]

beforeEach(() => {
  asked = []
  awaitServing = async () => {}
  onForwarded = (_, pass) => pass()
  cluster = new TestServiceCluster({
    autoCreateTopics: true,
    awaitServing: (...call) => {
      asked.push(call[0])
      return awaitServing(...call)
    },
    onForwarded: (to, pass) => onForwarded(to, pass),
  })
})

const WIDE = { topics: [{ topic: 'wide', partitions: 3, replicationFactor: 1 }] }
const lost = () => new NaruError('CONNECTION_FAILED', 'nobody answers there', { outcome: 'unknown' })

describe('a topic is made', () => {
  it('when the leaders of all its partitions serve, each node asked once', async () => {
    const { results } = await cluster.call(1, Admin.createTopics, WIDE)
    expect(results[0]?.notServing).toEqual([])
    expect(asked.sort()).toEqual([2, 3])
  })

  it('when a leader serves that could not be reached at first', async () => {
    awaitServing = async nodeId => {
      if (nodeId === 3 && asked.filter(one => one === 3).length < 3) throw lost()
    }
    const { results } = await cluster.call(1, Admin.createTopics, WIDE)
    expect(results[0]?.notServing).toEqual([])
    expect(asked.filter(one => one === 3).length).toBe(3)
  })

  it('when a leader hangs and another look finds one that serves', async () => {
    awaitServing = (nodeId, _, timeoutMs) => {
      const isHung = nodeId === 3 && asked.filter(one => one === 3).length === 1
      if (!isHung) return Promise.resolve()
      return delay(cluster.node(1).machine.clock, timeoutMs).then(() => Promise.reject(lost()))
    }
    const startMs = cluster.nowMs
    const { results } = await cluster.call(1, Admin.createTopics, { ...WIDE, timeoutMs: 30_000 })
    expect(results[0]?.notServing).toEqual([])
    expect(cluster.nowMs - startMs).toBeLessThan(5_000)
  })

  it('or says at the deadline which do not serve', async () => {
    awaitServing = async nodeId => {
      if (nodeId === 3) throw lost()
    }
    const startMs = cluster.nowMs
    const { results } = await cluster.call(1, Admin.createTopics, { ...WIDE, timeoutMs: 2_000 })
    expect(results[0]?.failure).toBeUndefined()
    const image = cluster.node(1).quorum.image.topics.byName('wide')
    const ofNode3 = [0, 1, 2].filter(partition => image?.partition(partition)?.leader === 3)
    expect(results[0]?.notServing).toEqual(ofNode3)
    expect(ofNode3).toHaveLength(1)
    expect(cluster.nowMs - startMs).toBeLessThan(2_200)
  })

  it('and says so before the time of its caller is over', async () => {
    awaitServing = async () => {
      throw lost()
    }
    const { results } = await cluster.call(2, Admin.createTopics, WIDE, { timeoutMs: 1_500 })
    expect(results[0]?.notServing).toHaveLength(2)
  })
})

/** Its leaders are elsewhere or not; here it matters that it is there, and what is said of it. */
describe('a produce to a topic that nobody made', () => {
  const ask = { topic: 'new' }

  it('makes it through the controller, once for all who ask', async () => {
    const asks = [1, 2, 3, 4].map(() => cluster.send(2, Producer.produce, ask))
    const answers = await cluster.run(Promise.all(asks))
    const warnings = answers.flatMap(answer => Producer.produce.response.decode(answer).warnings)
    expect(new Set(warnings).size).toBe(1)
    expect(warnings[0]).toContain('replication factor 3')
    expect(cluster.hasTopic('new')).toBe(true)
    const calls = cluster.forwarded.filter(
      ({ request }) => Forward.call.request.decode(request).method !== '',
    )
    expect(calls).toHaveLength(1)
  })

  it('finds it where another node has made it meanwhile', async () => {
    cluster.node(2).quorum.isHeld = true
    cluster.makeTopic('new')
    cluster.scheduler.schedule(300, () => cluster.node(2).quorum.release())
    const { warnings } = await cluster.call(2, Producer.produce, ask)
    expect(warnings).toEqual([])
  })

  it('goes on after a connection that broke: making it twice is making it once', async () => {
    let isBroken = false
    onForwarded = async (to, pass) => {
      const answer = await pass()
      if (isBroken || cluster.forwarded.length < 2) return answer
      isBroken = true
      cluster.network.reset('host-2', `host-${to}`)
      return answer
    }
    const { warnings } = await cluster.call(2, Producer.produce, ask)
    expect(warnings).toEqual([])
    expect(isBroken).toBe(true)
    expect(cluster.hasTopic('new')).toBe(true)
  })

  it('fails with nothing written when no controller is found', async () => {
    cluster.log.lead(undefined)
    const error = await cluster.refusal(2, Producer.produce, { ...ask, timeoutMs: 20_000 })
    expect(error).toMatchObject({ reason: 'CONTROLLER_NOT_AVAILABLE', outcome: 'none', retriable: true })
  })
})
