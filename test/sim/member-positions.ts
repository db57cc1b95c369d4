import type { ClusterJournal } from './cluster-journal.ts'
import type { GroupOracle } from './group-oracle.ts'

interface Place {
  readonly topic: string
  readonly partition: number
}

export interface MemberPositionsOptions {
  readonly group: string
  readonly member: string
  readonly journal: ClusterJournal
  readonly oracle: GroupOracle
  /** A node is the member, and this is its client. */
  readonly isRemote?: boolean
}

/** What one stay of a member was given, partition by partition: in order, and without a gap from where each began. */
export class MemberPositions {
  readonly #options: MemberPositionsOptions
  /** Behind the last record that it was given. */
  readonly #next = new Map<string, number>()

  constructor(options: MemberPositionsOptions) {
    this.#options = options
  }

  assigned({ topic, partition, nextOffset }: Place & { nextOffset: number }): void {
    const { group, member, oracle, isRemote = false } = this.#options
    this.#next.set(`${topic}-${partition}`, nextOffset)
    // A client of a node that is the member may stand still on its own, and hears of it later.
    if (!isRemote) oracle.assigned({ group, member, topic, partition })
  }

  /** Told that the end of the log was given up: nothing else takes records away here. */
  skipped({ topic, partition, from, to }: Place & { from: number; to: number }): void {
    const { member, journal, oracle } = this.#options
    const key = `${topic}-${partition}`
    const next = this.#next.get(key)
    journal.count('members told of a log that was given up')
    journal.expect(
      oracle.isForfeit({ topic, partition }) && from === next && to < from,
      () =>
        `G6 ${member} is told to go from ${from} to ${to} of ${key}, and ${next ?? 'nothing'} was to come`,
    )
    this.#next.set(key, to)
  }

  given({ topic, partition, offset }: Place & { offset: number }): void {
    const { group, member, journal, oracle, isRemote = false } = this.#options
    const key = `${topic}-${partition}`
    const next = this.#next.get(key)
    this.#next.set(key, offset + 1)
    journal.expect(
      offset === next,
      () => `G6 ${member} is given ${key} offset ${offset}, and ${next ?? 'nothing'} was to come`,
    )
    oracle.given({ group, member, topic, partition, offset }, { isRemote })
  }

  done({ topic, partition, offset }: Place & { offset: number }): void {
    const { group, member, oracle } = this.#options
    oracle.done({ group, member, topic, partition, offset })
  }
}
