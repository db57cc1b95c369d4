import type { MixtureName } from '../mixtures.ts'

/** A known mistake, as passages of the sources that are exchanged in a copy. */
export interface ChaosMutant {
  readonly name: string
  readonly harm: string
  /** The mixture that finds it; none of its findings may be an excuse. */
  readonly mixture: MixtureName
  /** Path below src, a passage that is there once, and what takes its place. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
}

export const CHAOS_MUTANTS: readonly ChaosMutant[] = [
  {
    name: 'acknowledgement before fsync',
    harm: 'a power cut of all nodes takes records that were acknowledged',
    mixture: 'power',
    edits: [
      [
        'log/log-appender.ts',
        'await core.timed(() => core.context.files.use(core.segments.last.path, file => file.sync()))',
        'if (this.#urgent) await core.timed(() => core.context.files.use(core.segments.last.path, file => file.sync()))',
      ],
    ],
  },
  {
    name: 'truncation to the high watermark',
    harm: 'a replica that starts again cuts off what it acknowledged and does not know to be committed (KIP-101)',
    mixture: 'crashes',
    edits: [
      [
        'replication/follower-state.ts',
        'begin(nowMs: number): readonly FollowerEffect[] {\n    return this.#ask(nowMs)',
        `begin(nowMs: number): readonly FollowerEffect[] {
    if (this.#log.highWatermark < this.#log.logEndOffset) {
      this.#phase = 'cutting'
      return [{ type: 'truncateTo', offset: this.#log.highWatermark }]
    }
    return this.#ask(nowMs)`,
      ],
    ],
  },
  {
    name: 'wiped replica kept in ISR and ELR',
    harm: 'an empty replica is elected for what its lost disk had acknowledged (A1)',
    mixture: 'last-replica',
    edits: [
      [
        'metadata/node-control.ts',
        'const left = this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false)',
        'const left = isSameDirectory ? this.#leave([nodeId], heldBy(before, request)) : []',
      ],
    ],
  },
  {
    name: 'commit accepted from a superseded owner',
    harm: 'a member that stood still takes back what the one after it has committed (D3)',
    mixture: 'leaders',
    edits: [
      [
        'groups/offset-control.ts',
        'if (group === undefined || assignment === undefined) throw unknownMember(request.group, by.member)',
        'if (group === undefined) throw unknownMember(request.group, by.member)',
      ],
      [
        'groups/offset-control.ts',
        'new Map(assignment.partitions.map(',
        'new Map((assignment?.partitions ?? []).map(',
      ],
      [
        'groups/offset-control.ts',
        'return owned !== undefined && memberEpoch >= owned.assignedEpoch',
        'return owned !== undefined || memberEpoch >= 0',
      ],
    ],
  },
]
