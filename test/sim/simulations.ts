import type { ClusterSimulationResult } from './cluster-simulation.ts'

/** Whole nodes, and the pure cores by themselves: a core's own simulation reaches in a second what whole nodes meet once an hour. */
export type SimulationName = 'cluster' | 'members' | 'mixed' | 'replication' | 'metadata' | 'groups'

/** Whole nodes with consumer groups at work or not; mixed: as the seed draws it. */
const GROUPS_IN = { cluster: 'never', members: 'always', mixed: 'drawn' } as const

export interface SimulationTask {
  readonly seed: number
  readonly lengthShare: number
  readonly isTracing: boolean
  /** Name of the bug that is planted, where the simulation has to do with it itself. */
  readonly mutant: string | undefined
}

/** One seed of one simulation. Each is loaded when it is asked for: whole nodes take a while. */
export async function simulate(name: SimulationName, task: SimulationTask): Promise<ClusterSimulationResult> {
  if (name === 'cluster' || name === 'members' || name === 'mixed') {
    const { simulateCluster } = await import('./cluster-simulation.ts')
    return simulateCluster({ ...task, groups: GROUPS_IN[name], ...(await spoiledBy(task.mutant)) })
  }
  const run = await core(name, task)
  const { seed } = task
  let failure: Error | undefined
  let digest = ''
  try {
    digest = run()
  } catch (thrown) {
    failure = thrown instanceof Error ? thrown : new Error(String(thrown))
  }
  return { seed, digest, failure, counts: new Map(), trace: [], simulatedMs: 0, events: 0 }
}

async function core(name: SimulationName, { seed, mutant }: SimulationTask): Promise<() => string> {
  if (name === 'replication') {
    const { ReplicationSimulation } = await import('../replication/replication-simulation.ts')
    const options = { seed, ...(await optionsOf(mutant)) }
    return () => JSON.stringify(new ReplicationSimulation(options).run())
  }
  if (name === 'metadata') {
    const { PartitionSimulation } = await import('../metadata/partition-simulation.ts')
    return () => `${new PartitionSimulation({ seed }).run()}`
  }
  const { GroupSimulation } = await import('../groups/group-simulation.ts')
  return () => `${new GroupSimulation({ seed }).run()}`
}

async function spoiledBy(mutant: string | undefined) {
  if (mutant === undefined) return {}
  const { CLUSTER_MUTANTS } = await import('./mutants/cluster-mutants.ts')
  const { spoil, wrapDisk } = CLUSTER_MUTANTS.find(({ name }) => name === mutant) ?? {}
  return { ...(spoil && { spoil }), ...(wrapDisk && { wrapDisk }) }
}

async function optionsOf(mutant: string | undefined) {
  if (mutant === undefined) return {}
  const { MUTANTS } = await import('../replication/replication-mutants.ts')
  return MUTANTS.find(({ name }) => name === mutant)?.options ?? {}
}
