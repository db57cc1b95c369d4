import type { PlantedBug } from './planted-bugs.ts'

/** Mistakes in what groups promise that show where coordinators are nodes, and members are programs. */
export const MEMBER_MUTANTS: readonly PlantedBug[] = [
  {
    name: 'partition given away before release, whole nodes',
    harm: 'two members have one partition (G1)',
    edits: [
      [
        'groups/reconciliation.ts',
        '.filter(partition => draft.owner(topicId, partition) === undefined)',
        '.filter(partition => draft.owner(topicId, partition) !== member)',
      ],
    ],
  },
  {
    name: 'view applied beyond HW',
    harm: 'what is rolled back stays in LevelDB, and a coordinator takes it for committed (D2)',
    edits: [
      [
        'drivers/groups/partition-view.ts',
        'const upTo = Math.min(log.highWatermark, log.syncedEndOffset)',
        'const upTo = log.syncedEndOffset',
      ],
    ],
  },
  {
    name: 'timers not restarted at takeover',
    harm: 'a member that died with its coordinator keeps its partitions for ever (D1)',
    edits: [['drivers/groups/partition-groups.ts', 'for (const timer of timers) this.#schedule(timer)', '']],
  },
  {
    name: '`Next` committing what is in flight',
    harm: 'a client that dies has records committed that it never saw (D6)',
    edits: [
      [
        'service/subscribe/subscribe-session.ts',
        'this.#markDone(doneFrame)',
        'this.#markDone(this.#writer.number)',
      ],
    ],
  },
  {
    name: 'record in hand committed',
    harm: 'a program that dies over a record has it committed (G8)',
    edits: [
      [
        'client/consumer/group-consumer.ts',
        '    owned.given = end\n',
        '    owned.given = owned.done = end\n',
      ],
    ],
  },
  {
    name: 'start position not committed, whole nodes',
    harm: 'a group that begins at the end loses what comes in while its member is gone (D5)',
    edits: [
      [
        'groups/member-control.ts',
        'nextOffset: group.offset(topicId, partition)?.nextOffset,',
        'nextOffset: group.offset(topicId, partition)?.nextOffset ?? 0,',
      ],
    ],
  },
  {
    name: 'member goes on though nobody answers it',
    harm: 'its partitions are others by then (D4)',
    edits: [
      [
        'client/consumer/membership.ts',
        'return this.#connection.clock.monotonicMs() < this.#heardSentMs + this.#graceMs',
        'return true',
      ],
    ],
  },
]
