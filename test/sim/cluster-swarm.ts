import type { BrokerOptions } from '../../src/server/broker-options.ts'
import type { SeededPrng } from '../harness/seeded-prng.ts'

export const HARMS = [
  'kill',
  'power cut',
  'power cut in a disk change',
  'power cut of all',
  'pause',
  'orderly stop',
  'partition',
  'isolated node',
  'one-way cut',
  'bridge partition',
  'reset connections',
  'slow link',
  'slow disk',
  'hanging disk',
  'failing sync',
  'full disk',
  'wiped disk',
  'clock step',
  'node joins',
  'voter added',
  'voter removed',
  'leader removed',
  'node drained',
  'client crash',
  'bit rot',
  'lost directory',
  'reassignment',
  'preferred leaders',
  'setting changed',
] as const

export type Harm = (typeof HARMS)[number]

/** What one seed gets: each draws its own mixture, so that some runs are calm and others hardly have a leader. */
export interface Swarm {
  readonly nodes: number
  readonly joinersMax: number
  readonly clients: number
  readonly durationMs: number
  /** Between two harms, on average. */
  readonly harmEveryMs: number
  readonly weights: ReadonlyMap<Harm, number>
  /** Chance, at each harm, that everything is healed instead. */
  readonly healChance: number
  /** Chance that a harm goes for the node that leads the quorum. */
  readonly leaderShare: number
  readonly rebootMsMax: number
  readonly delayMs: { readonly min: number; readonly max: number }
  readonly syncMs: { readonly min: number; readonly max: number }
  /** Until a dial, or a connection without an answer, is given up. */
  readonly silenceMs: number
  readonly clockDriftPpmMax: number
  readonly clockOffsetMsMax: number
  readonly thinkMsMax: number
  readonly raftLimits: NonNullable<BrokerOptions['raftLimits']>
  /** Of the topics that clients make and delete. */
  readonly replicationFactor: number
  readonly logs: readonly SwarmLog[]
  /** Clients that write to the logs and read them. */
  readonly logClients: number
  readonly groups: SwarmGroups | undefined
  readonly deliveryMs: number
  readonly diskFreeMin: number
  readonly checkpointMs: number
}

/** Programs that share the logs out among them. */
export interface SwarmGroups {
  /** Each gets everything. */
  readonly names: readonly string[]
  /** Programs per group. */
  readonly members: number
  readonly isPattern: boolean
  readonly start: 'earliest' | 'latest'
  readonly assignor: 'uniform' | 'range'
  readonly sessionTimeoutMs: number | undefined
  readonly commitIntervalMs: number
  /** At a time; then a member goes, and comes back. */
  readonly stayMsMax: number
  readonly workChance: number
  readonly workMsMax: number
  /** Of a program that has just been given a record. */
  readonly standStillChance: number
}

/** A topic that stays from the beginning to the end of a run, and whose whole history is held to what was promised. */
export interface SwarmLog {
  readonly name: string
  readonly partitions: number
  readonly replicationFactor: number
  readonly settings: Readonly<Record<string, string>>
}

/** A harm that is not drawn at all is as telling as one that comes often. */
const ABSENT = 0.45

/** Whether programs share the logs out among them; they take half of the time of a seed. */
export type WithGroups = 'never' | 'drawn' | 'always'

const WITH_GROUPS = 0.25

export function drawSwarm(prng: SeededPrng, when: WithGroups = 'never'): Swarm {
  const swarm = drawCluster(prng)
  const groups = prng.fork('groups')
  const isWith = when === 'always' || (when === 'drawn' && groups.chance(WITH_GROUPS))
  return isWith ? withGroups(groups, swarm) : swarm
}

function withGroups(prng: SeededPrng, swarm: Swarm): Swarm {
  const log = {
    name: 'log-0',
    partitions: 3,
    replicationFactor: Math.min(swarm.nodes, 3),
    settings: LOG_SETTINGS,
  }
  return {
    ...swarm,
    durationMs: prng.pick([6_000, 10_000, 16_000]),
    logs: swarm.logs.length > 0 ? swarm.logs : [log],
    logClients: Math.max(swarm.logClients, 1),
    groups: {
      names: prng.pick([['g'], ['g'], ['g', 'h']]),
      members: prng.pick([1, 2, 3, 3]),
      isPattern: prng.chance(0.3),
      start: prng.pick(['earliest', 'earliest', 'latest']),
      assignor: prng.pick(['uniform', 'uniform', 'range']),
      sessionTimeoutMs: prng.pick([undefined, 1_000, 2_000, 5_000]),
      commitIntervalMs: prng.pick([20, 100, 1_000]),
      stayMsMax: prng.pick([1_000, 4_000, 12_000]),
      workChance: prng.pick([0.1, 0.5, 1]),
      workMsMax: prng.pick([5, 50, 400]),
      standStillChance: prng.fork('standstills').pick([0, 0, 0.05]),
    },
  }
}

function drawCluster(prng: SeededPrng): Swarm {
  const weights = new Map<Harm, number>()
  for (const harm of HARMS)
    weights.set(harm, prng.chance(ABSENT) ? 0 : (RARE.get(harm) ?? 1) * prng.fraction())
  const nodes = prng.pick([1, 3, 3, 3, 3, 3, 5, 5])
  return {
    nodes,
    joinersMax: prng.pick([0, 1, 1, 2]),
    clients: prng.pick([1, 1, 2]),
    durationMs: prng.pick([2_000, 4_000, 8_000]),
    harmEveryMs: prng.pick([100, 300, 300, 800]),
    weights,
    healChance: prng.pick([0.1, 0.2, 0.4]),
    leaderShare: prng.pick([0, 0.3, 0.7]),
    rebootMsMax: prng.pick([20, 500, 4_000]),
    delayMs: prng.pick([
      { min: 0.1, max: 2 },
      { min: 1, max: 20 },
      { min: 0.5, max: 60 },
    ]),
    syncMs: prng.pick([
      { min: 0.2, max: 2 },
      { min: 1, max: 15 },
      { min: 0.5, max: 60 },
    ]),
    silenceMs: prng.pick([300, 1_000, 1_000, 5_000]),
    clockDriftPpmMax: prng.pick([0, 100, 10_000]),
    clockOffsetMsMax: prng.pick([0, 1_000, 86_400_000]),
    thinkMsMax: prng.pick([50, 200, 600]),
    raftLimits: {
      snapshotAfterEntries: prng.pick([5, 10, 30, 50_000]),
      keptEntries: prng.pick([0, 0, 4]),
    },
    replicationFactor: Math.min(nodes, prng.pick([1, 1, 2, 3])),
    ...drawLogs(prng, nodes),
    groups: undefined,
    deliveryMs: prng.pick([3_000, 10_000, 30_000]),
    diskFreeMin: prng.pick([0, 8_192]),
    checkpointMs: prng.pick([300, 1_000, 60_000]),
  }
}

function drawLogs(prng: SeededPrng, nodes: number): { logs: SwarmLog[]; logClients: number } {
  const logs = Array.from({ length: prng.pick([0, 1, 1, 1, 2]) }, (_, at) => {
    const replicationFactor = Math.min(nodes, prng.pick([1, 2, 3, 3, 3, 3]))
    const settings: Record<string, string> = {
      'segment.ms': prng.pick(['1000', '600000']),
      ...LOG_SETTINGS,
    }
    if (replicationFactor > 1 && prng.chance(0.4)) settings['min.insync.replicas'] = prng.pick(['1', '2'])
    if (prng.chance(0.15)) settings['write.caching'] = 'true'
    return { name: `log-${at}`, partitions: prng.pick([1, 1, 2, 3]), replicationFactor, settings }
  })
  return { logs, logClients: logs.length === 0 ? 0 : prng.pick([1, 1, 2]) }
}

const DAY_MS = 86_400_000
/** Clocks are days apart. */
const LOG_SETTINGS = { 'message.timestamp.after.max.ms': String(1_000 * DAY_MS) }

const RARE: ReadonlyMap<Harm, number> = new Map([
  ['power cut of all', 0.3],
  ['power cut in a disk change', 1.5],
  ['bit rot', 2],
  ['lost directory', 2],
  ['reset connections', 3],
])

/** For a trace. */
export function swarmText({ weights, ...rest }: Swarm): string {
  const drawn = [...weights]
    .filter(([, weight]) => weight > 0)
    .map(([harm, weight]) => `${harm} ${weight.toFixed(2)}`)
  return `${JSON.stringify(rest)} ${drawn.join(', ')}`
}
