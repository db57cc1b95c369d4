import { type ChildProcess, fork } from 'node:child_process'
import type { SimulationName } from '../../test/sim/simulations.ts'
import { killedAtExit } from '../bench/child-processes.ts'
import { compileTree } from './compiled-tree.ts'

export interface SeedTask {
  readonly simulation: SimulationName
  readonly seed: number
  readonly lengthShare: number
  readonly isTracing: boolean
  /** Runs it once more and compares. */
  readonly isTwice: boolean
  /** Name of the bug that is planted. */
  readonly mutant: string | undefined
}

export interface SeedAnswer {
  readonly seed: number
  readonly failure?: string
  readonly stack?: string
  readonly counts: readonly (readonly [what: string, count: number])[]
  readonly trace: readonly string[]
  readonly simulatedMs: number
  readonly events: number
}

export interface SeedPoolOptions {
  /** The tree whose sources are run. */
  readonly root: string
  readonly processes: number
  readonly task: Omit<SeedTask, 'seed'>
  readonly onAnswer: (answer: SeedAnswer) => void
}

/** Real time for one seed, without what this process was stopped for; one that takes longer hangs. */
const SEED_SECONDS_MAX = 300

/**
 * Runs seeds on several processes: a seed is a function of itself, so it does not matter which one gets it. A process
 * that dies or hangs fails the seed it had, and is replaced.
 */
export class SeedPool {
  readonly #options: SeedPoolOptions
  #next: number
  #end: number

  constructor(options: SeedPoolOptions, seeds: { readonly from: number; readonly count: number }) {
    this.#options = options
    this.#next = seeds.from
    this.#end = seeds.from + seeds.count
  }

  /** Seeds that are not begun yet are not run any more. */
  stop(): void {
    this.#end = this.#next
  }

  async run(): Promise<void> {
    const count = Math.min(this.#options.processes, this.#end - this.#next)
    const { worker, remove } = await compileTree(this.#options.root)
    try {
      await Promise.all(Array.from({ length: count }, () => this.#work(worker)))
    } finally {
      remove()
    }
  }

  async #work(program: string): Promise<void> {
    let worker = this.#fork(program)
    try {
      while (this.#next < this.#end) {
        const seed = this.#next++
        const answer = await this.#ask(worker, seed)
        if (!worker.connected) worker = this.#fork(program)
        this.#options.onAnswer(answer)
      }
    } finally {
      worker.kill()
    }
  }

  #fork(program: string): ChildProcess {
    const worker = fork(program, {
      cwd: this.#options.root,
      execArgv: ['--enable-source-maps'],
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    // In the middle of a seed it hears nothing.
    killedAtExit(worker)
    return worker
  }

  #ask(worker: ChildProcess, seed: number): Promise<SeedAnswer> {
    return new Promise(resolve => {
      const dead = (failure: string) => {
        resolve({ seed, failure, counts: [], trace: [], simulatedMs: 0, events: 0 })
      }
      const onExit = (code: number | null, signal: string | null) => {
        clearInterval(timer)
        dead(`its process ended (${signal ?? `exit code ${code}`})`)
      }
      let seconds = 0
      const timer = setInterval(() => {
        if (++seconds < SEED_SECONDS_MAX) return
        clearInterval(timer)
        worker.kill('SIGKILL')
        dead(`it did not end within ${SEED_SECONDS_MAX} s of real time`)
      }, 1_000)
      worker.once('exit', onExit)
      worker.once('message', (answer: SeedAnswer) => {
        clearInterval(timer)
        worker.off('exit', onExit)
        resolve(answer)
      })
      worker.send({ ...this.#options.task, seed })
    })
  }
}
