import { assert } from '../base/assert.ts'
import type { Epoch, NodeId, ProducerId, Uuid } from '../base/brands.ts'
import type { MachineResult } from '../machine/state-machine.ts'
import type { ControllerOptions } from './controller-options.ts'
import { IsrControl } from './isr-control.ts'
import { LeaderControl } from './leader-control.ts'
import type { MetadataImage } from './metadata-image.ts'
import { FEATURE_LEVEL_MAX, type MetadataRecord } from './metadata-record.ts'
import { NodeControl } from './node-control.ts'
import { requireNode } from './node-registration.ts'
import { ReassignmentControl } from './reassignment-control.ts'
import { SettingsControl } from './settings-control.ts'
import { TopicControl } from './topic-control.ts'

/** Few enough records for many producers, few enough ids lost with a node. */
const PRODUCER_IDS_PER_BLOCK = 1000

/**
 * The handlers of the metadata state machine, one object per concern. Pure: each looks at `image` (the newest
 * state, committed or not) and returns records and a response; whoever owns the metadata log runs them through a
 * `MachineRuntime` over the same image. Errors are thrown, or are results of the one topic that they concern.
 */
export class Controller {
  readonly topics: TopicControl
  readonly settings: SettingsControl
  readonly nodes: NodeControl
  readonly isr: IsrControl
  readonly leaders: LeaderControl
  readonly reassignments: ReassignmentControl
  readonly #image: MetadataImage

  constructor(image: MetadataImage, options: ControllerOptions) {
    this.#image = image
    this.topics = new TopicControl(image, options)
    this.settings = new SettingsControl(image, options)
    this.nodes = new NodeControl(image, options)
    this.isr = new IsrControl(image, options)
    this.leaders = new LeaderControl(image, options)
    this.reassignments = new ReassignmentControl(image, options)
  }

  /** A block of producer ids for a node to hand out. No id is ever given twice, whatever becomes of the node. */
  allocateProducerIds(node: {
    nodeId: NodeId
    nodeEpoch: Epoch
  }): MachineResult<MetadataRecord, { firstProducerId: ProducerId; count: number }> {
    const { nodeId } = requireNode(this.#image, node)
    const firstProducerId = this.#image.nextProducerId
    const nextProducerId = firstProducerId + PRODUCER_IDS_PER_BLOCK
    assert(Number.isSafeInteger(nextProducerId), 'all producer ids are used up')
    return {
      records: [{ type: 'producerIds', version: 0, nodeId, nextProducerId }],
      response: { firstProducerId, count: PRODUCER_IDS_PER_BLOCK },
    }
  }
}

/** The first records of a new cluster's log; none if the log has them. */
export function formCluster(
  image: MetadataImage,
  clusterId: Uuid,
): MachineResult<MetadataRecord, { clusterId: Uuid }> {
  const known = image.clusterId
  if (known !== undefined) return { records: [], response: { clusterId: known } }
  return {
    records: [
      { type: 'featureLevel', version: 0, level: FEATURE_LEVEL_MAX },
      { type: 'cluster', version: 0, clusterId },
    ],
    response: { clusterId },
  }
}
