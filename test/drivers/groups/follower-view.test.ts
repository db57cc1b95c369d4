import { describe, expect, it } from 'vitest'
import type { NaruError } from '../../../src/base/errors.ts'
import { encodeGroupBatch } from '../../../src/drivers/groups/group-batches.ts'
import { decodeGroupRecord } from '../../../src/drivers/groups/group-record-codec.ts'
import { GroupViews } from '../../../src/drivers/groups/group-views.ts'
import type { GroupRecord } from '../../../src/groups/group-record.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { ReplicaCluster } from '../replicas/replica-cluster.ts'
import { TOPIC_ID } from '../replicas/scripted-controller.ts'
import { imageOf, offset } from './view-fixture.ts'

const SETTINGS = {
  'cleanup.policy': 'compact',
  'min.insync.replicas': '1',
  'min.cleanable.dirty.ratio': '0.01',
  'delete.retention.ms': '0',
  'segment.bytes': String(1024 * 1024),
}

/** A partition of `__groups` on three nodes, node 1 leading, each with its view in a LevelDB of its own. */
class ViewedCluster {
  readonly cluster: ReplicaCluster
  /** Of the present life of each node. */
  readonly #views: Map<number, GroupViews>

  private constructor(cluster: ReplicaCluster, views: Map<number, GroupViews>) {
    this.cluster = cluster
    this.#views = views
  }

  static async start(seed = 1): Promise<ViewedCluster> {
    const views = new Map<number, GroupViews>()
    const outdated = new Set<number>()
    const cluster = await ReplicaCluster.start({
      seed,
      // Only the tests clean, and what was removed is in no memory either.
      logLimits: { cleanerIntervalMs: 1e9, cleanerBytesPerSecond: 1e12, tailBytesMax: 0 },
      viewOf: ({ nodeId, machine }) => {
        const prng = new SeededPrng(`${seed} ${nodeId} ${machine.scheduler.nowMs}`)
        const { clock } = machine
        const onError = (error: NaruError) => {
          if (!error.message.includes('is not kept')) throw error
        }
        const own = new GroupViews({
          store: machine.openState({ anew: outdated.delete(nodeId) }),
          outdateStore: async () => void outdated.add(nodeId),
          clock,
          prng,
          onError,
        })
        views.set(nodeId, own)
        return ({ partition }) => own.of(partition)
      },
    })
    cluster.controller.createTopic({ settings: SETTINGS })
    await cluster.until(() => cluster.node(1).replicas?.leader(TOPIC_ID, 0) !== undefined)
    return new ViewedCluster(cluster, views)
  }

  async write(...records: GroupRecord[]): Promise<void> {
    const { cluster } = this
    const batch = encodeGroupBatch(records, 1_700_000_000_000)
    const outcome = await cluster.run(cluster.produceBatch(cluster.leader(1), batch))
    expect(outcome).toMatchObject({ kind: 'stored' })
  }

  /** The node has everything, and so has its view. */
  settled(nodeId: number): Promise<void> {
    const { cluster } = this
    return cluster.until(() => {
      const { logEndOffset } = cluster.log(1)
      return (
        this.#view(nodeId).appliedEnd === logEndOffset && cluster.log(nodeId).logEndOffset === logEndOffset
      )
    })
  }

  /** What a coordinator on that node would get of the view; undefined: nothing. */
  async contents(nodeId: number): Promise<GroupRecord[] | undefined> {
    const records: GroupRecord[] = []
    const each = ({ key, value }: { key: Buffer; value: Buffer | null }) =>
      records.push(decodeGroupRecord(key, value))
    const end = await this.cluster.run(this.#view(nodeId).load(each))
    return end === undefined ? undefined : imageOf(records)
  }

  isr(): string {
    return this.cluster.controller.partition().isr.join()
  }

  #view(nodeId: number) {
    const views = this.#views.get(nodeId)
    if (views === undefined) throw new Error(`node ${nodeId} has no views`)
    return views.of(0)
  }
}

/** What deleted a group, and the group, are removed from the log of the leader before a follower has come to it. */
const REMOVALS = {
  'behind the log start': async ({ cluster }: ViewedCluster) => {
    await cluster.run(cluster.leader(1).deleteRecordsBefore(4))
  },
  'by compaction': async (viewed: ViewedCluster) => {
    const { cluster } = viewed
    for (let round = 0; round < 2; round++) {
      for (let at = 0; at < 4; at++) await viewed.write(large(`large-${at % 2}`))
      await viewed.settled(1)
      await cluster.run(cluster.node(1).directory?.clean() ?? Promise.resolve())
    }
    expect(cluster.log(1).removedTombstonesEnd).toBe(4)
  },
} as const

type Removal = keyof typeof REMOVALS

/** So that what comes before lies in closed segments. */
function large(group: string): GroupRecord {
  const value = { nextOffset: 1, leaderEpoch: 3, metadata: '.'.repeat(400_000), committedAtMs: 0 }
  return { type: 'offset', version: 0, group, topicId: 'A'.repeat(22), partition: 0, value }
}

/** Node 3 is away meanwhile, with a view that has the group. */
async function missAnEnd(removal: Removal, seed?: number): Promise<ViewedCluster> {
  const viewed = await ViewedCluster.start(seed)
  const { cluster } = viewed
  await viewed.write(offset('deleted', 0, 1), offset('deleted', 1, 1))
  await viewed.settled(3)
  cluster.powerCut(cluster.node(3))
  await cluster.until(() => viewed.isr() === '1,2')
  await viewed.write(offset('deleted', 0, null), offset('deleted', 1, null))
  await REMOVALS[removal](viewed)
  for (let partition = 0; partition < 3; partition++) await viewed.write(offset('kept', partition, 7))
  return viewed
}

const groupsOf = (records: readonly GroupRecord[] = []) =>
  records.map(({ group }) => group).filter(group => !group.startsWith('large'))

describe.each(Object.keys(REMOVALS) as Removal[])('where deletions are removed %s', removal => {
  it('the view of a follower that is reset holds what its new log does, and nothing else', async () => {
    const viewed = await missAnEnd(removal)
    const { cluster } = viewed
    await cluster.boot(cluster.node(3))
    await cluster.until(() => viewed.isr() === '1,2,3')
    await viewed.settled(3)
    expect(groupsOf(await viewed.contents(3))).toEqual(['kept', 'kept', 'kept'])
    // And it goes on from there.
    await viewed.write(offset('kept', 0, 8), offset('more', 0, 1))
    await viewed.settled(3)
    expect(groupsOf(await viewed.contents(3))).toEqual(['kept', 'kept', 'kept', 'more'])
    expect(await viewed.contents(3)).toEqual(await viewed.contents(1))
  })

  it('so it does from the next start on, where its store could not be written when the follower was reset', async () => {
    const viewed = await missAnEnd(removal)
    const { cluster } = viewed
    const node = cluster.node(3)
    await cluster.boot(node)
    node.machine.state.isDamaged = true
    await cluster.until(() => viewed.isr() === '1,2,3')
    expect(await viewed.contents(3)).toBeUndefined()
    node.machine.state.isDamaged = false
    cluster.powerCut(node)
    await cluster.boot(node)
    await cluster.until(() => viewed.isr() === '1,2,3')
    await viewed.settled(3)
    expect(groupsOf(await viewed.contents(3))).toEqual(['kept', 'kept', 'kept'])
    expect(node.errors).toEqual([])
  })

  it('so it does when the power goes while the follower is reset', async () => {
    let interrupted = 0
    for (let seed = 1; seed <= 10; seed++) {
      const viewed = await missAnEnd(removal, seed)
      const { cluster } = viewed
      const node = cluster.node(3)
      await cluster.boot(node)
      await cluster.scheduler.runFor(new SeededPrng(`cut ${seed}`).fraction() * 60)
      if (cluster.log(3).logEndOffset < cluster.log(1).logEndOffset) interrupted++
      cluster.powerCut(node)
      await cluster.boot(node)
      await cluster.until(() => viewed.isr() === '1,2,3')
      await viewed.settled(3)
      expect(groupsOf(await viewed.contents(3)), `seed ${seed}`).toEqual(['kept', 'kept', 'kept'])
    }
    expect(interrupted).toBeGreaterThan(0)
  })
})
