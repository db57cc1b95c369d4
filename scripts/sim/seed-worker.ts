import { simulate } from '../../test/sim/simulations.ts'
import type { SeedAnswer, SeedTask } from './seed-pool.ts'

/** Runs one seed after the other for `SeedPool`, in a process of its own: what it is sent is a task, what it sends an answer. */
process.on('disconnect', () => process.exit())
process.on('message', (task: SeedTask) => void run(task))

async function run(task: SeedTask): Promise<void> {
  const { seed, simulation, isTwice } = task
  const result = await simulate(simulation, task)
  let failure = result.failure?.message
  if (isTwice && failure === undefined) {
    const again = await simulate(simulation, task)
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
