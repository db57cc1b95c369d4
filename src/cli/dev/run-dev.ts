import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Settings } from '../../server/settings.ts'
import { type CliContext, say } from '../context.ts'
import { CommandError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { DevCluster } from './dev-cluster.ts'
import { type DevAction, DevControlServer } from './dev-control.ts'
import { DevControlClient } from './dev-control-client.ts'
import type { DevDirectory } from './dev-directory.ts'
import { type DevPlan, devPlan } from './dev-plan.ts'
import { welcome } from './dev-welcome.ts'
import { MergedLog } from './merged-log.ts'
import { type BusyPort, busyPorts } from './port-check.ts'

export interface DevOptions {
  readonly directory: DevDirectory
  readonly wish: { nodeCount: number | undefined; portBase: number | undefined; isFresh: boolean }
  /** As each node would read them. */
  readonly settings: Settings
  /** Those that were given as flags, as flags again. */
  readonly flags: readonly string[]
}

/** Npm and the terminal both pass Ctrl-C on: what follows so soon is the same key, not a second one. */
const SAME_INTERRUPT_MS = 500
/** A start that takes longer wants an explanation. */
const SLOW_START_MS = 8_000
/** The nodes of a `naru dev` that was killed need this long to notice and end. */
const LEFTOVER_TIMEOUT_MS = 10_000
const LEFTOVER_POLL_MS = 100

/** Runs a dev cluster until it is told to stop, by a signal or from another terminal. */
export async function runDev(options: DevOptions, context: CliContext): Promise<void> {
  const { directory, wish, settings, flags } = options
  const startedMs = context.monotonicMs()
  const log = new MergedLog({
    stream: context.stderr,
    isColored: context.stderr.isTTY === true && !context.environment['NO_COLOR'],
  })
  await refuseSecond(directory)
  const shape = directory.open(wish)
  const listenAddress = settings['listen.address']
  const host = settings['advertised.address'] || listenAddress
  const plan = devPlan({ dataDirectory: directory.path, listenAddress, host, ...shape })
  await requireFreePorts(plan, log, directory.readControl() !== undefined)

  const cluster = new DevCluster({ plan, command: context.program, flags, log })
  const life = new DevLife(cluster, log)
  const control = await openControl(directory, life)
  life.watchInterrupts(context)
  try {
    await life.untilReady()
    say(context.stdout, welcome({ plan, context, readyMs: context.monotonicMs() - startedMs }))
    log.showAll()
    await life.over
  } finally {
    await cluster.stop()
    directory.removeControl()
    await control.close()
  }
}

/** From the first start to the end of the last node; told to end by signals and by other terminals alike. */
class DevLife {
  readonly over: Promise<void>
  readonly #cluster: DevCluster
  readonly #log: MergedLog
  #end: { resolve: () => void; reject: (error: Error) => void } = { resolve() {}, reject() {} }
  #stopping: Promise<void> | undefined

  constructor(cluster: DevCluster, log: MergedLog) {
    this.#cluster = cluster
    this.#log = log
    this.over = new Promise((resolve, reject) => {
      this.#end = { resolve, reject }
    })
    // Whoever started it listens only once all nodes are ready.
    this.over.catch(() => {})
  }

  /** Rejects when a node ends instead; resolves early when the cluster is told to stop. */
  async untilReady(): Promise<void> {
    const slow = setTimeout(() => this.#explainSlowStart(), SLOW_START_MS)
    try {
      await Promise.race([this.#cluster.start(), this.over])
    } finally {
      clearTimeout(slow)
    }
  }

  status() {
    return this.#cluster.status
  }

  async act(action: DevAction, nodeId: number | undefined): Promise<string> {
    if (action === 'stop') {
      if (nodeId !== undefined) return await this.#cluster.stopNode(nodeId)
      await this.#stop()
      return 'stopped the dev cluster; its data stay'
    }
    if (nodeId === undefined) throw new CommandError('name the node', EXIT_CODES.usage)
    return await this.#cluster[action](nodeId)
  }

  watchInterrupts(context: CliContext): void {
    let firstMs: number | undefined
    const onInterrupt = () => {
      const nowMs = context.monotonicMs()
      if (firstMs !== undefined && nowMs - firstMs > SAME_INTERRUPT_MS) {
        this.#cluster.killAll()
        this.#end.reject(new CommandError('killed all nodes', EXIT_CODES.interrupted))
        return
      }
      // The context tells of each signal once.
      context.onInterrupt(onInterrupt)
      if (firstMs !== undefined) return
      firstMs = nowMs
      this.#log.note('stopping all nodes in order; Ctrl-C again kills them')
      void this.#stop()
    }
    context.onInterrupt(onInterrupt)
  }

  #explainSlowStart(): void {
    this.#log.showWarnings()
    for (const { nodeId, state, detail } of this.#cluster.status) {
      if (state === 'starting') this.#log.nodeEvent(nodeId, `is not ready yet: ${detail ?? 'it starts'}`)
    }
  }

  #stop(): Promise<void> {
    this.#stopping ??= this.#cluster.stop().then(() => this.#end.resolve())
    return this.#stopping
  }
}

async function refuseSecond(directory: DevDirectory): Promise<void> {
  const other = await DevControlClient.find(directory)
  if (!other) return
  throw new CommandError(
    `a dev cluster runs in ${directory.path} already (pid ${other.pid}): use it, stop it (naru dev stop), or run another one with --data DIRECTORY --port-base PORT`,
    EXIT_CODES.alreadyExists,
  )
}

/** Before anything is started: a cluster that lacks one node because of a port would only confuse. */
async function requireFreePorts(plan: DevPlan, log: MergedLog, hasLeftovers: boolean): Promise<void> {
  const ports = plan.nodes.flatMap(node => [node.clientPort, node.httpPort, node.peerPort])
  let busy = await busyPorts(plan.listenAddress, ports)
  if (busy.length > 0 && hasLeftovers) {
    log.note('waiting for the nodes of a naru dev that was killed to end')
    for (let waitedMs = 0; busy.length > 0 && waitedMs < LEFTOVER_TIMEOUT_MS; waitedMs += LEFTOVER_POLL_MS) {
      await sleep(LEFTOVER_POLL_MS)
      busy = await busyPorts(plan.listenAddress, ports)
    }
  }
  if (busy.length === 0) return
  throw new CommandError(
    `${busy.map(busyText).join('; ')}: stop what uses ${busy.length === 1 ? 'it' : 'them'}, or take other ports with --port-base`,
    EXIT_CODES.tryAgain,
  )
}

function busyText({ port, owner }: BusyPort): string {
  return owner
    ? `port ${port} is in use by process ${owner.pid} (${owner.command})`
    : `port ${port} is in use by another process`
}

async function openControl(directory: DevDirectory, life: DevLife): Promise<DevControlServer> {
  const token = randomBytes(24).toString('base64url')
  const control = new DevControlServer({ token, controlled: life })
  const port = await control.listen()
  // Left behind by one that was killed: that none runs here was seen above.
  directory.removeControl()
  if (directory.claimControl({ pid: process.pid, port, token })) return control
  await control.close()
  throw new CommandError(`another naru dev has just started in ${directory.path}`, EXIT_CODES.alreadyExists)
}
