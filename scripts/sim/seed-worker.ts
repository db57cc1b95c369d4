import { simulateCluster } from '../../test/sim/cluster-simulation.ts'
import type { SeedAnswer, SeedTask } from './seed-pool.ts'

/** Runs one seed after the other for `SeedPool`, in a process of its own: what it is sent is a task, what it sends an answer. */
process.on('disconnect', () => process.exit())
process.on('message', (task: SeedTask) => void run(task))

async function run(task: SeedTask): Promise<void> {
  const { seed, lengthShare, isTracing, isTwice, mutant } = task
  const planted = mutant === undefined ? {} : await plantedBug(mutant)
  const options = { seed, lengthShare, isTracing, ...planted }
  const result = await simulateCluster(options)
  let failure = result.failure?.message
  if (isTwice && failure === undefined) {
    const again = await simulateCluster(options)
    if (again.digest !== result.digest)
      failure = `the seed ran differently the second time: something outside of it has a say\n${result.digest}\n${again.digest}`
  }
  const { counts, trace, simulatedMs, events } = result
  const answer: SeedAnswer = {
    seed,
    counts: [...counts],
    trace,
    simulatedMs,
    events,
    ...(failure !== undefined && { failure, stack: result.failure?.stack ?? '' }),
  }
  process.send?.(answer)
}

async function plantedBug(name: string) {
  const { clusterMutant } = await import('../../test/sim/mutants/cluster-mutants.ts')
  const { spoil, wrapDisk } = clusterMutant(name)
  return { ...(spoil && { spoil }), ...(wrapDisk && { wrapDisk }) }
}
