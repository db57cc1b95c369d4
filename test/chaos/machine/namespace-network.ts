import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { DELAY_QUEUE, firewallRules, type Links, type NodePlace } from './links.ts'
import { type MachineTools, ownName, run, runWith } from './machine-tools.ts'
import type { Capability, NetworkPlace, NodeNetwork } from './world.ts'

/** From the block of addresses that is set aside for measurements of networks: they are nobody's. */
const NETWORK = `198.18.${process.pid % 256}`
const BRIDGE = ownName('b')
const DELAY_MS: readonly [number, number] = [20, 120]

/** A network namespace for each node on one bridge of this machine; the clients are outside. Needs root. */
export class NamespaceNetwork implements NodeNetwork {
  readonly can: readonly Capability[]
  readonly #places: NodePlace[] = []
  readonly #delayPackets: string | undefined
  readonly #delayers = new Map<number, ChildProcess>()

  private constructor({ delayPackets }: MachineTools) {
    this.#delayPackets = delayPackets
    this.can = ['loss', 'resets', ...(delayPackets ? (['delay'] as const) : [])]
  }

  static async make(tools: MachineTools): Promise<NamespaceNetwork> {
    await run('ip', ['link', 'add', BRIDGE, 'type', 'bridge'])
    await run('ip', ['address', 'add', `${NETWORK}.254/24`, 'dev', BRIDGE])
    await run('ip', ['link', 'set', BRIDGE, 'up'])
    return new NamespaceNetwork(tools)
  }

  async place(nodeId: number): Promise<NetworkPlace> {
    const name = namespaceOf(nodeId)
    const outside = ownName(`v${nodeId}`)
    const address = `${NETWORK}.${nodeId}`
    await run('ip', ['netns', 'add', name])
    await run('ip', ['link', 'add', outside, 'type', 'veth', 'peer', 'name', 'e', 'netns', name])
    await run('ip', ['link', 'set', outside, 'master', BRIDGE, 'up'])
    await run('ip', ['-n', name, 'address', 'add', `${address}/24`, 'dev', 'e'])
    for (const device of ['lo', 'e']) await run('ip', ['-n', name, 'link', 'set', device, 'up'])
    this.#places.push({ nodeId, address })
    return {
      launcher: ['nsenter', `--net=/run/netns/${name}`],
      listenHost: address,
      advertisedHost: address,
    }
  }

  async setLinks(links: Links): Promise<void> {
    for (const { nodeId } of this.#places) {
      const rules = firewallRules(links, nodeId, this.#places)
      if (rules.includes('NFQUEUE')) await this.#startDelayer(nodeId)
      runWith(rules, 'nsenter', [`--net=/run/netns/${namespaceOf(nodeId)}`, 'iptables-restore'])
      if (!rules.includes('NFQUEUE')) this.#stopDelayer(nodeId)
    }
  }

  /** Aborts everything that the node has established with other nodes and clients. */
  async resetConnections(nodeId: number): Promise<void> {
    const { address } = this.#places.find(one => one.nodeId === nodeId) as NodePlace
    const name = namespaceOf(nodeId)
    await run('nsenter', [`--net=/run/netns/${name}`, 'ss', '-K', 'state', 'established', 'src', address])
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const nodeId of [...this.#delayers.keys()]) this.#stopDelayer(nodeId)
    for (const { nodeId } of this.#places) {
      // With its namespace it would go, too, but some time later: the next network takes the same names.
      await run('ip', ['link', 'delete', ownName(`v${nodeId}`)])
      await run('ip', ['netns', 'delete', namespaceOf(nodeId)])
    }
    await run('ip', ['link', 'delete', BRIDGE])
  }

  async #startDelayer(nodeId: number): Promise<void> {
    if (this.#delayPackets === undefined || this.#delayers.has(nodeId)) return
    const name = namespaceOf(nodeId)
    const [least, most] = DELAY_MS
    const child = spawn(
      'nsenter',
      [`--net=/run/netns/${name}`, this.#delayPackets, ...[DELAY_QUEUE, least, most].map(String)],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    this.#delayers.set(nodeId, child)
    await once(child.stdout, 'data')
  }

  #stopDelayer(nodeId: number): void {
    this.#delayers.get(nodeId)?.kill('SIGKILL')
    this.#delayers.delete(nodeId)
  }
}

function namespaceOf(nodeId: number): string {
  return ownName(`n${nodeId}`)
}
