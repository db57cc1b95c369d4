import type { OffsetOf } from '../../src/client/consumer/offset-commits.ts'
import type { GroupCoordinator } from '../../src/groups/group-coordinator.ts'
import type { GroupImage } from '../../src/groups/group-image.ts'
import type { OffsetRecord } from '../../src/groups/group-record.ts'
import { GROUPS_TOPIC } from '../../src/metadata/internal-topics.ts'
import { partitionForKey } from '../../src/records/murmur2.ts'
import type { FoundBatch } from '../harness/sim-segments.ts'
import type { ClusterJournal } from './cluster-journal.ts'
import type { CommittedLog } from './committed-log.ts'
import { GroupLedger } from './group-ledger.ts'
import type { PartitionOracle } from './replica-oracle.ts'

export interface GroupOracleOptions {
  readonly journal: ClusterJournal
  readonly nowMs: () => number
  readonly logs: PartitionOracle
  /** By how much the time of two machines may differ within a session. */
  readonly clockSlackMs: number
}

/** A record in the hands of a member. */
export interface HandedRecord {
  readonly group: string
  readonly member: string
  readonly topic: string
  readonly partition: number
  readonly offset: number
}

/** What a group has done with one partition: everything from `from` to `upTo`, and what lies in `beyond`. */
interface Progress {
  from: number | undefined
  upTo: number
  readonly beyond: Set<number>
}

/** As every cluster has it. */
const GROUPS_PARTITIONS = 16

/**
 * Holds groups to what they promise (rel G1-G8), by the coordinator's record (`GroupLedger`) and what members say of the
 * records that they are given.
 *
 *   G1    no partition has two owners by the record, no member is given a record of another one's, and none is told that it has
 *         what is another one's by then
 *   G2-G4 targets, epochs and states of groups are what test/groups/group-invariants.ts says, after each batch
 *   G5    a commit that was acknowledged is in the record; what is committed never goes back by itself; who coordinates has
 *         the record, no more and no less (D1, D2); and what was committed when a member was given a partition is not given to it
 *   G6    whatever a group has passed over was processed by some member, at the latest when all is over
 *   G7    nothing is committed beyond the high watermark
 *   G8    nothing is committed that its member is not done with (with D6: however many frames are in flight)
 *   D2    no view of a node is ahead of what is committed
 *   D5    a record is given only where the group has committed a start
 *
 * Not held to these: groups and partitions whose records were given up (`isForfeit`).
 */
export class GroupOracle {
  readonly ledger: GroupLedger
  readonly #options: GroupOracleOptions
  readonly #progress = new Map<string, Progress>()
  readonly #topicIds = new Map<string, string>()
  readonly #topics = new Map<string, string>()
  /** The coordinator that has just taken over, if it found nothing but what is committed. */
  #beginning: GroupCoordinator | undefined

  constructor(options: GroupOracleOptions) {
    this.#options = options
    this.ledger = new GroupLedger({
      nowMs: options.nowMs,
      onOffset: (record, { before }) => this.#onOffset(record, before),
      onRevoked: () => options.journal.count('partitions revoked'),
    })
  }

  /** A log whose groups are judged is there. */
  onTopic(topic: string, topicId: string | undefined): void {
    if (topicId === undefined) return
    this.#topicIds.set(topic, topicId)
    this.#topics.set(topicId, topic)
  }

  onCommitted(log: CommittedLog, batches: readonly FoundBatch[]): void {
    try {
      this.ledger.onCommitted(log, batches)
    } catch (thrown) {
      this.#options.journal.fail(thrown)
    }
  }

  /** A member is told that it has a partition. */
  assigned({ group, member, topic, partition }: Omit<HandedRecord, 'offset'>): void {
    const { journal, nowMs, clockSlackMs } = this.#options
    const topicId = this.#topicIds.get(topic)
    if (topicId === undefined || !this.#isJudged(group, { topic, partition })) return
    const ownership = this.ledger.ownershipsOf(group, { member, topicId, partition }).at(-1)
    const { endMs = Number.POSITIVE_INFINITY } = ownership ?? { endMs: 0 }
    journal.expect(
      endMs + clockSlackMs >= nowMs(),
      () =>
        `G1 ${member} of ${group} is told that it has ${topic}-${partition}, which is not its own since ${endMs.toFixed(0)}`,
    )
  }

  /** Before its member can do anything with it. */
  given(record: HandedRecord, { isRemote = false }: { readonly isRemote?: boolean } = {}): void {
    const { journal, nowMs, clockSlackMs } = this.#options
    const { group, member, topic, partition, offset } = record
    const topicId = this.#topicIds.get(topic)
    journal.count('records given to members')
    if (topicId === undefined || !this.#isJudged(group, { topic, partition })) return
    const ownerships = this.ledger.ownershipsOf(group, { member, topicId, partition })
    // What a node has sent may take its time to a client that is no part of the cluster, or stands still meanwhile.
    const ownership =
      (isRemote ? ownerships.findLast(({ startOffset = 0 }) => offset >= startOffset) : undefined) ??
      ownerships.at(-1)
    const what = () => `${member} of ${group} is given ${topic}-${partition} offset ${offset}`
    const isLate = ownership?.endMs !== undefined && ownership.endMs + clockSlackMs < nowMs()
    if (!isRemote || ownership === undefined)
      journal.expect(
        ownership !== undefined && !isLate,
        () => `G1 ${what()}, which is not its own since ${ownership?.endMs?.toFixed(0) ?? 'ever'}`,
      )
    const start = ownership?.startOffset
    journal.expect(start !== undefined, () => `D5 ${what()}, and the group has committed no start`)
    journal.expect(offset >= (start ?? 0), () => `G5 ${what()}, and began at ${start}, which was committed`)
  }

  /** Its member is done with it. */
  done({ group, topic, partition, offset }: HandedRecord): void {
    const { journal } = this.#options
    const progress = this.#progressOf(group, { topic, partition })
    if (offset < progress.upTo || progress.beyond.has(offset)) {
      journal.count('records processed again')
      return
    }
    journal.count('records processed')
    progress.beyond.add(offset)
    while (progress.beyond.delete(progress.upTo)) progress.upTo++
  }

  onTakeover(coordinator: GroupCoordinator, { isCommitted }: { readonly isCommitted: boolean }): void {
    this.#beginning = isCommitted ? coordinator : undefined
  }

  /** D2: LevelDB cannot take back what the log does. */
  viewed(partition: number, appliedEnd: number): void {
    const { journal, logs } = this.#options
    const end = logs.committedEnd(GROUPS_TOPIC, partition, 0)
    journal.count('views brought up')
    journal.expect(
      appliedEnd <= end || logs.isForfeit(GROUPS_TOPIC, partition),
      () =>
        `D2 a view of partition ${partition} of ${GROUPS_TOPIC} is at ${appliedEnd}, committed are ${end}`,
    )
  }

  /** What a member was told of its commits. */
  committed(member: string, offset: OffsetOf): void {
    const { journal } = this.#options
    const group = this.#groupOf(member)
    const { topicId, topic, partition, nextOffset } = offset
    if (group === undefined || !this.#isJudged(group, { topic, partition })) return
    journal.count('commits acknowledged')
    journal.expect(
      this.ledger.everHad(group, { topicId, partition, nextOffset }),
      () =>
        `G5 ${member} of ${group} was told that ${nextOffset} of ${topic}-${partition} is committed, and it never was`,
    )
  }

  /** D1, D2: whoever took over last, in this turn, has what is committed, no more and no less. */
  takenOver(nodeId: number, partition: number): void {
    const { journal, logs } = this.#options
    const coordinator = this.#beginning
    this.#beginning = undefined
    if (!coordinator || logs.isForfeit(GROUPS_TOPIC, partition)) return
    const image = this.ledger.image(partition)
    if (image.count > 0) journal.count('groups taken over', image.count)
    const { response: found } = coordinator.admin.list({ limit: 1_000 })
    const who = `node ${nodeId} takes over partition ${partition} of ${GROUPS_TOPIC}`
    journal.expect(
      found.map(({ group }) => group).join() === image.names().join(),
      () => `D1 ${who} with the groups ${found.map(({ group }) => group)}, there are ${image.names()}`,
    )
    for (const group of image.all()) {
      const view = coordinator.admin.describe(group.name).response
      const members = view.members.map(({ member, memberEpoch, assigned }) => ({
        member,
        memberEpoch,
        assigned,
      }))
      journal.expect(
        JSON.stringify(members) === JSON.stringify(membersOf(group)),
        () =>
          `D1 ${who}: members of ${group.name} are ${JSON.stringify(members)}, not ${JSON.stringify(membersOf(group))}`,
      )
      for (const { topicId, topic, partition: of, committed } of view.offsets) {
        const known = group.offset(topicId, of)?.nextOffset
        journal.expect(
          committed?.nextOffset === known,
          () =>
            `D2 ${who}: ${group.name} has ${committed?.nextOffset} of ${topic}-${of}, committed is ${known}`,
        )
      }
    }
  }

  /** Why the group is not through with what there is. */
  whyNotDone(group: string, partitions: readonly { topic: string; partition: number }[]): string | undefined {
    for (const { topic, partition } of partitions) {
      if (!this.#isJudged(group, { topic, partition })) continue
      const end = this.#options.logs.committedEnd(topic, partition, 0)
      const { upTo } = this.#progressOf(group, { topic, partition })
      const committed = this.offsetOf(group, { topic, partition }) ?? 0
      if (upTo < end || committed < end)
        return `${group} has processed ${topic}-${partition} up to ${upTo} and committed ${committed} of ${end}`
    }
    return undefined
  }

  offsetOf(group: string, { topic, partition }: { topic: string; partition: number }): number | undefined {
    return this.ledger.group(group)?.offset(this.#topicIds.get(topic) ?? '', partition)?.nextOffset
  }

  isGroupForfeit(group: string): boolean {
    return this.#options.logs.isForfeit(GROUPS_TOPIC, partitionForKey(Buffer.from(group), GROUPS_PARTITIONS))
  }

  #onOffset({ group, topicId, partition, value }: OffsetRecord, before: number | undefined): void {
    const { journal, logs } = this.#options
    const topic = this.#topics.get(topicId)
    if (!value || topic === undefined) return
    const progress = this.#progressOf(group, { topic, partition })
    const { nextOffset } = value
    const what = () => `${group} commits ${nextOffset} of ${topic}-${partition}`
    if (progress.from === undefined) {
      progress.from = nextOffset
      progress.upTo = Math.max(progress.upTo, nextOffset)
      while (progress.beyond.delete(progress.upTo)) progress.upTo++
    }
    if (!this.#isJudged(group, { topic, partition })) return
    journal.count('offsets committed')
    journal.expect(
      before === undefined || nextOffset >= before,
      () => `G5 ${what()}, which had committed ${before}`,
    )
    journal.expect(
      nextOffset <= progress.upTo,
      () => `G6 G8 ${what()}, and offset ${progress.upTo} was processed by nobody`,
    )
    const end = logs.committedEnd(topic, partition, 0)
    journal.expect(nextOffset <= end, () => `G7 ${what()}, whose high watermark is ${end}`)
  }

  isForfeit({ topic, partition }: { topic: string; partition: number }): boolean {
    return this.#options.logs.isForfeit(topic, partition)
  }

  #isJudged(group: string, { topic, partition }: { topic: string; partition: number }): boolean {
    return !this.isGroupForfeit(group) && !this.#options.logs.isForfeit(topic, partition)
  }

  #groupOf(member: string): string | undefined {
    return /^(.+)\/[^/]+$/.exec(member)?.[1]
  }

  #progressOf(group: string, { topic, partition }: { topic: string; partition: number }): Progress {
    const key = `${group} ${topic}-${partition}`
    const known = this.#progress.get(key)
    if (known) return known
    const made = { from: undefined, upTo: 0, beyond: new Set<number>() }
    this.#progress.set(key, made)
    return made
  }
}

function membersOf(group: GroupImage) {
  const names = [...group.members.keys()].sort()
  return names.map(member => {
    const assignment = group.assignments.get(member)
    const memberEpoch = assignment?.memberEpoch ?? group.members.get(member)?.attachEpoch ?? 0
    return { member, memberEpoch, assigned: assignment?.partitions ?? [] }
  })
}
