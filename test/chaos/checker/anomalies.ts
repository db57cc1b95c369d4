import type { Operation } from './history.ts'

/**
 * Everything that a history may show and a log must not. `rule`: its name in the list that the definitions are from,
 * those of Jepsen's Kafka workload, and G1 and G5 to G8 for consumer groups. `isAllowed`: the design names it (rules C4 and C12), so it is only counted. What only an idempotent producer excludes is counted, not fatal, without one.
 */
export const ANOMALIES = {
  'inconsistent-offsets': { rule: 'A1', meaning: 'one offset, several values' },
  'lost-write': { rule: 'A2', meaning: 'stored, and never read, though later ones were' },
  duplicate: { rule: 'A3', meaning: 'one value at several offsets', needsIdempotence: true },
  'aborted-read': { rule: 'A4', meaning: 'read, though its sender was told that it is not stored' },
  'internal-poll-skip': { rule: 'A7', meaning: 'an answer leaves out a record between two others' },
  'internal-nonmonotonic-poll': { rule: 'A7', meaning: 'an answer goes back' },
  'poll-skip': { rule: 'A8', meaning: 'a reader was not given a record between two others' },
  'nonmonotonic-poll': { rule: 'A8', meaning: 'a reader was given a record again, or an older one' },
  'nonmonotonic-send': {
    rule: 'A9',
    meaning: 'a producer sent it later, and it lies before',
    needsIdempotence: true,
  },
  'internal-nonmonotonic-send': { rule: 'A10', meaning: 'the values of one send lie in another order' },
  'reordered-send': { rule: 'A9', meaning: 'sent after another was acknowledged, and it lies before that' },
  unseen: { rule: 'A11', meaning: 'acknowledged, and not there in the end' },
  'stale-read': {
    rule: 'A14',
    meaning: 'asked after something was known to be stored, and told of an end before it',
  },
  'stale-fetch': {
    rule: 'A14',
    meaning:
      'the same of a fetch at a leader that hung or was cut off, which reads on below what it knew until it hears of its successor, or was just elected, and knows what is committed once its followers have acknowledged',
    isAllowed: true,
  },
  'divergent-final-reads': {
    rule: 'A15',
    meaning: 'what is there in the end differs by the node that is asked',
  },
  unexpected: { rule: 'A16', meaning: 'read, and never sent' },
  'unowned-record': { rule: 'G1', meaning: 'given to a member that does not have the partition' },
  'committed-again': {
    rule: 'G5',
    meaning: 'given to a member, though the group had committed it before the member had the partition',
  },
  'fenced-commit': { rule: 'G5', meaning: 'committed by a member that had lost the partition' },
  'lost-commit': {
    rule: 'G5',
    meaning: 'what a group is told to have committed is not what it committed last',
  },
  'skipped-record': {
    rule: 'G6',
    meaning: 'passed over by a group, without any member having been given it',
  },
  'commit-beyond-end': { rule: 'G7', meaning: 'committed before it was stored' },
  'commit-ahead': { rule: 'G8', meaning: 'committed by a member that was not given it' },
  'offset-gap': { rule: 'A7', meaning: 'an offset below the end that holds nothing' },
} as const satisfies Record<
  string,
  { rule: string; meaning: string; needsIdempotence?: true; isAllowed?: true }
>

export type AnomalyKind = keyof typeof ANOMALIES

export interface Anomaly {
  readonly kind: AnomalyKind
  readonly partition: string
  /** Names the values and offsets. */
  readonly what: string
  /** Those that show it, in order of time. */
  readonly operations: readonly Operation[]
}

/** Of each kind all are counted, and the first few are kept. */
export class AnomalyList {
  readonly #found: Anomaly[] = []
  readonly #counts = new Map<AnomalyKind, number>()

  get found(): readonly Anomaly[] {
    return this.#found
  }

  get counts(): ReadonlyMap<AnomalyKind, number> {
    return this.#counts
  }

  add(
    kind: AnomalyKind,
    partition: string,
    what: string,
    operations: readonly (Operation | undefined)[],
  ): void {
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count > EXAMPLES_MAX) return
    const shown = [...new Set(operations)].filter(one => one !== undefined)
    this.#found.push({ kind, partition, what, operations: shown.sort((a, b) => a.invokedMs - b.invokedMs) })
  }
}

const EXAMPLES_MAX = 20
