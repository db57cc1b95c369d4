import type { FaultName } from './nemesis/fault.ts'

/** What a round is made of: faults that are drawn together, and what the clients do meanwhile. */
export interface Mixture {
  readonly name: MixtureName
  readonly nodeCount: 3 | 5
  readonly faults: readonly FaultName[]
  /** In one period. */
  readonly togetherMax: number
  /** Clients that are killed, in a process of their own. */
  readonly hasCrashingClients?: boolean
  /** A topic that is deleted and made again under its name, all the time. */
  readonly hasRecreatedTopic?: boolean
  readonly preloads?: readonly ('faultyDisk' | 'clock')[]
  /** How long faults last: between these. Default 3 to 9 s. */
  readonly periodMs?: readonly [number, number]
  /** It ends in time, whatever has not struck by then. Else it goes on until each fault has. */
  readonly mayLeaveOut?: boolean
  /** Told as a story instead of drawn. */
  readonly story?: 'stale-quorum' | 'last-replica'
}

export type MixtureName =
  | 'leaders'
  | 'crashes'
  | 'pauses'
  | 'partitions'
  | 'partial'
  | 'slow-network'
  | 'power'
  | 'damage'
  | 'disks'
  | 'clocks'
  | 'moves'
  | 'everything'
  | 'stale-quorum'
  | 'last-replica'
  | 'short'

const LEADERS: readonly FaultName[] = ['kill-leader', 'kill-leader-controller', 'stop-leader']
const CRASHES: readonly FaultName[] = [
  'kill-controller',
  'kill-coordinator',
  'kill-minority',
  'kill-all',
  'restart-storm',
  'kill-leader',
]
const PAUSES: readonly FaultName[] = [
  'pause-leader',
  'pause-controller',
  'pause-coordinator',
  'pause-minority',
  'pause-all',
]
const PARTITIONS: readonly FaultName[] = ['isolate-one', 'cut-minority', 'mute-one', 'deafen-one']
const PARTIAL: readonly FaultName[] = ['bridge', 'ring', 'flapping']
const SLOW: readonly FaultName[] = ['slow-links', 'lossy-links', 'reset-connections']
const POWER: readonly FaultName[] = ['power-cut-one', 'power-cut-all']
const DAMAGE: readonly FaultName[] = ['flip-bytes', 'truncate-files', 'old-copy', 'wiped-disk']
const DISKS: readonly FaultName[] = ['sync-error', 'write-error', 'slow-sync', 'full-disk']
const CLOCKS: readonly FaultName[] = ['clock-step', 'clock-strobe']
const MOVES: readonly FaultName[] = ['reassign', 'drain', 'preferred-leaders', 'voters', 'remove-node']

/** The 14 of one round, in order. */
export const MIXTURES: readonly Mixture[] = [
  { name: 'leaders', nodeCount: 3, faults: LEADERS, togetherMax: 1, periodMs: [1_000, 3_000] },
  { name: 'crashes', nodeCount: 3, faults: CRASHES, togetherMax: 2, hasCrashingClients: true },
  { name: 'pauses', nodeCount: 3, faults: [...PAUSES, 'kill-leader'], togetherMax: 2 },
  { name: 'partitions', nodeCount: 3, faults: [...PARTITIONS, 'kill-leader'], togetherMax: 2 },
  { name: 'partial', nodeCount: 5, faults: [...PARTIAL, 'kill-leader'], togetherMax: 2 },
  { name: 'slow-network', nodeCount: 3, faults: [...SLOW, 'kill-leader'], togetherMax: 2 },
  { name: 'power', nodeCount: 3, faults: [...POWER, 'kill-minority', 'isolate-one'], togetherMax: 2 },
  { name: 'damage', nodeCount: 3, faults: DAMAGE, togetherMax: 1 },
  { name: 'disks', nodeCount: 3, faults: DISKS, togetherMax: 2, preloads: ['faultyDisk'] },
  {
    name: 'clocks',
    nodeCount: 3,
    faults: [...CLOCKS, 'kill-leader', 'isolate-one'],
    togetherMax: 2,
    preloads: ['clock'],
  },
  { name: 'moves', nodeCount: 5, faults: [...MOVES, 'kill-leader'], togetherMax: 2, hasRecreatedTopic: true },
  {
    name: 'everything',
    nodeCount: 5,
    faults: [...LEADERS, ...CRASHES, ...PAUSES, ...PARTITIONS, ...PARTIAL, ...SLOW, ...POWER, ...MOVES],
    togetherMax: 3,
    mayLeaveOut: true,
    hasCrashingClients: true,
    hasRecreatedTopic: true,
  },
  { name: 'stale-quorum', nodeCount: 3, faults: [], togetherMax: 1, story: 'stale-quorum' },
  { name: 'last-replica', nodeCount: 5, faults: [], togetherMax: 1, story: 'last-replica' },
]

export function mixtureNamed(name: string): Mixture {
  const mixture = MIXTURES.find(one => one.name === name)
  if (mixture === undefined)
    throw new Error(`there is no mixture "${name}": ${MIXTURES.map(one => one.name).join(', ')}`)
  return mixture
}
