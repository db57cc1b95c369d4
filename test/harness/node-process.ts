import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePorts } from './free-ports.ts'

/** The program as `npm run build` made it. */
const PROGRAM = fileURLToPath(new URL('../../bin/naru.js', import.meta.url))
const START_TIMEOUT_MS = 30_000
const LOG_LINES_MAX = 200
const ENDING_LINES = 12

export interface NodeProcessOptions {
  /** Default: a temporary one, removed at the end. */
  readonly dataDirectory?: string
  /** Settings by name, beside those that a test needs. */
  readonly settings?: Readonly<Record<string, string | number | boolean>>
  /** Where the process runs, if not simply here. */
  readonly surroundings?: NodeSurroundings
}

export interface NodeSurroundings {
  /** What starts the program: command and arguments before it, as `nsenter --net=...`. */
  readonly launcher?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  /** Host of its address for clients. Default 127.0.0.1. */
  readonly host?: string
  /** Default 30 s. */
  readonly startTimeoutMs?: number
  /** Another build than this repository's: its `bin/naru.js`. */
  readonly program?: string
}

/** How a process ended; a code or a signal. */
export interface Ending {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** The end of its log. */
  readonly log: readonly string[]
}

/** A node as a process of its own on 127.0.0.1, with its data in a directory that outlives kills and restarts. */
export class NodeProcess implements AsyncDisposable {
  readonly dataDirectory: string
  readonly address: string
  /** All but the one that may run now, oldest first. */
  readonly endings: Ending[] = []
  readonly #isTemporary: boolean
  readonly #surroundings: NodeSurroundings
  readonly #arguments: string[]
  readonly #log: string[] = []
  #child: ChildProcess | undefined
  #exited: Promise<number | null> = Promise.resolve(null)

  private constructor(
    options: NodeProcessOptions,
    place: { dataDirectory: string; clientPort: number; httpPort: number },
  ) {
    this.dataDirectory = place.dataDirectory
    this.#surroundings = options.surroundings ?? {}
    this.address = `${this.#surroundings.host ?? '127.0.0.1'}:${options.settings?.['client.port'] ?? place.clientPort}`
    this.#isTemporary = options.dataDirectory === undefined
    const settings = {
      'data.dir': place.dataDirectory,
      'client.port': place.clientPort,
      'http.port': place.httpPort,
      'peer.port': 0,
      'disk.free.min': 0,
      ...options.settings,
    }
    this.#arguments = Object.entries(settings).flatMap(([key, value]) => [
      `--${key.replaceAll('.', '-')}`,
      String(value),
    ])
  }

  static async start(options: NodeProcessOptions = {}): Promise<NodeProcess> {
    const dataDirectory = options.dataDirectory ?? (await mkdtemp(join(tmpdir(), 'naru-node-')))
    const [clientPort, httpPort] = (await freePorts(2)) as [number, number]
    const node = new NodeProcess(options, { dataDirectory, clientPort, httpPort })
    try {
      await node.start()
    } catch (thrown) {
      await node[Symbol.asyncDispose]()
      throw thrown
    }
    return node
  }

  /** Also while it hangs. */
  get isRunning(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null
  }

  get pid(): number {
    const pid = this.#child?.pid
    if (pid === undefined) throw new Error('the node does not run')
    return pid
  }

  /** What the node has said on its standard error, newest last. */
  get log(): readonly string[] {
    return this.#log
  }

  /** Starts the process again on the same data and ports; resolves when it serves. */
  async start(): Promise<void> {
    const { launcher = [], environment = {}, program = PROGRAM } = this.#surroundings
    const [command = process.execPath, ...rest] = [...launcher, process.execPath, program, 'server']
    const child = spawn(command, [...rest, ...this.#arguments], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...environment },
    })
    this.#child = child
    this.#exited = new Promise(resolve =>
      child.once('exit', (code, signal) => {
        this.endings.push({ code, signal, log: this.#log.slice(-ENDING_LINES) })
        resolve(code)
      }),
    )
    await new Promise<void>((resolve, reject) => {
      const timeoutMs = this.#surroundings.startTimeoutMs ?? START_TIMEOUT_MS
      const timer = setTimeout(() => reject(this.#failure('did not serve in time')), timeoutMs)
      child.once('exit', code => reject(this.#failure(`ended with code ${code}`)))
      child.stderr?.setEncoding('utf8')
      child.stderr?.on('data', (text: string) => {
        this.#remember(text)
        if (!text.includes('"the node serves"')) return
        clearTimeout(timer)
        resolve()
      })
    })
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | null> {
    this.#child?.kill('SIGTERM')
    return this.#exited
  }

  /** SIGSTOP: it hangs, and its connections stay open. */
  pause(): void {
    this.#child?.kill('SIGSTOP')
  }

  /** SIGCONT. */
  resume(): void {
    this.#child?.kill('SIGCONT')
  }

  /** Resident memory in bytes. */
  async residentBytes(): Promise<number> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill()
    if (this.#isTemporary) await rm(this.dataDirectory, { recursive: true, force: true })
  }

  #remember(text: string): void {
    this.#log.push(...text.trimEnd().split('\n'))
    this.#log.splice(0, Math.max(0, this.#log.length - LOG_LINES_MAX))
  }

  #failure(what: string): Error {
    return new Error(`the node ${what}; its log ends with:\n${this.#log.slice(-20).join('\n')}`)
  }
}

/** Two ports that were free a moment ago. */
