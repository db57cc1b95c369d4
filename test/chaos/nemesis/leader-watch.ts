import type { Admin } from '../../../src/client/index.ts'
import { described } from '../faults/leader-faults.ts'
import type { HistoryRecorder } from '../workload/history-recorder.ts'
import { pause } from '../workload/numbered-producers.ts'

export interface LeaderWatchOptions {
  readonly admin: Admin
  readonly topic: string
  readonly history: HistoryRecorder
}

const LOOK_MS = 250
/** A node may be asked that hears of a change later than the new leader, and the old one. */
const LATE_MS_MAX = 1_000

/**
 * Leaders change without a fault of ours, too: one that was away gets back what it is preferred for, one that was given no
 * processor for seconds is deposed. From the last look before such a change until everything is in sync, the
 * history calls it unrest, as after a fault.
 */
export class LeaderWatch implements AsyncDisposable {
  readonly #options: LeaderWatchOptions
  readonly #running: Promise<void>
  #isStopped = false

  constructor(options: LeaderWatchOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  async #run(): Promise<void> {
    const { admin, topic, history } = this.#options
    let known: string | undefined
    let lookedMs = history.now()
    let end: (() => void) | undefined
    while (!this.#isStopped) {
      const nowMs = history.now()
      const partitions = await described(admin, topic).catch(() => [])
      if (partitions.length > 0) {
        const epochs = partitions.map(({ leaderEpoch }) => leaderEpoch).join()
        if (known !== undefined && epochs !== known) end ??= this.#begin(lookedMs)
        else if (partitions.every(({ isr, replicas }) => isr.length === replicas.length)) {
          end?.()
          end = undefined
        }
        known = epochs
        lookedMs = nowMs
      }
      await pause(LOOK_MS)
    }
    end?.()
  }

  #begin(lookedMs: number): () => void {
    const { history } = this.#options
    const end = history.begin(
      { op: 'unrest', process: 'leader-watch', partition: '' },
      lookedMs - LATE_MS_MAX,
    )
    return () => end({ type: 'ok' })
  }
}
