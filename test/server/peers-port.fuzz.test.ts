import { expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import {
  Controller,
  Coordination,
  Forward,
  Peers,
  Raft,
  Replication,
} from '../../src/wire/generated/internal-services.ts'
import { Admin, type Method } from '../../src/wire/methods.ts'
import { SeededPrng } from '../harness/seeded-prng.ts'
import { SimBrokerCluster } from '../harness/sim-broker-cluster.ts'
import { SimMachine } from '../harness/sim-machine.ts'
import { SimTransport } from '../harness/sim-transport.ts'

const CALLS = 5_000
const prng = new SeededPrng('what no peer should send')
const SERVED = [Raft, Peers, Controller, Forward, Replication, Coordination].flatMap(
  service => Object.values(service) as Method<unknown, unknown>[],
)

/** Frames to start from, in the order of their stream. */
function seedsOf(of: { clusterId: string; self: string; directoryId: string }): Map<string, object[]> {
  const { clusterId, self, directoryId } = of
  const hello = { clusterId, from: '9@stranger', to: self }
  const last = { index: 3, term: 1 }
  const entries = [
    { term: 1, kind: 'COMMAND', data: Buffer.from('no record') },
    { term: 1, kind: 'CONFIG', data: Buffer.from('{"version":1,"voters":["9@stranger"],"learners":[]}') },
  ]
  const address = 'n9:7452'
  const registration = {
    clusterId,
    nodeId: 9,
    directoryId: 'stranger',
    incarnation: 'process',
    clientAddress: 'n9:7450',
    peerAddress: address,
    release: '0.1.0',
  }
  const topicId = 'A'.repeat(22)
  const alterPartitions = { changes: [{ topicId, partition: 0, leaderEpoch: 1, isr: [{ nodeId: 9 }] }] }
  // Of a term that is over: what a member says in the present one is believed.
  const messages = [
    { preVoteRequest: { last } },
    { preVoteAnswer: { requestTerm: 1, granted: true } },
    { voteRequest: { last, transfer: true } },
    { voteAnswer: { granted: true } },
    { append: { previous: last, entries, commitIndex: 4 } },
    { appendAnswer: { accepted: { matchIndex: 9 }, attachment: Buffer.from('no report') } },
    { appendAnswer: { refused: { previousIndex: 4, hint: last } } },
    { heartbeat: { commitIndex: 3, round: 7 } },
    { heartbeatAnswer: { round: 1, attachment: Buffer.from([8, 1]) } },
    { readIndexRequest: { id: 'one' } },
    { readIndexAnswer: { id: 'one', index: 3 } },
  ].map(message => ({ message: { term: 0, ...message } }))
  return new Map<string, object[]>([
    [Raft.exchange.path, [{ hello }, ...messages]],
    [
      Raft.installSnapshot.path,
      [
        { header: { hello, term: 0, last, membership: { voters: ['9@stranger'] }, sizeBytes: 100 } },
        { piece: Buffer.from('NRSN\0\0\0\x01\0\0\0\x02{}') },
      ],
    ],
    [
      Peers.greet.path,
      [
        {
          nonce: 'n',
          greeting: {
            protocolVersion: 1,
            nodeId: 9,
            directoryId: 'stranger',
            address,
            peers: [address],
            members: [{ memberId: '8@other', address: 'n8:7452' }],
          },
        },
      ],
    ],
    [Peers.join.path, [{ clusterId, memberId: '9@stranger', directoryId: 'stranger', address }]],
    [
      Controller.session.path,
      [
        { requestId: 1, register: registration },
        { requestId: 2, caughtUp: { appliedIndex: 1_000 } },
        { requestId: 3, drain: {} },
        { requestId: 4, alterPartitions },
        { requestId: 5, reportDamage: { replicas: [{ topicId, partition: 0 }] } },
        { requestId: 6, leave: {} },
      ],
    ],
    [Controller.allocateProducerIds.path, [{ nodeId: 9, nodeEpoch: 1 }]],
    [Controller.awaitApplied.path, [{ metadataIndex: 5 }]],
    [
      Forward.call.path,
      [
        {
          clusterId,
          toNodeId: Number(self.slice(0, self.indexOf('@'))),
          method: Admin.createTopics.path,
          request: Admin.createTopics.request.encode({ topics: [{ topic: 'made' }] }),
          timeoutMs: 500,
          fromNodeId: 9,
        },
      ],
    ],
    [
      Coordination.listGroups.path,
      [{ clusterId, toNodeId: Number(self.slice(0, self.indexOf('@'))), partitions: [0, 3], request: {} }],
    ],
    [
      Replication.replicate.path,
      [
        {
          open: {
            clusterId,
            from: { nodeId: 9, directoryId: 'stranger', nodeEpoch: 1 },
            to: { nodeId: Number(self.slice(0, self.indexOf('@'))), directoryId, nodeEpoch: 1 },
          },
        },
        { follows: [{ number: 1, topicId, partition: 0, leaderEpoch: 1, fetchOffset: 5 }] },
        { acks: [{ number: 1, endOffset: 7 }] },
      ],
    ],
  ])
}

function frameOf(method: Method<unknown, unknown>, seed: object): Buffer {
  if (prng.chance(0.1)) return Buffer.from(prng.bytes(prng.uint32() % 64))
  const bytes = Buffer.from(method.request.encode(seed))
  const changes = prng.pick([0, 0, 1, 3])
  for (let change = 0; change < changes && bytes.length > 0; change++)
    bytes[prng.uint32() % bytes.length] = prng.chance(0.5) ? prng.uint32() : prng.uint32() & 0x7f
  return prng.chance(0.1) ? bytes.subarray(0, prng.uint32() % (bytes.length + 1)) : bytes
}

it('takes whatever comes to its peers port, and is well afterwards', async () => {
  const cluster = await SimBrokerCluster.start({ seed: 1, nodes: 3 })
  const { scheduler, network } = cluster
  const stranger = new SimMachine(9, { name: 'n9', scheduler, prng: prng.fork('n9') })
  const transport = new SimTransport(network, stranger.incarnation, 'n9')
  const targets = cluster.running.map(({ node, machine }) => {
    const { clusterId = '', directoryId = '' } = node.broker.identity ?? {}
    const self = node.quorum?.status.self as string
    const seeds = seedsOf({ clusterId, self, directoryId })
    return { seeds, channel: transport.connect(`${machine.name}:7452`, { purpose: 'raft' }) }
  })
  const bugs: unknown[] = []
  let over = 0
  const onOver = (thrown?: unknown) => {
    over++
    if (thrown !== undefined && !(thrown instanceof NaruError && thrown.reason !== 'INTERNAL'))
      bugs.push(thrown)
  }
  for (let call = 0; call < CALLS; call++) {
    const method = prng.pick(SERVED)
    const { seeds, channel } = prng.pick(targets)
    const frames = seeds.get(method.path) ?? [{}]
    if (method.requestStream) {
      const stream = channel.stream(method.path)
      stream.setHandlers({ onMessage() {}, onClose: onOver })
      const [first, ...others] = frames as [object, ...object[]]
      stream.write(prng.chance(0.8) ? Buffer.from(method.request.encode(first)) : frameOf(method, first))
      for (let frame = 0; frame < 4; frame++) {
        stream.write(frameOf(method, prng.pick([first, ...others])))
      }
      if (prng.chance(0.5)) stream.end()
      stranger.clock.setTimer(50, () => stream.fail(new NaruError('CANCELLED', 'gone')))
    } else
      channel
        .unary(method.path, frameOf(method, frames[0] as object), { timeoutMs: 300 })
        .then(() => onOver(), onOver)
    if (call % 20 === 19) await scheduler.runFor(60)
  }
  await cluster.until(() => over === CALLS)
  expect(bugs).toEqual([])
  for (const { node } of cluster.running) {
    expect(node.broker.failure).toBeUndefined()
    await cluster.run(node.createTopic(`after-${node.broker.identity?.nodeId}`))
  }
  expect(cluster.running).toHaveLength(3)
}, 60_000)
