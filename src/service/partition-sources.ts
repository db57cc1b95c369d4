import type { NodeId, Offset, PartitionId } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { Backoff } from '../client/backoff.ts'
import type { PartitionLeader } from '../drivers/replicas/partition-leader.ts'
import type { TopicView } from '../metadata/topic-image.ts'
import type { Position, PositionAt, Stop } from '../wire/messages.ts'
import type { CommittedPlaces } from './groups/committed-places.ts'
import { isOfTheLeader, LEADER_PAUSE_MS, LEADER_RETRY_MS_MAX } from './leader-attempts.ts'
import type { LeaderForwarding } from './leader-forwarding.ts'
import { LeaderReads } from './leader-reads.ts'
import { changeOf } from './partition-change.ts'
import type { PartitionSource } from './partition-source.ts'
import { type AskedLeader, findPosition, findStop } from './positions.ts'
import type { ReadMemory } from './read-memory.ts'
import { RemotePositions } from './remote-positions.ts'
import type { ServiceNode } from './service-node.ts'
import { awaitLeader } from './topic-lookup.ts'

/** Where reading of a partition begins and ends; both as offsets, so that it can go on at another leader. */
export interface OpenedPartition {
  readonly source: PartitionSource
  readonly from: Offset
  readonly stop: Offset | undefined
}

export interface PartitionToOpen extends PartitionPlaces {
  readonly topic: TopicView
  readonly partition: PartitionId
  /** Whose commits POSITION_AT_COMMITTED means. */
  readonly group?: string | undefined
  /** Of the leader that was read before. */
  readonly leaderEpochMin?: number
  /** Asked before each attempt but the first. */
  readonly isWanted?: () => boolean
}

export interface PartitionPlaces {
  readonly start: Position | undefined
  /** What no start means. */
  readonly unset: PositionAt
  readonly stop?: Stop | undefined
}

/**
 * The partitions that one call reads, wherever their leaders are (rule E2): here, or through a forwarded Read, one for each
 * leader. A leader that is not there is looked for again for a while, unless the client asked for leaders only.
 */
export class PartitionSources {
  readonly #node: ServiceNode
  readonly #memory: ReadMemory
  readonly #isEntry: boolean
  readonly #positions: RemotePositions
  readonly #reads = new Map<NodeId, LeaderReads>()
  #isClosed = false

  readonly #committed: CommittedPlaces | undefined

  constructor(
    node: ServiceNode,
    memory: ReadMemory,
    { isEntry, committed }: { readonly isEntry: boolean; readonly committed?: CommittedPlaces | undefined },
  ) {
    this.#node = node
    this.#memory = memory
    this.#committed = committed
    this.#isEntry = isEntry
    this.#positions = new RemotePositions(node)
  }

  /** How old what is told here is, at most, by what other leaders say of themselves. */
  get metadataAgeMs(): number {
    let ageMs = this.#node.controller.metadataAgeMs ?? 0
    for (const reads of this.#reads.values()) ageMs = Math.max(ageMs, reads.metadataAgeMs)
    return Math.round(ageMs)
  }

  /** Reading failed for want of the leader: `open` may find another, or the same one, to go on at. */
  mayGoOn(error: NaruError): boolean {
    return !this.#isClosed && this.#isEntry && this.#node.leaders !== undefined && isOfTheLeader(error)
  }

  async open(asked: PartitionToOpen): Promise<OpenedPartition> {
    const { clock, prng } = this.#node
    const of = this.#committed === undefined ? asked : { ...asked, start: await this.#startOf(asked) }
    const giveUpMs = clock.monotonicMs() + LEADER_RETRY_MS_MAX
    const backoff = new Backoff({ prng, ...LEADER_PAUSE_MS })
    for (;;) {
      try {
        return this.#checked(await this.#attempt(of), of)
      } catch (thrown) {
        if (!(thrown instanceof NaruError) || !this.mayGoOn(thrown)) throw thrown
        const pauseMs = backoff.nextMs()
        if (clock.monotonicMs() + pauseMs >= giveUpMs) throw thrown
        await changeOf(this.#node, { topicId: of.topic.id, timeoutMs: pauseMs })
        if (of.isWanted?.() === false) throw thrown
      }
    }
  }

  #startOf({ start, group, topic, partition }: PartitionToOpen): Promise<Position | undefined> | undefined {
    return this.#committed?.startOf(start, { group, topic: topic.name, topicId: topic.id, partition })
  }

  close(): void {
    this.#isClosed = true
    for (const reads of [...this.#reads.values()]) reads.close()
  }

  #checked(
    opened: OpenedPartition,
    { topic, partition, leaderEpochMin = 0 }: PartitionToOpen,
  ): OpenedPartition {
    const { leaderEpoch, ended } = opened.source
    if (ended !== undefined) throw ended
    if (leaderEpoch >= leaderEpochMin) return opened
    // Whoever is deposed and does not know it yet must not take over from its successor.
    opened.source.release?.()
    throw new NaruError(
      'NOT_LEADER',
      `"${topic.name}" partition ${partition} was read from the leader of epoch ${leaderEpochMin}, the one that is known here is of epoch ${leaderEpoch}`,
    )
  }

  async #attempt(of: PartitionToOpen): Promise<OpenedPartition> {
    const { topic, partition } = of
    const { leaders, nodeId } = this.#node
    const leaderId = topic.partition(partition)?.leader ?? nodeId
    if (leaderId !== nodeId && this.#isEntry && leaders !== undefined)
      return this.#openThere({ leaders, leaderId }, of)
    const leader = await awaitLeader(this.#node, { topic, partition })
    await whenEndIsKnown(leader)
    return this.#memory.lookups.run(() => openHere({ leader, node: this.#node }, of))
  }

  async #openThere(
    at: { leaders: LeaderForwarding; leaderId: NodeId },
    of: PartitionToOpen,
  ): Promise<OpenedPartition> {
    const { topic, partition, start, stop, unset } = of
    const place = { topic: topic.name, topicId: topic.id, partition }
    const find = (position: Position) => this.#positions.offsetOf(at.leaderId, { ...place, position })
    // Before the start: what comes in meanwhile belongs to whoever starts at the end.
    const stopOffset = stop?.offset ?? (await findStopThere(stop, find))
    const from = await findStartThere(start ?? { at: unset }, find)
    const source = await this.#readsOf(at).open({ topic, partition, from })
    return { source, from: from === 'EARLIEST' ? source.logStartOffset : from, stop: stopOffset }
  }

  #readsOf({ leaders, leaderId }: { leaders: LeaderForwarding; leaderId: NodeId }): LeaderReads {
    const open = this.#reads.get(leaderId)
    if (open !== undefined) return open
    if (this.#isClosed) throw new NaruError('CANCELLED', 'the client is gone')
    const reads = new LeaderReads({
      clock: this.#node.clock,
      memory: this.#memory,
      leaderId,
      stream: leaders.openRead(leaderId),
      onClosed: closed => {
        if (this.#reads.get(leaderId) === closed) this.#reads.delete(leaderId)
      },
    })
    this.#reads.set(leaderId, reads)
    return reads
  }
}

/**
 * A new leader comes to know in a moment which of its last records are committed. Who asks it before must not be told of an
 * end that others have read beyond. Where it does not come to know, what is below is read all the same.
 */
async function whenEndIsKnown(leader: PartitionLeader): Promise<void> {
  try {
    await leader.committedEnd()
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
  }
}

async function openHere(asked: AskedLeader, places: PartitionPlaces): Promise<OpenedPartition> {
  const stop = await findStop(asked, places.stop)
  const { offset } = await findPosition(asked, places.start, places.unset)
  return { source: asked.leader, from: offset, stop }
}

type Find = (position: Position) => Promise<Offset>

async function findStartThere(start: Position, find: Find): Promise<Offset | 'EARLIEST'> {
  if (start.offset !== undefined) return start.offset
  const isEarliest = start.at === 'EARLIEST' && start.timestampMs === undefined && start.last === undefined
  return isEarliest ? 'EARLIEST' : find(start)
}

async function findStopThere(stop: Stop | undefined, find: Find): Promise<Offset | undefined> {
  if (stop?.timestampMs !== undefined) return find({ timestampMs: stop.timestampMs })
  return stop?.at === 'CURRENT_END' ? find({ at: 'LATEST' }) : undefined
}
