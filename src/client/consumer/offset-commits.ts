import type { Epoch, Offset, PartitionId } from '../../base/brands.ts'
import type { NaruError } from '../../base/errors.ts'
import { failureToError } from '../../wire/failure.ts'
import { Groups } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'
import { Waiters } from '../reader/batch-queue.ts'
import type { Membership } from './membership.ts'

/** As many as one request may name. */
const OFFSETS_PER_REQUEST_MAX = 10_000

export interface OffsetOf {
  readonly topic: string
  readonly topicId: string
  readonly partition: PartitionId
  readonly nextOffset: Offset
  readonly leaderEpoch?: Epoch | undefined
  readonly metadata?: string
}

/** An offset of one ownership: with the epoch of a later one it would pass for that one's (D3). */
export interface Claim {
  readonly offset: OffsetOf
  /** Why it must not be committed any more. */
  readonly refusal: () => NaruError | undefined
}

/** What became of each, in order. */
export type CommitOutcome = NaruError | undefined

/**
 * Commits of one member, one request at a time, so that an earlier one never lands on a later one. While the member has no
 * stream, or does not know yet what it still has, they wait: at its new epoch an old one would be refused. What it has lost by
 * then is not sent, and a commit of which nothing is left waits no longer: so none outlasts the session of a member that nobody
 * answers.
 */
export class OffsetCommits {
  readonly #connection: Connection
  readonly #group: string
  readonly #membership: Membership
  readonly #isSettled: () => boolean
  readonly #waiters = new Waiters()
  #last: Promise<unknown> = Promise.resolve()
  #end: NaruError | undefined

  constructor(options: {
    connection: Connection
    group: string
    membership: Membership
    isSettled: () => boolean
  }) {
    this.#connection = options.connection
    this.#group = options.group
    this.#membership = options.membership
    this.#isSettled = options.isSettled
  }

  commit(claims: readonly Claim[]): Promise<CommitOutcome[]> {
    const committed = this.#last.then(() => this.#commit(claims))
    this.#last = committed.catch(() => {})
    return committed
  }

  /** The member may have settled. */
  wake(): void {
    this.#waiters.wake()
  }

  /** Those that wait fail, and all to come. */
  close(error: NaruError): void {
    this.#end = error
    this.#waiters.wake()
  }

  async #commit(claims: readonly Claim[]): Promise<CommitOutcome[]> {
    const outcomes: CommitOutcome[] = []
    for (let at = 0; at < claims.length; at += OFFSETS_PER_REQUEST_MAX)
      outcomes.push(...(await this.#commitSome(claims.slice(at, at + OFFSETS_PER_REQUEST_MAX))))
    return outcomes
  }

  async #commitSome(claims: readonly Claim[]): Promise<CommitOutcome[]> {
    for (;;) {
      const outcomes = await this.#whenSettled(claims)
      const { joinCount } = this.#membership
      const good = claims.filter((_, index) => outcomes[index] === undefined)
      const sent = good.length === 0 ? [] : await this.#send(good)
      // A stream that came meanwhile has raised the epochs of all that the member still has.
      const isOutdated = joinCount !== this.#membership.joinCount
      if (isOutdated && sent.some(error => error?.reason === 'PARTITION_NOT_OWNED')) continue
      const answers = sent.values()
      return outcomes.map(refusal => refusal ?? answers.next().value)
    }
  }

  async #send(claims: readonly Claim[]): Promise<CommitOutcome[]> {
    const { member, memberEpoch } = this.#membership
    const offsets = claims.map(({ offset }) => ({ ...offset, metadata: offset.metadata ?? '' }))
    const { results } = await this.#connection.call(
      Groups.commitOffsets,
      { group: this.#group, member, memberEpoch, offsets },
      { repeatable: true },
    )
    return results.map(({ failure }) => (failure ? failureToError(failure) : undefined))
  }

  /** Why each must not be committed any more, once the others may be sent, or there are none. */
  async #whenSettled(claims: readonly Claim[]): Promise<CommitOutcome[]> {
    for (;;) {
      if (this.#end !== undefined) throw this.#end
      const refusals = claims.map(({ refusal }) => refusal())
      if (this.#isSettled() || refusals.every(error => error !== undefined)) return refusals
      await this.#waiters.wait()
    }
  }
}
