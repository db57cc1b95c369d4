import { NaruError } from '../base/errors.ts'
import { SnapshotRegistry } from '../machine/snapshot-registry.ts'
import type { StateMachine } from '../machine/state-machine.ts'
import { TimelineMap } from '../machine/timeline-map.ts'
import { GroupImage } from './group-image.ts'
import { GROUP_RECORD_VERSION_MAX, type GroupRecord } from './group-record.ts'

/**
 * All groups of one partition of `__groups`, as the records of its log up to some offset make them. Handlers of
 * the coordinator read the newest state, committed or not; a lost leadership rolls it back through `registry`.
 * Driven by a `MachineRuntime` made with this image and its registry.
 */
export class GroupsImage implements StateMachine<GroupRecord> {
  readonly registry = new SnapshotRegistry()
  readonly #groups = new TimelineMap<string, GroupImage>(this.registry)

  get count(): number {
    return this.#groups.size
  }

  get(name: string): GroupImage | undefined {
    return this.#groups.get(name)
  }

  /** In no particular order. */
  all(): Iterable<GroupImage> {
    return this.#groups.values()
  }

  /** Sorted, as pages of lists want them. */
  names(): string[] {
    return [...this.#groups.keys()].sort()
  }

  replay(record: GroupRecord): void {
    checkVersion(record)
    let group = this.#groups.get(record.group)
    if (group === undefined) {
      // A tombstone of what compaction has removed already.
      if (record.value === null) return
      group = new GroupImage(this.registry, record.group)
      this.#groups.set(record.group, group)
    }
    group.replay(record)
    if (group.isVoid) this.#groups.delete(record.group)
  }

  clear(): void {
    this.#groups.clear()
  }

  /**
   * Records that make these groups from nothing. Equal images give equal records in equal order. Read it within
   * one turn.
   */
  *records(): Iterable<GroupRecord> {
    for (const name of this.names()) yield* recordsOf(this.#groups.get(name) as GroupImage)
  }
}

function* recordsOf(group: GroupImage): Iterable<GroupRecord> {
  const head = { version: 0, group: group.name } as const
  if (group.header !== null) yield { type: 'group', ...head, value: group.header }
  for (const [topicId, value] of sorted(group.topics)) yield { type: 'topic', ...head, topicId, value }
  for (const [member, value] of sorted(group.members)) yield { type: 'member', ...head, member, value }
  for (const [member, value] of sorted(group.targets)) yield { type: 'target', ...head, member, value }
  for (const [member, value] of sorted(group.assignments))
    yield { type: 'assignment', ...head, member, value }
  for (const topicId of [...group.offsetTopics.keys()].sort()) {
    const offsets = [...group.offsetsOf(topicId)].sort(([a], [b]) => a - b)
    for (const [partition, value] of offsets) yield { type: 'offset', ...head, topicId, partition, value }
  }
}

function sorted<V>(map: TimelineMap<string, V>): [string, V][] {
  return [...map.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
}

function checkVersion({ type, version }: GroupRecord): void {
  const versionMax = GROUP_RECORD_VERSION_MAX[type]
  if (version > versionMax)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `the log of __groups holds a ${type} record of version ${version}; this release knows up to ${versionMax} (install a newer release)`,
    )
}
