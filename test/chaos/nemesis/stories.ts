import { until } from '../../harness/node-cluster.ts'
import { described } from '../faults/leader-faults.ts'
import { cutBetween, NO_FAULTS, shuffled } from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import { emptyDirectory } from './disk-faults.ts'
import type { Scene } from './fault.ts'
import { allInSync, healAll } from './healing.ts'

export type StoryName = 'stale-quorum' | 'last-replica'

const STALE_MS = 6_000
const ALONE_MS = 2_000
const TOGETHER_MS = 5_000
const ACKNOWLEDGED_MIN = 30

/** Known courses in which other logs lost what they had acknowledged; told again and again. Returns how often. */
export async function tell(name: StoryName, scene: Scene, durationMs: number): Promise<number> {
  const endMs = performance.now() + durationMs
  let times = 0
  do {
    await allInSync(scene)
    scene.unrest.begin()
    await (name === 'stale-quorum' ? staleQuorum(scene) : lastReplica(scene, times % 2 === 0))
    times++
    await healAll(scene)
    await allInSync(scene)
  } while (performance.now() < endMs)
  return times
}

/**
 * A minority is paused or cut off while writes go on; one of the others loses its power, and with it what it had not synced;
 * then it and the stale ones are a majority, by themselves, before the last one joins them again.
 */
async function staleQuorum(scene: Scene): Promise<void> {
  const { cluster, prng, note } = scene
  const [stale, crashed, last] = shuffled(cluster.nodeIds, prng) as [number, number, number]
  const isCut = prng.chance(0.5)
  note(
    `- node ${stale} is ${isCut ? 'cut off' : 'paused'}, ${crashed} loses its power, ${last} is away when they meet`,
  )
  if (isCut) await cluster.world.network.setLinks(cutBetween([stale], [crashed, last]))
  else cluster.nodes.node(stale).pause()
  await pause(STALE_MS)
  if (cluster.world.can.has('power')) await cluster.cutPower([crashed])
  else await cluster.nodes.node(crashed).kill()
  await cluster.nodes.node(last).kill()
  cluster.nodes.node(stale).resume()
  await cluster.world.network.setLinks(NO_FAULTS)
  await cluster.startAll([crashed])
  await pause(TOGETHER_MS)
  await cluster.startAll()
}

/**
 * KIP-966: the replicas of one partition go one by one while writes go on, until the leader is alone and the high watermark
 * stands still; the leader then loses its power, and the earlier ones come back before it, the last of them with an empty
 * disk now and then: it may not pass for one that holds what it acknowledged.
 */
async function lastReplica(scene: Scene, isWiped: boolean): Promise<void> {
  const { cluster, admin, workload, prng, note } = scene
  const [partition] = await described(admin, workload.topic)
  const [first, second, last] = shuffled(partition?.replicas ?? [], prng) as [number, number, number]
  note(
    `- nodes ${first} and ${second}${isWiped ? ' (which loses its disk)' : ''} go, ${last} stays as the last replica and loses its power`,
  )
  const isrWithout = (nodeId: number) =>
    until(async () => {
      const [now] = await described(admin, workload.topic)
      return now === undefined || now.isr.includes(nodeId) ? undefined : true
    })
  await cluster.nodes.node(first).kill()
  await isrWithout(first)
  await acknowledgedMore(scene)
  await cluster.nodes.node(second).kill()
  await isrWithout(second)
  await pause(ALONE_MS)
  if (cluster.world.can.has('power')) await cluster.cutPower([last])
  else await cluster.nodes.node(last).kill()
  if (isWiped) await emptyDirectory(cluster.place(second).dataDirectory)
  await cluster.startAll([first, second])
  await pause(TOGETHER_MS)
  await cluster.startAll()
}

async function acknowledgedMore({ workload }: Scene): Promise<void> {
  const count = () => workload.acknowledgedAtMs.reduce((sum, one) => sum + one.length, 0)
  const enough = count() + ACKNOWLEDGED_MIN
  await until(async () => (count() >= enough ? true : undefined), { timeoutMs: 60_000 })
}
