import { describe, expect, it } from 'vitest'
import type { ErrorReason, NaruError } from '../../../src/base/errors.ts'
import { ProducerIds } from '../../../src/drivers/controller/producer-ids.ts'
import { checkRegistration, type NodeRegistration } from '../../../src/metadata/node-registration.ts'
import { removeNode } from '../../../src/metadata/node-removal.ts'
import type { MessageStream } from '../../../src/ports/transport.ts'
import { Controller } from '../../../src/wire/generated/internal-services.ts'
import { SimTransport, serveSimulated } from '../../harness/sim-transport.ts'
import { NodeCluster, type NodeProcess } from './node-cluster.ts'

async function clusterWithOther(seed: number): Promise<{ cluster: NodeCluster; other: NodeProcess }> {
  const cluster = await NodeCluster.start({ seed, members: 3 })
  const [other] = cluster.others
  if (!other) throw new Error('no other node')
  return { cluster, other }
}

/** What a node's port answers to a call. */
function call(cluster: NodeCluster, to: NodeProcess, path: string, request: Uint8Array, timeoutMs = 5000) {
  const from = cluster.controller.member.machine
  const transport = new SimTransport(cluster.quorum.network, from.incarnation, from.name)
  const channel = transport.connect(`n${to.nodeId}:7452`, { purpose: 'raft' })
  return cluster.quorum.run(channel.unary(path, request, { timeoutMs }))
}

describe('a process of a node', () => {
  it('gets the same epoch for the same incarnation, and ends the session that it had', async () => {
    const { cluster, other } = await clusterWithOther(20)
    const { registered } = await registerBy(cluster, other, {
      incarnation: cluster.image()?.nodes.get(other.nodeId)?.incarnation ?? '',
    })
    expect(registered?.nodeEpoch).toBe(1)
    await cluster.runFor(5000)
    // The agent dialled again in its turn, as it would after a reconnect.
    expect(cluster.epochOf(other.nodeId)).toBe(1)
    expect(other.ended).toBeUndefined()
  })

  it('takes the place of the one before it with the same directory, which must stop', async () => {
    const { cluster, other } = await clusterWithOther(21)
    const { registered } = await registerBy(cluster, other, { incarnation: 'another' })
    expect(registered?.nodeEpoch).toBe(2)
    await cluster.until(() => other.ended !== undefined)
    expect(other.ended?.message).toMatch(/node \d was taken over by another process \(epoch 2/)
    expect(other.ended?.reason).toBe('STALE_NODE_EPOCH')
    await cluster.runFor(10_000)
    expect(cluster.epochOf(other.nodeId)).toBe(2)
  })

  it('must stop too when it learns only later that it was replaced', async () => {
    const { cluster, other } = await clusterWithOther(26)
    cluster.quorum.isolate(other.member)
    cluster.quorum.network.reset(other.member.machine.name, cluster.controller.member.machine.name)
    const third = cluster.others.find(node => node !== other)
    await registerBy(cluster, other, { incarnation: 'another', from: third })
    cluster.quorum.network.heal()
    await cluster.until(() => other.ended !== undefined)
    expect(other.ended?.reason).toBe('STALE_NODE_EPOCH')
    expect(cluster.epochOf(other.nodeId)).toBe(2)
  })

  it('of another directory is refused while the session lives', async () => {
    const { cluster, other } = await clusterWithOther(22)
    const { error } = await registerBy(cluster, other, { incarnation: 'another', directoryId: 'elsewhere' })
    expect(error).toMatchObject({ reason: 'NODE_ID_IN_USE' })
    await cluster.runFor(5000)
    expect(cluster.epochOf(other.nodeId)).toBe(1)
    expect(other.ended).toBeUndefined()
  })

  it('of another directory takes part once the session of the old one is over (a lost volume)', async () => {
    const { cluster, other } = await clusterWithOther(23)
    cluster.kill(other.nodeId)
    await cluster.boot(other.nodeId, { directoryId: 'elsewhere' })
    await cluster.until(() => cluster.node(other.nodeId).isServing)
    expect(cluster.image()?.nodes.get(other.nodeId)).toMatchObject({ nodeEpoch: 2, directoryId: 'elsewhere' })
  })

  it('of another directory gives up when the node id stays in use', async () => {
    const { cluster, other } = await clusterWithOther(24)
    const impostor = cluster.join(other.member, { directoryId: 'elsewhere' })
    // The first one keeps its session, and so its id, as long as it lives.
    await cluster.runFor(5000)
    expect(impostor.ended).toBeUndefined()
    await cluster.until(() => impostor.ended !== undefined)
    expect(impostor.ended?.reason).toBe('NODE_ID_IN_USE')
    expect(other.ended).toBeUndefined()
  })

  it('of a removed node ends with that reason', async () => {
    const { cluster, other } = await clusterWithOther(25)
    const { nodeId } = other
    cluster.kill(nodeId)
    await cluster.until(() => cluster.image()?.nodes.get(nodeId)?.isFenced === true)
    const { service, member } = cluster.controller
    const options = { nodesListed: 3, defaultPartitions: 1 }
    await cluster.quorum.run(
      member.driver?.submit(newest =>
        removeNode(newest, options, { nodeId, force: false, isSessionAlive: service.isSessionAlive(nodeId) }),
      ) ?? Promise.reject(new Error('nobody leads')),
    )
    const again = await cluster.boot(nodeId)
    await cluster.until(() => again.ended !== undefined)
    expect(again.ended?.message).toBe(
      `node ${nodeId} was removed from the cluster (to let it join anew, start it with an empty data directory)`,
    )
  })
})

describe('an address that belongs to another cluster now', () => {
  it('does not end the node that looks for its controller there', async () => {
    const { cluster, other } = await clusterWithOther(27)
    const { nodeId, member } = cluster.controller
    const { machine } = member
    cluster.kill(nodeId)
    const reasons: string[] = []
    const handle = (stream: MessageStream) => {
      stream.setHandlers({
        onMessage: bytes => {
          const { register } = Controller.session.request.decode(bytes)
          try {
            checkRegistration(register as NodeRegistration, 'their cluster')
          } catch (thrown) {
            reasons.push((thrown as NaruError).reason)
            stream.fail(thrown as NaruError)
          }
        },
      })
    }
    serveSimulated({
      network: cluster.quorum.network,
      incarnation: machine.incarnation,
      address: `${machine.name}:7452`,
      handlers: new Map([[Controller.session.path, { kind: 'stream', handle }]]),
    })
    await cluster.until(() => reasons.length > 0)
    await cluster.until(() => cluster.quorum.leader !== undefined)
    await cluster.runFor(2000)
    expect(other.ended).toBeUndefined()
    expect(cluster.image()?.nodes.get(other.nodeId)?.isFenced).toBe(false)
  })
})

describe('an orderly stop', () => {
  it('is drained and fenced at once, and nobody waits', async () => {
    const { cluster, other } = await clusterWithOther(30)
    const third = cluster.others[1]?.nodeId as number
    const shared = await cluster.createTopic(other.nodeId, third)
    await cluster.quorum.run(other.agent.drain(5000))
    // Handing over is the matter of its leaders.
    expect(cluster.partition(shared)).toBe(`leader=${other.nodeId} isr=${other.nodeId},${third}`)
    await cluster.until(() => other.agent.isDraining)
    const sinceMs = cluster.nowMs
    await cluster.quorum.run(other.agent.leave(5000))
    expect(cluster.nowMs - sinceMs).toBeLessThan(50)
    expect(cluster.show()).toContain(`${other.nodeId}!~`)
    expect(cluster.partition(shared)).toBe(`leader=${third} isr=${third}`)
    await cluster.runFor(5000)
    expect(cluster.show()).toContain(`${other.nodeId}!~`)
    expect(other.ended).toBeUndefined()
  })

  it('finds the next controller when this one goes meanwhile', async () => {
    const { cluster, other } = await clusterWithOther(31)
    cluster.kill(cluster.controller.nodeId)
    await cluster.quorum.run(other.agent.leave(10_000))
    expect(cluster.image()?.nodes.get(other.nodeId)?.isFenced).toBe(true)
  })

  it('takes no longer than it may when there is no controller', async () => {
    const { cluster, other } = await clusterWithOther(32)
    for (const node of cluster.nodes.values()) if (node !== other) cluster.kill(node.nodeId)
    const sinceMs = cluster.nowMs
    await expect(cluster.quorum.run(other.agent.leave(3000))).rejects.toMatchObject({
      reason: 'DEADLINE_EXCEEDED',
    })
    expect(cluster.nowMs - sinceMs).toBeLessThan(3500)
  })
})

describe('the service Controller', () => {
  it('says who is the controller, on every other node', async () => {
    const { cluster, other } = await clusterWithOther(40)
    const request = Controller.allocateProducerIds.request.encode({ nodeId: other.nodeId, nodeEpoch: 1 })
    const refusal = { reason: 'NOT_CONTROLLER', details: { leader_id: String(cluster.controller.nodeId) } }
    await expect(call(cluster, other, Controller.allocateProducerIds.path, request)).rejects.toMatchObject(
      refusal,
    )
    const { error } = await registerBy(cluster, other, { to: other })
    expect(error).toMatchObject(refusal)
  })

  it('hands out producer ids to all nodes, none twice, whoever is the controller', async () => {
    const { cluster, other } = await clusterWithOther(41)
    const ids = [other, cluster.controller].map(
      ({ agent }) => new ProducerIds({ allocate: () => agent.allocateProducerIds() }),
    )
    const first = [await cluster.quorum.run(next(ids[0])), await cluster.quorum.run(next(ids[1]))]
    expect(first).toEqual([0, 1000])
    cluster.kill(cluster.controller.nodeId)
    const fresh = new ProducerIds({ allocate: () => other.agent.allocateProducerIds() })
    expect(await cluster.quorum.run(next(fresh))).toBe(2000)
  })

  it('answers AwaitApplied once the node has the metadata, and its partitions are open', async () => {
    const { cluster, other } = await clusterWithOther(42)
    const { driver } = await cluster.quorum.awaitLeader()
    const reached = driver.image.appliedEndIndex
    const request = (metadataIndex: number) => Controller.awaitApplied.request.encode({ metadataIndex })
    const answer = await call(cluster, other, Controller.awaitApplied.path, request(reached))
    expect(Controller.awaitApplied.response.decode(answer).appliedIndex).toBe(reached)
    await expect(
      call(cluster, other, Controller.awaitApplied.path, request(reached + 10), 300),
    ).rejects.toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
  })

  it('refuses frames that make no sense, and goes on', async () => {
    const { cluster, other } = await clusterWithOther(43)
    const garbage = await answersOf(cluster, cluster.controller, [Buffer.from('not a frame')])
    expect(garbage.error).toMatchObject({ reason: 'INVALID_REQUEST' })
    const early = await answersOf(cluster, cluster.controller, [
      Controller.session.request.encode({ requestId: 1, caughtUp: {} }),
    ])
    expect(early.error?.message).toBe('a session begins with its registration')
    const silent = await answersOf(cluster, cluster.controller, [])
    expect(silent.error).toMatchObject({ reason: 'DEADLINE_EXCEEDED' })
    await cluster.runFor(3000)
    expect(cluster.show()).toBe('1 2 3')
    expect(other.ended).toBeUndefined()
  })

  it('unfences nobody who has not applied its own registration', async () => {
    const { cluster, other } = await clusterWithOther(44)
    const { failures } = await registerBy(cluster, other, { incarnation: 'hasty', follow: { caughtUp: {} } })
    expect(failures).toEqual(['INVALID_REQUEST'])
    expect(cluster.image()?.nodes.get(other.nodeId)?.isFenced).toBe(true)
  })
})

describe('the clock of rule C12', () => {
  it('tells how long ago the node asked what the controller has answered since', async () => {
    const { cluster, other } = await clusterWithOther(50)
    const ageMs = () => other.member.machine.clock.monotonicMs() - (other.agent.lastHeardControllerMs ?? 0)
    await cluster.runFor(1000)
    // A question goes out and is answered with a heartbeat each, every 100 ms, and must be confirmed by another one.
    expect(ageMs()).toBeLessThan(350)
    cluster.quorum.isolate(other.member)
    await cluster.runFor(3000)
    expect(ageMs()).toBeGreaterThan(2800)
  })

  it('takes nothing that lay in the sockets while the process stood still for a sign of life', async () => {
    const { cluster, other } = await clusterWithOther(51)
    const ageMs = () => other.member.machine.clock.monotonicMs() - (other.agent.lastHeardControllerMs ?? 0)
    await cluster.runFor(1000)
    other.incarnation.pause()
    await cluster.until(() => cluster.image()?.nodes.get(other.nodeId)?.isFenced === true)
    const fencedEnd = cluster.image()?.appliedEndIndex ?? Number.POSITIVE_INFINITY
    await cluster.runFor(5000)
    other.incarnation.resume()
    const ages: number[] = []
    await cluster.until(() => ages.push(ageMs()) > 1 && ageMs() < 2000)
    expect(Math.max(...ages)).toBeGreaterThan(5000)
    // By then it knows what became of it.
    expect(other.member.driver?.image.appliedEndIndex).toBeGreaterThanOrEqual(fencedEnd)
  })

  it('takes nothing that the process before asked, whose clock was far ahead', async () => {
    const { cluster, other } = await clusterWithOther(52)
    await cluster.runFor(60_000)
    cluster.kill(other.nodeId)
    const next = await cluster.boot(other.nodeId)
    await cluster.until(() => next.agent.lastHeardControllerMs !== undefined)
    const ageMs = () => next.member.machine.clock.monotonicMs() - (next.agent.lastHeardControllerMs ?? 0)
    expect(ageMs()).toBeGreaterThanOrEqual(0)
    await cluster.runFor(1000)
    expect(ageMs()).toBeGreaterThanOrEqual(0)
  })
})

async function next(ids: ProducerIds | undefined): Promise<number> {
  return ids?.next() ?? -1
}

/** A registration of the node's id over a stream of its own, and what came of it. */
async function registerBy(
  cluster: NodeCluster,
  node: NodeProcess,
  more: {
    incarnation?: string
    directoryId?: string
    to?: NodeProcess
    from?: NodeProcess | undefined
    follow?: object
  },
) {
  const { incarnation = 'another', directoryId = `disk${node.nodeId}`, to, follow: request } = more
  const register = {
    clusterId: 'cluster',
    nodeId: node.nodeId,
    directoryId,
    incarnation,
    clientAddress: 'elsewhere:7450',
    peerAddress: 'elsewhere:7452',
    release: '0.1.0',
  }
  const frames = [Controller.session.request.encode({ requestId: 1, register })]
  const follow = request && Controller.session.request.encode({ requestId: 2, ...request })
  return answersOf(cluster, to ?? cluster.controller, frames, { follow, from: more.from })
}

/** What comes back for these frames (then, after the first answer, `follow`), until the stream ends or rests. */
async function answersOf(
  cluster: NodeCluster,
  to: NodeProcess,
  frames: Uint8Array[],
  { follow, from: caller }: { follow?: Uint8Array | undefined; from?: NodeProcess | undefined } = {},
) {
  const from = (caller ?? cluster.others[0])?.member.machine
  if (!from) throw new Error('no other node')
  const transport = new SimTransport(cluster.quorum.network, from.incarnation, from.name)
  const stream = transport.connect(`n${to.nodeId}:7452`).stream(Controller.session.path)
  const answers: ReturnType<typeof Controller.session.response.decode>[] = []
  let error: { reason: ErrorReason; message: string } | undefined
  stream.setHandlers({
    onMessage: bytes => {
      answers.push(Controller.session.response.decode(bytes))
      if (follow && answers.length === 1) stream.write(follow)
    },
    onClose: closed => {
      error = closed
    },
  })
  for (const frame of frames) stream.write(frame)
  const wanted = follow ? 2 : 1
  await cluster.until(() => error !== undefined || answers.length >= wanted)
  const failures = answers.flatMap(answer => (answer.failure ? [answer.failure.reason] : []))
  return { registered: answers[0]?.registered, failures, error }
}
