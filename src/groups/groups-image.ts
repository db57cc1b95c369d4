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
}

function checkVersion({ type, version }: GroupRecord): void {
  const versionMax = GROUP_RECORD_VERSION_MAX[type]
  if (version > versionMax)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `the log of __groups holds a ${type} record of version ${version}; this release knows up to ${versionMax} (install a newer release)`,
    )
}
