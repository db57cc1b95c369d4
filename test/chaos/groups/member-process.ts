import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Outcome } from '../checker/history.ts'
import type { HistoryRecorder } from '../workload/history-recorder.ts'
import { machineMs } from '../workload/machine-clock.ts'

const PROGRAM = fileURLToPath(new URL('member.mjs', import.meta.url))

/** What a member's process is told; its standard input ends with its parent. */
export interface MemberTask {
  readonly addresses: readonly string[]
  readonly group: string
  readonly topic: string
  readonly member: string
  readonly sessionTimeoutMs?: number
  /** Else single records. */
  readonly takesBatches?: boolean
  /** Else what the loop has come back from is committed for it. */
  readonly commitsByHand?: boolean
  /** It says that it is ready, and joins when it is let (`release`). */
  readonly isHeld?: boolean
}

/** What a member said, by `performance.now()` of this process. */
export interface MemberEvent {
  readonly member: string
  readonly what:
    | 'ready'
    | 'assigned'
    | 'revoked'
    | 'lost'
    | 'records'
    | 'commits'
    | 'committed'
    | 'not-committed'
    | 'failed'
    | 'left'
  readonly partition: number
  readonly atMs: number
  readonly offsets?: readonly number[]
  readonly values?: readonly string[]
  readonly position?: number
  /** Counts the commits of the process. */
  readonly commit?: number
  readonly outcome?: 'none' | 'unknown'
  readonly error?: string
}

/** One member of a group, in a process that can be killed or made to hang. */
export class MemberProcess {
  readonly name: string
  readonly #child: ChildProcess
  /** With all that it said. */
  readonly #ended: Promise<unknown>

  constructor(task: MemberTask, onEvent: (event: MemberEvent) => void) {
    this.name = task.member
    this.#child = spawn(process.execPath, [PROGRAM, JSON.stringify(task)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    const originMs = machineMs() - performance.now()
    const lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })
    lines.on('line', line => {
      const said = JSON.parse(line) as MemberEvent
      onEvent({ ...said, member: this.name, atMs: said.atMs - originMs })
    })
    this.#ended = Promise.all([once(this.#child, 'close'), once(lines, 'close')])
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  pause(): void {
    this.#child.kill('SIGSTOP')
  }

  resume(): void {
    this.#child.kill('SIGCONT')
  }

  /** It may join. */
  release(): void {
    this.#child.stdin?.write('\n')
  }

  /** It commits and leaves. */
  async close(): Promise<void> {
    this.#child.kill('SIGTERM')
    await this.#ended
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#ended
  }

  /** Whatever its state. */
  async end(): Promise<void> {
    if (this.isRunning) this.resume()
    await this.close()
  }
}

/** Returns what writes the events of members of a group into a history, as `checker/group-checks.ts` wants them. */
export function membersRecorder(
  history: HistoryRecorder,
  { group, topic }: { readonly group: string; readonly topic: string },
): (event: MemberEvent) => void {
  const commits = new Map<string, (end: { type: Outcome; error?: string }, atMs: number) => void>()
  return ({ what, member, partition, atMs, position, commit, ...event }) => {
    const place = { process: member, partition: `${topic}-${partition}`, group }
    const key = `${member} ${commit}`
    if (what === 'assigned')
      history.begin(
        { op: 'assign', ...place, ...(position !== undefined && { startOffset: position }) },
        atMs,
      )({ type: 'ok' }, atMs)
    else if (what === 'records') {
      const { values = [], offsets = [] } = event
      history.begin({ op: 'poll', ...place }, atMs)({ type: 'ok', values, offsets }, atMs)
    } else if (what === 'commits' && position !== undefined)
      commits.set(key, history.begin({ op: 'commit', ...place, position }, atMs))
    else if (what === 'committed') commits.get(key)?.({ type: 'ok' }, atMs)
    else if (what === 'not-committed') {
      const { outcome, error = '' } = event
      commits.get(key)?.({ type: outcome === 'none' ? 'fail' : 'info', error }, atMs)
    }
  }
}
