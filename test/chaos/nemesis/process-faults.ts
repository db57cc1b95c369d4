import { until } from '../../harness/node-cluster.ts'
import { described } from '../faults/leader-faults.ts'
import { below, shuffled } from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import { type Fault, type FaultName, type Heal, NOTHING_TO_HEAL, type Scene } from './fault.ts'

/** Ids of the nodes to strike. */
type Choice = (scene: Scene) => Promise<number[]> | number[]

const STORM_PAUSE_MS = 700
const STORM_KILLS = 6

export const PROCESS_FAULTS: readonly Fault[] = [
  killed('kill-leader', leaderOfSomePartition),
  killed('kill-controller', controller),
  killed('kill-leader-controller', async scene => [
    ...new Set([...(await leaderOfSomePartition(scene)), ...(await controller(scene))]),
  ]),
  killed('kill-coordinator', coordinator),
  killed('kill-minority', minority),
  killed('kill-all', ({ cluster }) => cluster.nodeIds),
  hung('pause-leader', leaderOfSomePartition),
  hung('pause-controller', controller),
  hung('pause-coordinator', coordinator),
  hung('pause-minority', minority),
  hung('pause-all', ({ cluster }) => cluster.nodeIds),
  {
    name: 'stop-leader',
    async strike(scene) {
      for (const nodeId of await leaderOfSomePartition(scene)) {
        const node = scene.cluster.nodes.node(nodeId)
        node.resume()
        await node.stop()
      }
      return () => scene.cluster.startAll()
    },
  },
  {
    name: 'restart-storm',
    async strike(scene) {
      const { cluster, prng } = scene
      let isOver = false
      const storm = async () => {
        for (let kills = 0; kills < STORM_KILLS && !isOver; kills++) {
          const node = cluster.nodes.node(prng.pick(cluster.nodeIds))
          await node.kill()
          // It may be killed again before it serves.
          node.start().catch(() => {})
          await pause(STORM_PAUSE_MS)
        }
      }
      const stormy = storm()
      return async () => {
        isOver = true
        await stormy
        await cluster.startAll()
      }
    },
  },
  {
    name: 'power-cut-one',
    needs: 'power',
    strike: scene => powerCut(scene, [scene.prng.pick(scene.cluster.nodeIds)]),
  },
  { name: 'power-cut-all', needs: 'power', strike: scene => powerCut(scene, scene.cluster.nodeIds) },
]

/** Fewer than half of the nodes; at least one. */
export function minority({ cluster, prng }: Scene): number[] {
  const count = 1 + below(Math.ceil(cluster.nodeIds.length / 2) - 1, prng)
  return shuffled(cluster.nodeIds, prng).slice(0, count)
}

export async function leaderOfSomePartition({ admin, workload, prng }: Scene): Promise<number[]> {
  return await until(async () => {
    const partitions = await described(admin, workload.topic)
    const leaders = partitions.flatMap(one => one.leader ?? [])
    return leaders.length > 0 ? [prng.pick(leaders)] : undefined
  })
}

async function controller({ cluster, admin }: Scene): Promise<number[]> {
  return [await cluster.nodes.controllerId(admin)]
}

/** Of the consumer group. */
async function coordinator({ group }: Scene): Promise<number[]> {
  return [await group.coordinator()]
}

function killed(name: FaultName, choose: Choice): Fault {
  return {
    name,
    async strike(scene) {
      const { cluster } = scene
      const chosen = await choose(scene)
      scene.note(`${name}: nodes ${chosen.join(', ')}`)
      await Promise.all(chosen.map(nodeId => cluster.nodes.node(nodeId).kill()))
      return () => cluster.startAll()
    },
  }
}

function hung(name: FaultName, choose: Choice): Fault {
  return {
    name,
    async strike(scene) {
      const { cluster } = scene
      const chosen = await choose(scene)
      scene.note(`${name}: nodes ${chosen.join(', ')}`)
      for (const nodeId of chosen) {
        cluster.nodes.node(nodeId).pause()
      }
      return async () => {
        for (const nodeId of chosen) cluster.nodes.node(nodeId).resume()
      }
    },
  }
}

async function powerCut(scene: Scene, nodeIds: readonly number[]): Promise<Heal> {
  const { cluster } = scene
  const running = nodeIds.filter(nodeId => cluster.nodes.node(nodeId).isRunning)
  scene.note(`power cut of nodes ${running.join(', ')}`)
  if (running.length === 0) return NOTHING_TO_HEAL
  await cluster.cutPower(running)
  return () => cluster.startAll()
}
