import { type SeedAnswer, SeedPool, type SeedTask } from './seed-pool.ts'
import { SeedTable } from './seed-table.ts'

export interface SeedRun {
  /** The tree whose sources are run. */
  readonly root: string
  readonly from: number
  readonly seeds: number
  /** Of real time: no seed is begun after it. */
  readonly minutesMax?: number | undefined
  readonly processes: number
  readonly task: Omit<SeedTask, 'seed'>
  readonly onAnswer?: (answer: SeedAnswer, table: SeedTable) => void
}

export interface SeedSummary {
  readonly from: number
  readonly table: SeedTable
  readonly seconds: number
}

/** Runs seeds of one simulation on several processes, and adds up what they went through. */
export async function runSeeds(run: SeedRun): Promise<SeedSummary> {
  const { root, from, seeds: count, processes, task, minutesMax } = run
  const table = new SeedTable()
  const startedMs = performance.now()
  const endMs = minutesMax === undefined ? Number.POSITIVE_INFINITY : startedMs + minutesMax * 60_000
  const pool: SeedPool = new SeedPool(
    {
      root,
      processes,
      task,
      onAnswer: answer => {
        table.add(answer)
        run.onAnswer?.(answer, table)
        if (performance.now() > endMs) pool.stop()
      },
    },
    { from, count },
  )
  await pool.run()
  return { from, table, seconds: (performance.now() - startedMs) / 1000 }
}
