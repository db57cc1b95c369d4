import { described } from '../faults/leader-faults.ts'
import { shuffled } from '../machine/links.ts'
import { emptyDirectory } from './disk-faults.ts'
import { type Fault, type FaultName, NOTHING_TO_HEAL, type Scene } from './fault.ts'

/** Changes of the cluster that an operator makes, under load. That one is refused or runs into a fault is of no account. */
export const MOVE_FAULTS: readonly Fault[] = [
  moved('reassign', async ({ admin, workload, cluster, prng, note }) => {
    const [partition] = shuffled(await described(admin, workload.topic), prng)
    if (partition === undefined) return
    const replicas = shuffled(cluster.nodeIds, prng).slice(0, partition.replicas.length)
    note(`partition ${partition.partition} from ${partition.replicas.join()} to ${replicas.join()}`)
    await admin.reassignPartitions([{ topic: workload.topic, partition: partition.partition, replicas }])
  }),
  moved('preferred-leaders', async ({ admin }) => {
    await admin.electPreferredLeaders()
  }),
  {
    name: 'drain',
    async strike(scene) {
      const { admin, cluster, prng } = scene
      const nodeId = prng.pick(cluster.nodeIds)
      scene.note(`drain: node ${nodeId}`)
      await attempt(scene, () => admin.drainNode(nodeId))
      cluster.nodes.node(nodeId).resume()
      await cluster.nodes.node(nodeId).stop()
      return () => cluster.startAll()
    },
  },
  {
    name: 'voters',
    async strike(scene) {
      const { admin, prng } = scene
      const { members } = await admin.describeQuorum()
      const voters = members.filter(one => one.isVoter)
      const voter = prng.pick(voters)
      scene.note(`voters: node ${voter.nodeId} loses its vote`)
      await attempt(scene, () => admin.removeVoter(voter.nodeId))
      return async () => {
        await attempt(scene, () => admin.addVoter(voter.nodeId))
      }
    },
  },
  {
    name: 'remove-node',
    isAlone: true,
    async strike(scene) {
      const { admin, cluster, prng } = scene
      const nodeId = prng.pick(cluster.nodeIds)
      scene.note(`remove-node: node ${nodeId} goes, and comes back`)
      await attempt(scene, () => admin.rebalance({ evacuateNodeIds: [nodeId], concurrentMovesMax: 100 }))
      await attempt(scene, () => admin.removeVoter(nodeId))
      await cluster.nodes.node(nodeId).stop()
      const isRemoved = await attempt(scene, () => admin.removeNode(nodeId))
      return async () => {
        // What was removed joins anew, with an empty directory.
        if (isRemoved) await emptyDirectory(cluster.place(nodeId).dataDirectory)
        await cluster.startAll()
        await attempt(scene, () => admin.addVoter(nodeId))
      }
    },
  },
]

function moved(name: FaultName, move: (scene: Scene) => Promise<void>): Fault {
  return {
    name,
    async strike(scene) {
      scene.note(name)
      await attempt(scene, () => move(scene))
      return NOTHING_TO_HEAL
    },
  }
}

/** Returns whether it worked. */
async function attempt({ note }: Scene, change: () => Promise<unknown>): Promise<boolean> {
  try {
    await change()
    return true
  } catch (thrown) {
    note(`    ${(thrown as Error).message}`)
    return false
  }
}
