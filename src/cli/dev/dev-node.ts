import { type ChildProcess, spawn } from 'node:child_process'
import { get } from 'node:http'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { CommandError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import type { DevNodePlan } from './dev-plan.ts'
import { Pause } from './pause.ts'

/** `failed`: ended without being told to. */
export type DevNodeState = 'starting' | 'running' | 'paused' | 'stopping' | 'stopped' | 'killed' | 'failed'

export interface DevNodeStatus {
  readonly nodeId: number
  readonly state: DevNodeState
  /** Undefined: there is no process. */
  readonly pid: number | undefined
  readonly clientPort: number
  readonly httpPort: number
  readonly peerPort: number
  readonly dataDirectory: string
  /** Of a node that starts: what it waits for. Of one that failed: how it ended. */
  readonly detail: string | undefined
}

export interface DevNodeOptions {
  readonly plan: DevNodePlan
  readonly host: string
  /** Program and arguments. */
  readonly command: readonly string[]
  /** A line of its log; returns it as people read it. */
  readonly onLine: (line: string) => string
  /** It ended without being told to. */
  readonly onFailed: (how: string, lastLines: readonly string[]) => void
}

const READY_POLL_MS = 40
const READY_TIMEOUT_MS = 60_000
const PROBE_TIMEOUT_MS = 1_000
/** Past the drain of a node, which its settings bound. */
const STOP_TIMEOUT_MS = 35_000
const LAST_LINES_MAX = 10

/**
 * One node of a dev cluster: a process of `naru server`, again and again over the same data. The process is in a session
 * of its own, so that Ctrl-C reaches it only through `stop`; a channel to this process tells it when this one has gone.
 * Life: stopped -> starting -> running -> (stopping -> stopped | killed | failed) -> starting ...; paused while it lives.
 */
export class DevNode {
  readonly #options: DevNodeOptions
  readonly #lastLines: string[] = []
  #process: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  #pause: Pause | undefined
  #isReady = false
  /** As what an end of the process counts: it is asked for before it comes. */
  #endsAs: 'stopped' | 'killed' | 'failed' = 'stopped'
  #detail: string | undefined

  constructor(options: DevNodeOptions) {
    this.#options = options
  }

  get nodeId(): number {
    return this.#options.plan.nodeId
  }

  get status(): DevNodeStatus {
    const { nodeId, clientPort, httpPort, peerPort, dataDirectory } = this.#options.plan
    const pid = this.#process?.pid
    return {
      nodeId,
      state: this.state,
      pid,
      clientPort,
      httpPort,
      peerPort,
      dataDirectory,
      detail: this.#detail,
    }
  }

  get state(): DevNodeState {
    if (!this.#process) return this.#endsAs
    if (this.#pause) return 'paused'
    if (this.#endsAs !== 'failed') return 'stopping'
    return this.#isReady ? 'running' : 'starting'
  }

  get isAlive(): boolean {
    return this.#process !== undefined
  }

  /** Resolves when the node takes calls. */
  async start(): Promise<void> {
    if (this.#process) throw new CommandError(`node ${this.nodeId} runs already`, EXIT_CODES.alreadyExists)
    const child = this.#spawn()
    await this.#untilReady(child)
  }

  /** SIGKILL: what a crash is to the others. Resolves when the process is gone. */
  async kill(): Promise<number> {
    const child = this.#living()
    this.#endsAs = 'killed'
    child.kill('SIGKILL')
    this.#endPause()
    await this.#ended
    return child.pid ?? 0
  }

  /** SIGSTOP: to the others it hangs. */
  async pause(): Promise<number> {
    const child = this.#living()
    if (this.#pause) throw new CommandError(`node ${this.nodeId} is paused already`, EXIT_CODES.alreadyExists)
    this.#pause = await Pause.begin(child)
    return child.pid ?? 0
  }

  resume(): number {
    const child = this.#living()
    if (!this.#pause) throw new CommandError(`node ${this.nodeId} is not paused`, EXIT_CODES.failed)
    this.#endPause()
    return child.pid ?? 0
  }

  /** SIGTERM: an orderly end. Resolves when the process is gone; one that takes too long is killed. */
  async stop(): Promise<void> {
    const child = this.#process
    if (!child) return
    this.#endsAs = 'stopped'
    this.#endPause()
    child.kill('SIGTERM')
    const isOver = new AbortController()
    const timeout = sleep(STOP_TIMEOUT_MS, 'late', { signal: isOver.signal }).catch(() => 'over')
    if ((await Promise.race([this.#ended, timeout])) === 'late') await this.kill()
    isOver.abort()
  }

  #living(): ChildProcess {
    if (this.#process) return this.#process
    const { nodeId, state } = this.status
    throw new CommandError(
      `node ${nodeId} does not run, it is ${state} (start it: naru dev restart ${nodeId})`,
      EXIT_CODES.notFound,
    )
  }

  #spawn(): ChildProcess {
    const [program = '', ...parameters] = this.#options.command
    const child = spawn(program, parameters, { stdio: ['ignore', 'pipe', 'pipe', 'ipc'], detached: true })
    this.#process = child
    this.#isReady = false
    this.#endsAs = 'failed'
    this.#detail = undefined
    this.#lastLines.length = 0
    for (const output of [child.stdout, child.stderr]) {
      if (output) createInterface({ input: output }).on('line', line => this.#onLine(line))
    }
    this.#ended = new Promise(resolve => {
      const onEnd = (how: string) => {
        if (this.#process !== child) return
        this.#onEnd(how)
        resolve()
      }
      child.once('error', error => onEnd(error.message))
      // `close` follows the last line of its log, `exit` need not.
      child.once('close', (code, signal) => onEnd(signal ? `by signal ${signal}` : `with exit code ${code}`))
    })
    return child
  }

  #onLine(line: string): void {
    this.#lastLines.push(this.#options.onLine(line))
    this.#lastLines.splice(0, Math.max(0, this.#lastLines.length - LAST_LINES_MAX))
  }

  #onEnd(how: string): void {
    this.#process = undefined
    this.#endPause()
    if (this.#endsAs === 'stopped' && how !== 'with exit code 0') this.#endsAs = 'failed'
    if (this.#endsAs !== 'failed') return
    this.#detail = `ended ${how}`
    this.#options.onFailed(how, this.#lastLines)
  }

  #endPause(): void {
    this.#pause?.end()
    this.#pause = undefined
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    const deadlineMs = performance.now() + READY_TIMEOUT_MS
    while (this.#process === child) {
      const because = await this.#unreadyBecause()
      if (this.#process !== child) break
      this.#detail = because
      if (because === undefined) {
        this.#isReady = true
        return
      }
      if (performance.now() > deadlineMs) throw this.#notReady(`is not ready yet: ${because}`)
      await sleep(READY_POLL_MS)
    }
    throw this.#notReady(`ended before it was ready (${this.#detail ?? this.state})`)
  }

  #notReady(what: string): CommandError {
    return new CommandError(`node ${this.nodeId} ${what}`, EXIT_CODES.tryAgain)
  }

  #unreadyBecause(): Promise<string | undefined> {
    const { host, plan } = this.#options
    return new Promise(resolve => {
      const request = get(
        { host, port: plan.httpPort, path: '/readyz', timeout: PROBE_TIMEOUT_MS, agent: false },
        async answer => {
          let text = ''
          for await (const chunk of answer.setEncoding('utf8')) text += chunk
          resolve(answer.statusCode === 200 ? undefined : text.trim())
        },
      )
      request.once('timeout', () => request.destroy(new Error('no answer')))
      request.once('error', () => resolve('the process starts'))
    })
  }
}
