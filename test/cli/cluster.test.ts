import { PassThrough, Readable } from 'node:stream'
import { beforeEach, describe, expect, it } from 'vitest'
import { NaruError } from '../../src/base/errors.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { run } from '../../src/cli/program.ts'
import type { Client, ClusterDescription, ClusterNode, QuorumDescription } from '../../src/client/index.ts'

/** Three nodes that are well, until a test says otherwise. */
let cluster: ClusterDescription
let quorum: QuorumDescription | NaruError
let calls: unknown[]
let drainRemaining: { topic: string; partition: number }[]
/** In-sync replicas of `test-N`. */
let isr: number[][]

beforeEach(() => {
  cluster = {
    clusterId: 'Zq3WxkWqTjO2bWf3m0nT2g',
    controller: 1,
    metadataIndex: 90,
    metadataAgeMs: 0,
    nodes: [1, 2, 3].map(nodeId => nodeOf(nodeId)),
    topics: 1,
    partitions: 3,
    underReplicatedPartitions: 0,
    underMinIsrPartitions: 0,
    offlinePartitions: 0,
    reassigningPartitions: 0,
    unhealthy: [],
  }
  quorum = {
    leader: 1,
    term: 4,
    committedIndex: 90,
    metadataAgeMs: 0,
    members: [1, 2, 3].map(nodeId => member(nodeId)),
  }
  calls = []
  drainRemaining = []
  isr = [
    [1, 2, 3],
    [2, 3, 1],
    [3, 1, 2],
  ]
})

function nodeOf(nodeId: number, changes: Partial<ClusterNode> = {}): ClusterNode {
  return {
    nodeId,
    address: `127.0.0.1:74${40 + 10 * nodeId}`,
    peerAddress: `127.0.0.1:74${42 + 10 * nodeId}`,
    rack: '',
    state: 'active',
    version: '0.1.0',
    isController: nodeId === 1,
    isVoter: true,
    leaders: 1,
    replicas: 3,
    appliedIndex: 90,
    ...changes,
  }
}

function member(nodeId: number, changes: Partial<QuorumDescription['members'][number]> = {}) {
  const lastContactMs = nodeId === 1 ? undefined : 40
  return { nodeId, directoryId: `d${nodeId}`, isVoter: true, matchIndex: 90, lastContactMs, ...changes }
}

async function naru(line: string): Promise<{ exitCode: number; out: string; err: string }> {
  const admin = {
    describeCluster: async () => cluster,
    describeQuorum: async (options: unknown) => {
      calls.push(['describeQuorum', options])
      if (quorum instanceof NaruError) throw quorum
      return quorum
    },
    describeTopics: async (names: string[]) =>
      names.map(name => ({
        name,
        partitions: isr.map((inSync, partition) => ({ partition, replicas: [1, 2, 3], isr: inSync })),
      })),
    addVoter: async (...words: unknown[]) => {
      calls.push(['addVoter', ...words])
      return [1, 2, 3]
    },
    removeVoter: async (...words: unknown[]) => {
      calls.push(['removeVoter', ...words])
      return [1, 3]
    },
    drainNode: async (...words: unknown[]) => {
      calls.push(['drainNode', ...words])
      return drainRemaining
    },
    removeNode: async (...words: unknown[]) => void calls.push(['removeNode', ...words]),
  }
  const client = { admin: () => admin, [Symbol.asyncDispose]: async () => {} } as unknown as Client
  const [stdout, stderr] = [new PassThrough(), new PassThrough()]
  const texts = { out: '', err: '' }
  stdout.on('data', text => {
    texts.out += text
  })
  stderr.on('data', text => {
    texts.err += text
  })
  const context: CliContext = {
    environment: {},
    stdin: Readable.from([]),
    stdout,
    stderr,
    command: 'naru',
    program: [],
    connect: async bootstrap => {
      calls.push(bootstrap.join(','))
      return client
    },
    runNode: async () => {},
    monotonicMs: () => 0,
    onInterrupt: () => {},
  }
  const exitCode = await run(line.split(' '), context)
  // Streams hand out what was written in a later turn.
  await new Promise(resolve => setImmediate(resolve))
  return { exitCode, ...texts }
}

describe('cluster status', () => {
  it('is one screen, and says when all is well', async () => {
    expect(await naru('cluster status --check')).toEqual({
      exitCode: 0,
      out: `cluster     Zq3WxkWqTjO2bWf3m0nT2g: healthy
controller  node 1
quorum      voters 1, 2, 3; term 4; all keep up
partitions  3 of 1 topic, all in sync

NODE  STATE   ROLE        CLIENTS         PEERS           LEADS  REPLICAS
   1  active  controller  127.0.0.1:7450  127.0.0.1:7452      1         3
   2  active  voter       127.0.0.1:7460  127.0.0.1:7462      1         3
   3  active  voter       127.0.0.1:7470  127.0.0.1:7472      1         3
`,
      err: '',
    })
  })

  it('names what is wrong, worst first, and what to do about each', async () => {
    isr = [[1, 3], [], [1]]
    const [first, , third] = cluster.nodes as [ClusterNode, ClusterNode, ClusterNode]
    cluster = {
      ...cluster,
      nodes: [first, nodeOf(2, { state: 'fenced', leaders: 0 }), { ...third, state: 'draining' }],
      underReplicatedPartitions: 3,
      underMinIsrPartitions: 1,
      offlinePartitions: 1,
      unhealthy: [1, 2, 0].map(partition => ({ topic: 'test', partition })),
    }
    quorum = {
      ...(quorum as QuorumDescription),
      members: [member(1), member(2, { lastContactMs: 12_345 }), member(3)],
    }
    const { exitCode, out } = await naru('cluster status')
    expect(exitCode).toBe(0)
    expect(out).toContain('needs a look (5 findings below)')
    expect(out).toContain('quorum      voters 1, 2, 3; term 4; node 2 is fenced\n')
    expect(out).toContain(
      'partitions  3 of 1 topic: 1 offline, 1 below min.insync.replicas, 3 under-replicated\n',
    )
    expect(out.slice(out.indexOf('!'))).toBe(`! 1 partition without a leader: neither read nor written: test-1
  bring back nodes 1, 2, 3: only a replica that has everything may lead

! 1 partition below min.insync.replicas: not written with acks=all: test-2
  bring back nodes 2, 3

! 1 partition with fewer replicas in sync than they should have: test-0
  bring back node 2; replicas that run catch up by themselves

! node 2 (127.0.0.1:7460) is fenced: it is not heard, or not ready yet
  start it, or look at its log; if it is gone for good: naru cluster quorum remove 2, then naru cluster remove 2

! node 3 is draining: it leads only what no other node could
  stop it; its next start ends the drain
`)
    expect(await naru('cluster status --check')).toMatchObject({
      exitCode: 1,
      err: 'naru: the cluster is not healthy\n',
    })
  })

  it('names the first few of many partitions', async () => {
    const unhealthy = Array.from({ length: 100 }, (_, partition) => ({ topic: 'test', partition }))
    cluster = { ...cluster, underReplicatedPartitions: 2_000, unhealthy }
    expect((await naru('cluster status')).out).toContain(
      '! 2,000 partitions with fewer replicas in sync than they should have: test-0, test-1, test-2, test-3, test-4 and 1,995 more\n',
    )
  })

  it('without a controller says how old it is, and how many nodes are needed', async () => {
    cluster = { ...cluster, controller: undefined, metadataAgeMs: 65_000 }
    quorum = { ...(quorum as QuorumDescription), leader: undefined }
    const { out } = await naru('cluster status')
    expect(out).toContain('controller  none: last heard 65.0 s ago; metadata as of index 90\n')
    expect(out).toContain('quorum      voters 1, 2, 3; term 4; no leader\n')
    expect(out).toContain(
      '! no controller: last heard 65.0 s ago, and all that is shown here is of then; changes are refused\n  one is elected as soon as 2 of the 3 voters run and reach each other: start those that are down\n',
    )
  })

  it('is told even if the quorum cannot be', async () => {
    quorum = new NaruError('DEADLINE_EXCEEDED', 'no answer in time')
    expect((await naru('cluster status')).out).toContain('quorum      does not answer\n')
    quorum = new NaruError('INTERNAL', 'a bug')
    expect(await naru('cluster status')).toMatchObject({ exitCode: 1, out: '' })
  })

  it('finds voters that do not keep up, and too few of them', async () => {
    const members = [member(1), member(2, { matchIndex: 90 }), member(3, { isVoter: false })]
    quorum = { ...(quorum as QuorumDescription), committedIndex: 5_000, members }
    const { out } = await naru('cluster status')
    expect(out).toContain('! voter 2 does not keep up: 4,910 entries behind\n')
    expect(out).toContain(
      '! only 2 voters of 3 nodes: the loss of one stops all changes\n  naru cluster quorum add 3,',
    )
    expect(out).toContain('quorum      voters 1, 2; 1 learner; term 4; node 2 4,910 entries behind\n')
  })

  it('is a document for programs, findings included', async () => {
    cluster = { ...cluster, controller: undefined }
    const { out } = await naru('cluster status -o json')
    expect(JSON.parse(out)).toMatchObject({
      cluster: { clusterId: 'Zq3WxkWqTjO2bWf3m0nT2g', nodes: [{ nodeId: 1 }, {}, {}] },
      quorum: { term: 4 },
      findings: [{ what: expect.stringContaining('no controller'), action: expect.any(String) }],
    })
  })
})

describe('cluster nodes and quorum', () => {
  it('are tables, with racks and versions where they differ', async () => {
    expect((await naru('cluster nodes -b localhost:7460')).out.split('\n')[0]).toBe(
      'NODE  STATE   ROLE        CLIENTS         PEERS           LEADS  REPLICAS',
    )
    expect(calls).toEqual(['localhost:7460'])
    cluster = {
      ...cluster,
      nodes: [nodeOf(1, { rack: 'a' }), nodeOf(2, { version: '0.2.0', isVoter: false })],
    }
    expect((await naru('cluster nodes')).out).toMatch(/RACK +VERSION\n.* a +0\.1\.0\n.*learner.* 0\.2\.0\n$/)
    expect(JSON.parse((await naru('cluster nodes -o json')).out)).toHaveLength(2)
  })

  it('shows who leads, who is behind and who was not heard', async () => {
    quorum = {
      ...(quorum as QuorumDescription),
      members: [
        member(1),
        member(2, { matchIndex: 87, lastContactMs: 180_000 }),
        member(3, { isVoter: false, matchIndex: undefined }),
      ],
    }
    expect((await naru('cluster quorum')).out).toBe(`leader node 1, term 4, committed up to 90
NODE  ROLE     BEHIND  HEARD      DIRECTORY
   1  leader   0       -          d1
   2  voter    3       3 min ago  d2
   3  learner  ?       40 ms ago  d3
`)
  })

  it('changes voters', async () => {
    expect(await naru('cluster quorum add 3 -b a:1')).toMatchObject({
      exitCode: 0,
      out: 'node 3 votes now (voters: 1, 2, 3)\n',
    })
    expect(await naru('cluster quorum remove 2 --directory-id d2')).toMatchObject({
      exitCode: 0,
      out: 'node 2 votes no more (voters: 1, 3)\n',
    })
    expect(calls).toEqual([
      'a:1',
      ['addVoter', 3],
      '127.0.0.1:7450',
      ['removeVoter', 2, { directoryId: 'd2' }],
    ])
    expect(await naru('cluster quorum add x')).toMatchObject({ exitCode: 2 })
  })
})

describe('a node', () => {
  it('is drained, and what could not be handed over is named', async () => {
    expect(await naru('cluster drain 2 --timeout 3')).toMatchObject({
      exitCode: 0,
      out: 'node 2 is drained: it leads nothing and can be stopped\n',
    })
    expect(calls[1]).toEqual(['drainNode', 2, { timeoutMs: 3_000 }])
    drainRemaining = [{ topic: 'test', partition: 7 }]
    expect(await naru('cluster drain 2')).toMatchObject({
      exitCode: 5,
      out: '',
      err: expect.stringContaining('still leads test-7: no other replica is in sync'),
    })
  })

  it('is removed', async () => {
    expect(await naru('cluster remove 2')).toMatchObject({ exitCode: 0, out: 'removed node 2\n' })
    await naru('cluster remove 3 --force')
    expect(calls.filter(one => Array.isArray(one))).toEqual([
      ['removeNode', 2, { force: false }],
      ['removeNode', 3, { force: true }],
    ])
  })
})
