import { GroupAdmin } from './group-admin.ts'
import { GroupLifecycle } from './group-lifecycle.ts'
import type { GroupOptions, GroupSettings } from './group-options.ts'
import type { GroupResult, GroupTimer, MemberStream } from './group-result.ts'
import type { GroupsImage } from './groups-image.ts'
import { MemberControl } from './member-control.ts'
import { OffsetControl } from './offset-control.ts'

/**
 * The handlers of the groups' state machine, one object per concern, for one partition of `__groups`. Pure: each
 * looks at `image` (the newest state, committed or not) and returns records, response, timers, and whose streams to
 * look after. `nowMs` is the wall clock throughout.
 *
 * The driver leads a `MachineRuntime` over the same image and runs every handler through it, reads included:
 * - around each handler it schedules the `timers` of the result, before the records are appended;
 * - after it, it reads `members.membership` of each `changed` member that has a stream here, again through the
 *   runtime, and tells the stream what `MembershipFeed` makes of it; a NaruError ends the stream with `Lost`;
 * - partitions that the feed holds back for want of an offset it resolves, then `members.commitStarts`;
 * - at takeover it brings the catalog up to a read-index, then schedules `timersAtTakeover`;
 * - when the catalog has changed, it runs `refresh` for the groups that are `concernedBy` the change.
 */
export class GroupCoordinator {
  readonly members: MemberControl
  readonly offsets: OffsetControl
  readonly admin: GroupAdmin
  readonly #lifecycle: GroupLifecycle

  constructor(image: GroupsImage, options: GroupOptions) {
    this.#lifecycle = new GroupLifecycle(image, options)
    this.members = new MemberControl(image, this.#lifecycle)
    this.offsets = new OffsetControl(image, this.#lifecycle)
    this.admin = new GroupAdmin(image, { lifecycle: this.#lifecycle, offsets: this.offsets })
  }

  /** In force: `releaseTimeoutMs` is the deadline that a revoking member is told. */
  get settings(): GroupSettings {
    return this.#lifecycle.settings
  }

  /** See GroupLifecycle. */
  timersAtTakeover(nowMs: number, disconnectedMs: (stream: MemberStream) => number): Iterable<GroupTimer> {
    return this.#lifecycle.timersAtTakeover(nowMs, disconnectedMs)
  }

  /** See GroupLifecycle. */
  concernedBy(topics: readonly { readonly id: string; readonly name: string }[]): string[] {
    return this.#lifecycle.concernedBy(topics)
  }

  /** See GroupLifecycle. */
  refresh(group: string, nowMs: number): GroupResult<undefined> {
    return this.#lifecycle.refresh(group, nowMs)
  }
}
