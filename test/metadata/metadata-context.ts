import { expect } from 'vitest'
import type { MachineResult } from '../../src/machine/state-machine.ts'
import { Controller, formCluster } from '../../src/metadata/controller.ts'
import type { ControllerOptions } from '../../src/metadata/controller-options.ts'
import type { NewTopic } from '../../src/metadata/creation-plan.ts'
import { MetadataImage } from '../../src/metadata/metadata-image.ts'
import type { MetadataRecord } from '../../src/metadata/metadata-record.ts'
import type { NodeRegistration } from '../../src/metadata/node-registration.ts'

export const WALL_MS = 1_700_000_000_000

/** A controller over an image, whose results are replayed at once; `log` holds every record so far. */
export class MetadataContext {
  readonly image = new MetadataImage()
  readonly log: MetadataRecord[] = []
  readonly controller: Controller
  #topicCount = 0

  constructor(options: Partial<ControllerOptions> = {}) {
    this.controller = new Controller(this.image, { nodesListed: 1, defaultPartitions: 3, ...options })
    this.run(formCluster(this.image, 'cluster'))
  }

  run<T>(result: MachineResult<MetadataRecord, T>): T {
    for (const record of result.records) this.image.replay(record)
    this.log.push(...result.records)
    return result.response
  }

  readonly nextTopicId = (): string => `topic-id-${++this.#topicCount}`

  /** Registers and unfences nodes 1 ... count. */
  addNodes(count: number, rackOf: (nodeId: number) => string = () => ''): this {
    for (let nodeId = 1; nodeId <= count; nodeId++) {
      const { nodeEpoch } = this.register(nodeId, { rack: rackOf(nodeId) })
      this.run(this.controller.nodes.unfence({ nodeId, nodeEpoch }))
    }
    return this
  }

  register(
    nodeId: number,
    more: Partial<NodeRegistration> & { isSessionAlive?: boolean } = {},
  ): { nodeEpoch: number } {
    const { isSessionAlive = false, ...fields } = more
    return this.run(
      this.controller.nodes.register(registration(nodeId, fields), { isSessionAlive, wallMs: WALL_MS }),
    )
  }

  create(topic: NewTopic): void {
    const [result] = this.run(this.controller.topics.create({ topics: [topic] }, this.nextTopicId))
    if (result?.ok === false) throw result.error
  }

  epochOf(nodeId: number): { nodeId: number; nodeEpoch: number } {
    return { nodeId, nodeEpoch: this.image.nodes.lastEpoch(nodeId) }
  }

  /** `[leader] isr=... elr=... epoch/partition epoch` of a partition. */
  show(name: string, partition = 0): string {
    const state = this.image.topics.byName(name)?.partition(partition)
    if (state === undefined) return 'none'
    const unclean = state.lastUncleanEpoch === null ? '' : ` unclean=${state.lastUncleanEpoch}`
    return `leader=${state.leader} isr=${state.isr} elr=${state.elr} epoch=${state.leaderEpoch}/${state.partitionEpoch}${unclean}`
  }
}

export function registration(
  nodeId: number,
  more: { incarnation?: string; directoryId?: string; rack?: string } = {},
) {
  return {
    clusterId: 'cluster',
    nodeId,
    incarnation: `incarnation-${nodeId}`,
    directoryId: `directory-${nodeId}`,
    rack: '',
    clientAddress: `host-${nodeId}:7450`,
    peerAddress: `host-${nodeId}:7452`,
    release: '0.1.0',
    ...more,
  }
}

/** Everything that an image holds, in one canonical form. */
export function contents(image: MetadataImage): MetadataRecord[] {
  return [...image.records()]
}

export function imageOf(records: Iterable<MetadataRecord>): MetadataImage {
  const image = new MetadataImage()
  for (const record of records) image.replay(record)
  return image
}

/** The error as `REASON: message`. */
export function errorOf(action: () => unknown): string {
  try {
    action()
  } catch (error) {
    expect(error).toHaveProperty('reason')
    const { reason, message } = error as { reason: string; message: string }
    return `${reason}: ${message}`
  }
  return 'no error'
}
