import { decodeGroupRecord } from '../../src/drivers/groups/group-record-codec.ts'
import type { GroupImage } from '../../src/groups/group-image.ts'
import type { GroupRecord, OffsetRecord } from '../../src/groups/group-record.ts'
import { GroupsImage } from '../../src/groups/groups-image.ts'
import { keyOf } from '../../src/groups/partition-index.ts'
import { GROUPS_TOPIC } from '../../src/metadata/internal-topics.ts'
import { RecordCursor } from '../../src/records/record-cursor.ts'
import { checkEpochs, checkGroup, Successions } from '../groups/group-invariants.ts'
import type { FoundBatch } from '../harness/sim-segments.ts'
import type { CommittedLog } from './committed-log.ts'

/** A partition while one member has it. */
export interface Ownership {
  readonly member: string
  readonly assignedEpoch: number
  readonly beginMs: number
  /** Where the group was when it began; undefined: nowhere yet. */
  startOffset: number | undefined
  /** The member was asked to give it up. */
  isRevoking: boolean
  /** Undefined: it goes on. */
  endMs: number | undefined
}

export interface GroupLedgerOptions {
  /** Of when the record is read: no earlier than it was committed. */
  readonly nowMs: () => number
  /** A group commits another offset of a partition, or none any more. */
  readonly onOffset: (record: OffsetRecord, change: { before: number | undefined }) => void
  /** A member that stays in its group was asked for a partition, and has it no more. */
  readonly onRevoked?: () => void
}

/**
 * The coordinator's record: what the committed log of `__groups` says, whoever coordinates. Holds groups to G1-G4 after each
 * batch. In a simulation it is read as leaders call batches committed, so it is there before anybody can have been told.
 */
export class GroupLedger {
  readonly #options: GroupLedgerOptions
  /** Own batches of all coordinators, by what names them and their bytes. */
  readonly #appended = new Map<string, Buffer>()
  readonly #images = new Map<number, GroupsImage>()
  readonly #epochs = new Map<string, number>()
  readonly #successions = new Successions()
  readonly #ownerships = new Map<string, Ownership[]>()
  readonly #offsets = new Map<string, Set<number>>()

  constructor(options: GroupLedgerOptions) {
    this.#options = options
  }

  onAppended(batch: Buffer, name: Pick<FoundBatch, 'baseOffset' | 'leaderEpoch' | 'crc'>): void {
    this.#appended.set(nameOf(name), Buffer.from(batch))
  }

  /** Throws what is wrong with a group. */
  onCommitted({ name, partition }: CommittedLog, batches: readonly FoundBatch[]): void {
    if (!name.startsWith(`${GROUPS_TOPIC}-`)) return
    for (const batch of batches) {
      const bytes = this.#appended.get(nameOf(batch))
      if (!bytes) throw new Error(`offset ${batch.baseOffset} of ${name} was appended by no coordinator`)
      this.replay(partition, recordsOf(bytes))
    }
  }

  /** The records of one batch, in the order of the log. Throws what is wrong with a group. */
  replay(partition: number, records: Iterable<GroupRecord>): void {
    const image = this.image(partition)
    const touched = new Set<string>()
    for (const record of records) {
      this.#replay(image, record)
      touched.add(record.group)
    }
    for (const group of touched) {
      const now = image.get(group)
      if (now) this.#check(now)
    }
  }

  image(partition: number): GroupsImage {
    const known = this.#images.get(partition)
    if (known) return known
    const made = new GroupsImage()
    this.#images.set(partition, made)
    return made
  }

  group(name: string): GroupImage | undefined {
    for (const image of this.#images.values()) {
      const found = image.get(name)
      if (found) return found
    }
    return undefined
  }

  /** The group has committed this very offset at some time. */
  everHad(group: string, of: { topicId: string; partition: number; nextOffset: number }): boolean {
    return this.#offsets.get(`${group} ${keyOf(of)}`)?.has(of.nextOffset) ?? false
  }

  /** Those of this member, in order. */
  ownershipsOf(group: string, of: { member: string; topicId: string; partition: number }): Ownership[] {
    const all = this.#ownerships.get(`${group} ${keyOf(of)}`) ?? []
    return all.filter(({ member }) => member === of.member)
  }

  /** All that the group's members ever had, each partition's in order. */
  *ownerships(group: string): Iterable<{ topicId: string; partition: number; ownership: Ownership }> {
    for (const [key, all] of this.#ownerships) {
      if (!key.startsWith(`${group} `)) continue
      const [topicId = '', partition] = key.slice(group.length + 1).split('/')
      for (const ownership of all) yield { topicId, partition: Number(partition), ownership }
    }
  }

  #replay(image: GroupsImage, record: GroupRecord): void {
    this.#successions.replay(record)
    const offset = record.type === 'offset' ? record : undefined
    const before = offset && image.get(record.group)?.offset(offset.topicId, offset.partition)?.nextOffset
    image.replay(record)
    if (!offset) return
    const key = `${record.group} ${keyOf(offset)}`
    if (offset.value) {
      const had = this.#offsets.get(key) ?? new Set()
      this.#offsets.set(key, had.add(offset.value.nextOffset))
    }
    this.#options.onOffset(offset, { before })
  }

  #check(group: GroupImage): void {
    checkGroup(group)
    checkEpochs(group, this.#epochs)
    const seen = new Set<string>()
    for (const [member, { partitions }] of group.assignments.entries())
      for (const partition of partitions) {
        const { assignedEpoch, topicId } = partition
        const key = `${group.name} ${keyOf(partition)}`
        seen.add(key)
        const all = this.#ownerships.get(key) ?? []
        this.#ownerships.set(key, all)
        const startOffset = group.offset(topicId, partition.partition)?.nextOffset
        const last = all.at(-1)
        const isRevoking = partition.revokingEpoch !== null
        const isSame = last?.member === member && last.assignedEpoch === assignedEpoch
        if (isSame && last.endMs === undefined) {
          last.startOffset ??= startOffset
          last.isRevoking ||= isRevoking
        } else {
          if (last) this.#end(last, group, member)
          all.push({
            member,
            assignedEpoch,
            beginMs: this.#options.nowMs(),
            startOffset,
            isRevoking,
            endMs: undefined,
          })
        }
      }
    for (const [key, all] of this.#ownerships) {
      const last = all.at(-1)
      if (last && key.startsWith(`${group.name} `) && !seen.has(key)) this.#end(last, group)
    }
  }

  #end(ownership: Ownership, { members }: GroupImage, next?: string): void {
    if (ownership.endMs !== undefined) return
    ownership.endMs = this.#options.nowMs()
    const { member, isRevoking } = ownership
    if (isRevoking && next !== member && members.has(member)) this.#options.onRevoked?.()
  }
}

function* recordsOf(batch: Buffer): Iterable<GroupRecord> {
  for (const cursor = new RecordCursor(batch, 0); cursor.next(); ) {
    const key = cursor.key()
    if (key) yield decodeGroupRecord(key, cursor.value())
  }
}

function nameOf({ baseOffset, leaderEpoch, crc }: Pick<FoundBatch, 'baseOffset' | 'leaderEpoch' | 'crc'>) {
  return `${baseOffset}/${leaderEpoch}/${crc}`
}
