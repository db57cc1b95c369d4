import type { NodeId, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Backoff } from '../client/backoff.ts'
import type { PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import { isOfTheLeader, LEADER_PAUSE_MS, LEADER_RETRY_MS_MAX } from './leader-attempts.ts'
import type { LeaderForwarding } from './leader-forwarding.ts'
import { changeOf } from './partition-change.ts'
import type { ServiceNode } from './service-node.ts'
import { awaitLeader } from './topic-lookup.ts'

/** As many as one request may name. */
const GATHERED_MAX = 1_000

/** Questions about single partitions on their way to leaders: what one turn brings for a leader goes in one call. */
export class GatheredCalls<Asked, Answer> {
  readonly #node: ServiceNode
  readonly #call: (
    leaders: LeaderForwarding,
    to: NodeId,
    asked: readonly Asked[],
  ) => Promise<readonly Answer[]>
  readonly #waiting = new Map<NodeId, Waiting<Asked, Answer>[]>()

  /** `call` answers in order, or fails as a whole. */
  constructor(
    node: ServiceNode,
    call: (leaders: LeaderForwarding, to: NodeId, asked: readonly Asked[]) => Promise<readonly Answer[]>,
  ) {
    this.#node = node
    this.#call = call
  }

  ask(leaderId: NodeId, asked: Asked): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const line = this.#waiting.get(leaderId)
      if (line !== undefined) {
        line.push({ asked, resolve, reject })
        return
      }
      this.#waiting.set(leaderId, [{ asked, resolve, reject }])
      this.#node.clock.afterTurn(() => this.#send(leaderId))
    })
  }

  #send(leaderId: NodeId): void {
    const line = this.#waiting.get(leaderId) ?? []
    this.#waiting.delete(leaderId)
    for (let at = 0; at < line.length; at += GATHERED_MAX)
      void this.#sendSome(leaderId, line.slice(at, at + GATHERED_MAX))
  }

  async #sendSome(leaderId: NodeId, line: readonly Waiting<Asked, Answer>[]): Promise<void> {
    try {
      const answers = await this.#call(
        this.#node.leaders as LeaderForwarding,
        leaderId,
        line.map(({ asked }) => asked),
      )
      for (const [index, { resolve, reject }] of line.entries()) {
        const answer = answers[index]
        if (answer === undefined) reject(new NaruError('INTERNAL', `node ${leaderId} answered too little`))
        else resolve(answer)
      }
    } catch (thrown) {
      for (const { reject } of line) reject(thrown)
    }
  }
}

interface Waiting<Asked, Answer> {
  readonly asked: Asked
  readonly resolve: (answer: Answer) => void
  readonly reject: (thrown: unknown) => void
}

export interface LeaderCall<T> {
  readonly topic: TopicView
  readonly partition: PartitionId
  /** The client called this node as any other: what others lead is forwarded, and tried again. */
  readonly isEntry: boolean
  /** Doing it twice is the same as once. */
  readonly repeatable: boolean
  readonly timeoutMs: number
  readonly here: (leader: PartitionLeader) => Promise<T>
  readonly there: (leaderId: NodeId) => Promise<T>
}

/** Has the leader of a partition do something, wherever it is (rule E2). */
export async function atLeader<T>(node: ServiceNode, call: LeaderCall<T>): Promise<T> {
  const { clock, prng } = node
  const giveUpMs = clock.monotonicMs() + Math.min(call.timeoutMs, LEADER_RETRY_MS_MAX)
  const backoff = new Backoff({ prng, ...LEADER_PAUSE_MS })
  for (;;) {
    try {
      return await attempt(node, call)
    } catch (thrown) {
      if (!(thrown instanceof NaruError) || !isTriedAgain(node, call, thrown)) throw thrown
      const pauseMs = backoff.nextMs()
      if (clock.monotonicMs() + pauseMs >= giveUpMs) throw thrown
      await changeOf(node, { topicId: call.topic.id, timeoutMs: pauseMs })
    }
  }
}

async function attempt<T>(node: ServiceNode, call: LeaderCall<T>): Promise<T> {
  const { topic, partition, isEntry, here, there } = call
  const leaderId = topic.partition(partition)?.leader ?? node.nodeId
  if (leaderId !== node.nodeId && isEntry && node.leaders !== undefined) return there(leaderId)
  return here(await awaitLeader(node, call))
}

function isTriedAgain(
  node: ServiceNode,
  call: { isEntry: boolean; repeatable: boolean },
  error: NaruError,
): boolean {
  if (!call.isEntry || node.leaders === undefined) return false
  if (call.repeatable) return isOfTheLeader(error) || error.reason === 'DEADLINE_EXCEEDED'
  return isOfTheLeader(error) && error.outcome === 'none'
}
