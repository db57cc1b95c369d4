import {
  bridge,
  cutBetween,
  everywhere,
  type Links,
  mute,
  NO_FAULTS,
  ring,
  shuffled,
} from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import type { Fault, FaultName, Scene } from './fault.ts'
import { minority } from './process-faults.ts'

const FLAP_MS = 1_500

export const NETWORK_FAULTS: readonly Fault[] = [
  linked('isolate-one', ({ cluster, prng }) => {
    const [one, ...others] = shuffled(cluster.nodeIds, prng)
    return cutBetween([one as number], others)
  }),
  linked('cut-minority', scene => {
    const few = minority(scene)
    return cutBetween(few, rest(scene, few))
  }),
  linked('mute-one', scene => {
    const one = [scene.prng.pick(scene.cluster.nodeIds)]
    return mute(one, rest(scene, one))
  }),
  linked('deafen-one', scene => {
    const one = [scene.prng.pick(scene.cluster.nodeIds)]
    return mute(rest(scene, one), one)
  }),
  linked('bridge', ({ cluster, prng }) => bridge(shuffled(cluster.nodeIds, prng))),
  linked('ring', ({ cluster, prng }) => ring(shuffled(cluster.nodeIds, prng))),
  linked('slow-links', ({ cluster }) => everywhere(cluster.nodeIds, { delayMs: [20, 120] }), 'delay'),
  linked(
    'lossy-links',
    ({ cluster, prng }) => everywhere(cluster.nodeIds, { lossPercent: 2 + Math.floor(prng.fraction() * 20) }),
    'loss',
  ),
  {
    name: 'flapping',
    async strike(scene) {
      const { cluster } = scene
      const few = minority(scene)
      const cut = cutBetween(few, rest(scene, few))
      scene.note(`flapping: nodes ${few.join(', ')}`)
      let isOver = false
      const flap = async () => {
        for (let turn = 0; !isOver; turn++) {
          await cluster.world.network.setLinks(turn % 2 === 0 ? cut : NO_FAULTS)
          await pause(FLAP_MS)
        }
      }
      const flapping = flap()
      return async () => {
        isOver = true
        await flapping
        await cluster.world.network.setLinks(NO_FAULTS)
      }
    },
  },
  {
    name: 'reset-connections',
    needs: 'resets',
    async strike({ cluster, prng, note }) {
      let isOver = false
      const storm = async () => {
        while (!isOver) {
          const nodeId = prng.pick(cluster.nodeIds)
          note(`reset of the connections of node ${nodeId}`)
          await cluster.world.network.resetConnections(nodeId)
          await pause(FLAP_MS)
        }
      }
      const stormy = storm()
      return async () => {
        isOver = true
        await stormy
      }
    },
  },
]

function linked(name: FaultName, draw: (scene: Scene) => Links, needs?: 'delay' | 'loss'): Fault {
  return {
    name,
    ...(needs && { needs }),
    async strike(scene) {
      const { network } = scene.cluster.world
      const links = draw(scene)
      const cut = [...links].filter(([, { isCut }]) => isCut).map(([link]) => link)
      scene.note(`${name}: ${cut.length > 0 ? cut.join(' ') : 'all links'}`)
      await network.setLinks(links)
      return async () => {
        await network.setLinks(NO_FAULTS)
      }
    },
  }
}

function rest({ cluster }: Scene, few: readonly number[]): number[] {
  return cluster.nodeIds.filter(nodeId => !few.includes(nodeId))
}
