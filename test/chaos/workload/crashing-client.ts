import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseHistory } from '../checker/history.ts'
import type { HistoryRecorder } from './history-recorder.ts'
import { machineMs } from './machine-clock.ts'

const PROGRAM = fileURLToPath(new URL('client-process.ts', import.meta.url))
/** More than any client does in its life. */
const IDS_PER_CLIENT = 1e9
/** Between its first acknowledgement and its end; another one follows at once. */
const LIFE_MS: readonly [number, number] = [2_000, 8_000]

/** What a client process is told; its standard input ends with its parent. */
export interface ClientTask {
  readonly addresses: readonly string[]
  readonly topic: string
  readonly partitions: number
  readonly prefix: string
  readonly firstId: number
  /** Of the machine's monotonic clock at 0 of the parent's. */
  readonly originMs: number
  readonly file: string
}

export interface CrashingClientOptions {
  readonly history: HistoryRecorder
  readonly addresses: readonly string[]
  readonly topic: string
  readonly partitions: number
  readonly directory: string
  readonly fraction: () => number
}

/** Writers and a reader in a process of their own that is killed, again and again; what it had begun is recorded first. */
export class CrashingClient {
  crashes = 0
  readonly #options: CrashingClientOptions
  readonly #running: Promise<void>
  #child: ChildProcess | undefined
  #wake: () => void = () => {}
  #isStopped = false

  constructor(options: CrashingClientOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#wake()
    this.#child?.kill('SIGKILL')
    await this.#running
  }

  async #run(): Promise<void> {
    const { history, addresses, topic, partitions, directory, fraction } = this.#options
    for (let life = 1; !this.#isStopped; life++) {
      const prefix = `crashing-${life}-`
      const file = join(directory, `${prefix}history.jsonl`)
      const task: ClientTask = {
        addresses,
        topic,
        partitions,
        prefix,
        firstId: life * IDS_PER_CLIENT,
        originMs: machineMs() - performance.now(),
        file,
      }
      const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, JSON.stringify(task)], {
        stdio: ['pipe', 'pipe', 'inherit'],
      })
      this.#child = child
      const ended = once(child, 'exit')
      await Promise.race([once(child.stdout, 'data'), ended])
      await this.#lived(LIFE_MS[0] + fraction() * (LIFE_MS[1] - LIFE_MS[0]))
      child.kill('SIGKILL')
      await ended
      this.crashes++
      history.add(parseHistory(await readFile(file, 'utf8').catch(() => '')))
    }
  }

  #lived(ms: number): Promise<void> {
    if (this.#isStopped) return Promise.resolve()
    return new Promise(resolve => {
      const timer = setTimeout(resolve, ms)
      this.#wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}
