import type { NodeId, Offset, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { failureToError } from '../wire/failure.ts'
import type { ListedOffset, ListOffsetsPartition, MessageInit, Position } from '../wire/messages.ts'
import { Consumer } from '../wire/methods.ts'
import { GatheredCalls } from './leader-calls.ts'
import type { ServiceNode } from './service-node.ts'

/** A leader that hangs has a successor by then. */
const ATTEMPT_MS_MAX = 4_000

/** Named places in partitions that other nodes lead, as offsets. */
export class RemotePositions {
  readonly #calls: GatheredCalls<MessageInit<ListOffsetsPartition>, ListedOffset>

  constructor(node: ServiceNode) {
    this.#calls = new GatheredCalls(node, async (leaders, to, partitions) => {
      const call = { request: { partitions }, timeoutMs: ATTEMPT_MS_MAX }
      return (await leaders.call(to, Consumer.listOffsets, call)).offsets
    })
  }

  /** Throws what the leader says is wrong; a leader that does not answer is CONNECTION_FAILED. */
  async find(leaderId: NodeId, asked: MessageInit<ListOffsetsPartition>): Promise<ListedOffset> {
    try {
      const found = await this.#calls.ask(leaderId, asked)
      if (found.failure) throw failureToError(found.failure)
      return found
    } catch (thrown) {
      if (!(thrown instanceof NaruError) || thrown.reason !== 'DEADLINE_EXCEEDED') throw thrown
      throw new NaruError(
        'CONNECTION_FAILED',
        `the leader, node ${leaderId}, does not answer: ${thrown.message}`,
        {
          cause: thrown,
          outcome: 'none',
          details: { leader_id: String(leaderId) },
        },
      )
    }
  }

  async offsetOf(
    leaderId: NodeId,
    of: { topic: string; topicId: string; partition: PartitionId; position: Position },
  ): Promise<Offset> {
    return (await this.find(leaderId, of)).offset ?? 0
  }
}
