import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { SETTING_KEYS } from '../../src/server/settings-table.ts'
import { freePorts } from '../../test/harness/free-ports.ts'
import { cleanEnvironment, killedAtExit, NARU, runProgram } from './child-processes.ts'

const PROBE = fileURLToPath(new URL('probe.cjs', import.meta.url))
const READY_TIMEOUT_MS = 120_000
const READY_POLL_MS = 5

export interface NaruNodeOptions {
  readonly dataDirectory: string
  /** Counts syncs. */
  readonly withProbe?: boolean
  /** Writes a profile here when the node stops. */
  readonly profileDirectory?: string | undefined
  /** By setting key, as in naru.yaml. */
  readonly settings?: Readonly<Record<string, string>>
  /** Of an earlier life, so that its clients find this one. */
  readonly ports?: ReadonlyMap<string, number>
}

/** A node in a process of its own, as a user starts it, on ports that were free. */
export class NaruNode {
  /** From the start of the process to the first 200 of /readyz. */
  readonly readyMs: number
  /** By setting key. */
  readonly ports: ReadonlyMap<string, number>
  readonly #process: ChildProcess
  readonly #options: NaruNodeOptions

  private constructor(
    process: ChildProcess,
    options: NaruNodeOptions,
    facts: { readyMs: number; ports: ReadonlyMap<string, number> },
  ) {
    this.#process = process
    this.#options = options
    this.readyMs = facts.readyMs
    this.ports = facts.ports
  }

  static async start(options: NaruNodeOptions): Promise<NaruNode> {
    const { dataDirectory, profileDirectory, settings = {}, withProbe = false } = options
    await mkdir(dataDirectory, { recursive: true })
    const ports = options.ports ?? (await freePortSettings())
    const nodeArgs = [
      ...(profileDirectory === undefined ? [] : profileArgs(profileDirectory, 'node')),
      ...(withProbe ? ['--require', PROBE] : []),
    ]
    const given = Object.entries({ ...settings, 'data.dir': dataDirectory, ...Object.fromEntries(ports) })
    const flags = given.flatMap(([key, value]) => [`--${key.replaceAll('.', '-')}`, String(value)])
    const logFile = `${dataDirectory}.log`
    const log = openSync(logFile, 'a')
    const started = performance.now()
    const child = spawn(process.execPath, [...nodeArgs, NARU, 'server', ...flags], {
      env: cleanEnvironment(),
      stdio: ['ignore', log, log, ...(withProbe ? (['ipc'] as const) : [])],
    })
    closeSync(log)
    killedAtExit(child)
    await untilReady(child, { port: ports.get('http.port') ?? 0, logFile })
    const readyMs = performance.now() - started
    return new NaruNode(child, options, { readyMs, ports })
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  /** Another `naru` process that talks to this node; what it printed. */
  async run(args: readonly string[], nodeArgs: readonly string[] = []): Promise<string> {
    const bootstrap = `127.0.0.1:${this.ports.get('client.port')}`
    return runProgram(process.execPath, [...nodeArgs, NARU, ...args, '-b', bootstrap])
  }

  async runJson<Result>(args: readonly string[], nodeArgs: readonly string[] = []): Promise<Result> {
    return JSON.parse(await this.run([...args, '-o', 'json'], nodeArgs)) as Result
  }

  async createTopic(name: string, partitions: number, config: readonly string[] = []): Promise<void> {
    const settings = config.flatMap(one => ['--config', one])
    await this.run(['topics', 'create', name, '--partitions', String(partitions), ...settings])
  }

  /** Its bytes go at once: a node keeps them for an hour, and a benchmark would fill the disk. */
  async deleteTopic(name: string): Promise<void> {
    await this.run(['topics', 'delete', name])
    const topics = `${this.#options.dataDirectory}/topics`
    for (const entry of await readdir(topics))
      if (entry.endsWith('.deleted')) await rm(`${topics}/${entry}`, { recursive: true, force: true })
  }

  /** What the probe has counted since the start. */
  async counts(): Promise<{ syncs: number; syncMs: number }> {
    const answered = once(this.#process, 'message')
    this.#process.send('counts')
    const [counts] = await answered
    return counts
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return
    const ended = once(this.#process, 'exit')
    this.#process.kill(signal)
    await ended
  }
}

/** Arguments for `node` that make it leave a profile of its processor time. */
export function profileArgs(directory: string, name: string): string[] {
  return ['--cpu-prof', `--cpu-prof-dir=${directory}`, `--cpu-prof-name=${name}.cpuprofile`]
}

async function freePortSettings(): Promise<Map<string, number>> {
  const keys = SETTING_KEYS.filter(key => key.endsWith('.port'))
  const ports = await freePorts(keys.length)
  return new Map(keys.map((key, index) => [key, ports[index] as number]))
}

async function untilReady(child: ChildProcess, place: { port: number; logFile: string }): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS
  while (true) {
    const said = () => readFileSync(place.logFile, 'utf8').trim().split('\n').slice(-8).join('\n')
    if (child.exitCode !== null || child.signalCode !== null)
      throw new Error(`the node ended before it was ready:\n${said()}`)
    if (performance.now() > deadline)
      throw new Error(`the node was not ready in ${READY_TIMEOUT_MS} ms:\n${said()}`)
    const ready = await fetch(`http://127.0.0.1:${place.port}/readyz`).then(
      answer => answer.ok,
      () => false,
    )
    if (ready) return
    await new Promise(resolve => setTimeout(resolve, READY_POLL_MS))
  }
}
