import { CommandError } from '../errors.ts'
import { EXIT_CODES } from '../exit-codes.ts'
import { DevNode, type DevNodeStatus } from './dev-node.ts'
import { type DevPlan, serverFlags } from './dev-plan.ts'
import type { MergedLog } from './merged-log.ts'

export interface DevClusterOptions {
  readonly plan: DevPlan
  /** `naru`, as program and arguments. */
  readonly command: readonly string[]
  /** Settings that the user gave, for all nodes alike. */
  readonly flags: readonly string[]
  readonly log: MergedLog
}

/** The nodes of one `naru dev`. They are started, stopped and hurt from here, and from nowhere restarted silently. */
export class DevCluster {
  readonly #nodes: readonly DevNode[]
  readonly #log: MergedLog

  constructor({ plan, command, flags, log }: DevClusterOptions) {
    this.#log = log
    this.#nodes = plan.nodes.map(
      node =>
        new DevNode({
          plan: node,
          host: probedAt(plan.listenAddress),
          command: [...command, 'server', ...flags, ...serverFlags(plan, node)],
          onLine: line => log.nodeLine(node.nodeId, line),
          onFailed: (how, lastLines) => this.#onFailed(node.nodeId, how, lastLines),
        }),
    )
  }

  get status(): DevNodeStatus[] {
    return this.#nodes.map(node => node.status)
  }

  /** Resolves when all nodes take calls; rejects when one of them ends instead. */
  async start(): Promise<void> {
    await Promise.all(this.#nodes.map(node => node.start()))
  }

  /** Each method here resolves with what to tell whoever asked for it. */
  async kill(nodeId: number): Promise<string> {
    const pid = await this.#node(nodeId).kill()
    return this.#did(nodeId, `killed (SIGKILL, pid ${pid}); naru dev restart ${nodeId} starts it again`)
  }

  async pause(nodeId: number): Promise<string> {
    const pid = await this.#node(nodeId).pause()
    return this.#did(nodeId, `paused (SIGSTOP, pid ${pid}); naru dev resume ${nodeId} lets it go on`)
  }

  async resume(nodeId: number): Promise<string> {
    const pid = this.#node(nodeId).resume()
    return this.#did(nodeId, `resumed (SIGCONT, pid ${pid})`)
  }

  /** Starts it again; one that still runs is stopped in order first. */
  async restart(nodeId: number): Promise<string> {
    const node = this.#node(nodeId)
    await node.stop()
    const startedMs = performance.now()
    await node.start()
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1)
    return this.#did(nodeId, `serves again (pid ${node.status.pid}), ready after ${seconds} s`)
  }

  async stopNode(nodeId: number): Promise<string> {
    await this.#node(nodeId).stop()
    return this.#did(nodeId, `stopped in order; naru dev restart ${nodeId} starts it again`)
  }

  /** All at once: each takes what time it needs to finish calls and sync its files. Never rejects. */
  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map(node => node.stop()))
  }

  killAll(): void {
    for (const node of this.#nodes) if (node.isAlive) void node.kill()
  }

  #node(nodeId: number): DevNode {
    const node = this.#nodes.find(one => one.nodeId === nodeId)
    if (node) return node
    const known = this.#nodes.map(one => one.nodeId).join(', ')
    throw new CommandError(`this dev cluster has no node ${nodeId} (it has ${known})`, EXIT_CODES.notFound)
  }

  #did(nodeId: number, what: string): string {
    this.#log.nodeEvent(nodeId, what)
    return `node ${nodeId} ${what}`
  }

  #onFailed(nodeId: number, how: string, lastLines: readonly string[]): void {
    this.#log.nodeEvent(nodeId, `ENDED BY ITSELF ${how}; it said last:`)
    for (const line of lastLines) this.#log.nodeEvent(nodeId, `  ${line.replaceAll('\n', '\n  ')}`)
    this.#log.nodeEvent(nodeId, `start it again: naru dev restart ${nodeId}`)
  }
}

/** An address that stands for all of this machine's is reached at the loopback one. */
function probedAt(listenAddress: string): string {
  if (listenAddress === '0.0.0.0') return '127.0.0.1'
  return listenAddress === '::' || listenAddress === '[::]' ? '::1' : listenAddress
}
