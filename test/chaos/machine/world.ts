import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Links } from './links.ts'
import { LoopbackNetwork } from './loopback-network.ts'
import type { MachineTools } from './machine-tools.ts'
import { NamespaceNetwork } from './namespace-network.ts'
import { NodeDiskImage } from './node-disk-image.ts'

/** What a machine must allow for a fault. */
export type Capability = 'power' | 'fullDisk' | 'loss' | 'delay' | 'resets' | 'faultyDisk' | 'clock'

/** The network between the nodes. */
export interface NodeNetwork extends AsyncDisposable {
  readonly can: readonly Capability[]
  /** Where a node listens, and what starts its process. */
  place(nodeId: number): Promise<NetworkPlace>
  /** All faults there are from now on; what is not named is healed. */
  setLinks(links: Links): Promise<void>
  resetConnections(nodeId: number): Promise<void>
}

export interface NetworkPlace {
  readonly launcher: readonly string[]
  readonly listenHost: string
  readonly advertisedHost: string
}

/** A machine for one node. */
export interface Place extends NetworkPlace {
  readonly dataDirectory: string
  readonly environment: Readonly<Record<string, string>>
  readonly image: NodeDiskImage | undefined
  setDisk(fault: DiskFault): Promise<void>
  /** Of the clock of the day; the monotonic one goes on. */
  setClockOffset(seconds: number): Promise<void>
}

export interface DiskFault {
  readonly fails?: 'sync' | 'write'
  readonly lateMs?: number
}

export interface WorldOptions {
  readonly tools: MachineTools
  /** Programs around the nodes cost; so only what a mixture needs. */
  readonly preloads?: readonly ('faultyDisk' | 'clock')[]
}

/** The machines and the network of one cluster, as real as this machine allows. */
export class World implements AsyncDisposable {
  readonly network: NodeNetwork
  readonly can: ReadonlySet<Capability>
  readonly #tools: MachineTools
  readonly #preloads: readonly string[]
  readonly #directory: string
  readonly #images: NodeDiskImage[] = []

  private constructor(network: NodeNetwork, directory: string, { tools, preloads = [] }: WorldOptions) {
    this.network = network
    this.#tools = tools
    this.#directory = directory
    this.#preloads = [
      ...(preloads.includes('faultyDisk') && tools.faultyDisk ? [tools.faultyDisk] : []),
      ...(preloads.includes('clock') && tools.fakeTime ? [tools.fakeTime] : []),
    ]
    this.can = new Set<Capability>([
      ...network.can,
      ...(tools.cutPower ? (['power', 'fullDisk'] as const) : []),
      ...(tools.faultyDisk ? (['faultyDisk'] as const) : []),
      ...(tools.fakeTime ? (['clock'] as const) : []),
    ])
  }

  static async make(options: WorldOptions): Promise<World> {
    const { tools } = options
    const directory = join(tools.directory, `world-${performance.now().toFixed(0)}`)
    await mkdir(directory)
    const network = tools.hasNamespaces ? await NamespaceNetwork.make(tools) : new LoopbackNetwork()
    return new World(network, directory, options)
  }

  async place(nodeId: number): Promise<Place> {
    const network = await this.network.place(nodeId)
    const name = `node-${nodeId}`
    const { cutPower } = this.#tools
    const image = cutPower ? await NodeDiskImage.make(this.#directory, name, cutPower) : undefined
    if (image !== undefined) this.#images.push(image)
    const dataDirectory = join(this.#directory, name, 'data')
    await mkdir(dataDirectory, { recursive: true })
    const disk = join(this.#directory, `${name}.disk`)
    const clock = join(this.#directory, `${name}.clock`)
    const setDisk = async ({ fails, lateMs = 0 }: DiskFault) => {
      const how = Int32Array.of(fails === 'sync' ? 1 : fails === 'write' ? 2 : 0, lateMs)
      await writeFile(disk, Buffer.from(how.buffer), { flag: 'r+' })
    }
    const setClockOffset = (seconds: number) => writeFile(clock, `${seconds < 0 ? '' : '+'}${seconds}s\n`)
    await writeFile(disk, Buffer.alloc(8))
    await setClockOffset(0)
    const environment: Record<string, string> = { CHAOS_DISK_FAULTS: disk }
    if (this.#preloads.length > 0) environment['LD_PRELOAD'] = this.#preloads.join(':')
    environment['FAKETIME_TIMESTAMP_FILE'] = clock
    environment['FAKETIME_NO_CACHE'] = '1'
    environment['FAKETIME_DONT_FAKE_MONOTONIC'] = '1'
    return { ...network, dataDirectory, environment, image, setDisk, setClockOffset }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.network[Symbol.asyncDispose]()
    await Promise.all(this.#images.map(one => one.dispose()))
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 })
  }
}
