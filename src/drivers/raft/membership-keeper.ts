import type { NodeId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { type Clock, delay } from '../../ports/clock.ts'
import { type MemberId, type MembershipChange, nodeIdOf } from '../../raft/membership.ts'
import { planRepair } from '../../raft/membership-repair.ts'
import type { MetadataQuorum } from '../controller/metadata-quorum.ts'
import type { PeerDirectory } from './peer-directory.ts'
import type { PeerEvent, PeerTiming } from './peer-network-options.ts'

/** 7 voters survive the loss of any 3; each further one makes every change slower. */
const VOTERS_MAX = 7
/** The leader sends to each of them, and the raft streams hold as many connections. */
const LEARNERS_MAX = 1000
/** Between two tries of a change that was refused for now. */
const RETRY_MS = 100
const ADMIT_TIMEOUT_MS = 3000
const CHANGE_TIMEOUT_MS = 30_000

export interface MembershipKeeperOptions {
  readonly quorum: MetadataQuorum
  readonly directory: PeerDirectory
  readonly clock: Clock
  readonly timing: PeerTiming
  readonly onEvent: (event: PeerEvent) => void
}

/**
 * Changes of the quorum's membership, on the leader: newcomers become learners, voters come and go when the operator
 * says so, and membership-repair.ts says what else. Raft makes one change at a time and refuses what is not safe now;
 * who asked waits here for a while and tries again.
 */
export class MembershipKeeper {
  readonly #options: MembershipKeeperOptions
  #isRepairing = false
  #isClosed = false

  constructor(options: MembershipKeeperOptions) {
    this.#options = options
  }

  close(): void {
    this.#isClosed = true
  }

  /** Called every now and then. */
  tend(): void {
    const { quorum, onEvent } = this.#options
    if (!quorum.isLeading || this.#isRepairing || this.#isClosed) return
    const repair = planRepair(this.#facts())
    if (!repair) return
    const { change, reason } = repair
    const facts = { member: change.member, reason }
    this.#isRepairing = true
    quorum
      .changeMembership(change)
      .then(
        () =>
          onEvent({ level: 'info', message: `the quorum has changed: ${change.op} ${change.member}`, facts }),
        (thrown: unknown) => {
          const error = NaruError.from(thrown).message
          onEvent({ level: 'warn', message: `the quorum has not changed yet: ${error}`, facts })
        },
      )
      .finally(() => {
        this.#isRepairing = false
      })
  }

  /** A node wants to be told the metadata log. Resolves once its membership is committed; at once for a member. */
  async admit({ member, directoryId }: { member: MemberId; directoryId: Uuid }): Promise<void> {
    const { image } = this.#options.quorum
    const nodeId = nodeIdOf(member)
    if (image.nodes.removed(nodeId)?.directoryId === directoryId)
      throw new NaruError(
        'NODE_REMOVED',
        `node ${nodeId} was removed from the cluster (to let it join anew, start it with an empty data directory)`,
      )
    await this.#change(ADMIT_TIMEOUT_MS, ({ voters, learners }) => {
      if (voters.includes(member) || learners.includes(member)) return undefined
      if (learners.length >= LEARNERS_MAX)
        throw new NaruError(
          'OVERLOADED',
          `the quorum has ${LEARNERS_MAX} learners, which is the most it may have`,
        )
      return { op: 'add-learner', member }
    })
  }

  /** Makes a voter of a node that has joined. Waits, within bounds, until it has caught up. Nothing to do is success. */
  async addVoter(nodeId: NodeId, timeoutMs = CHANGE_TIMEOUT_MS): Promise<void> {
    await this.#change(timeoutMs, ({ voters, learners }) => {
      const current = this.#currentOf(nodeId)
      const voter = voters.find(member => nodeIdOf(member) === nodeId)
      if (voter !== undefined && (current === undefined || current === voter)) return undefined
      if (voter !== undefined)
        throw notNow(
          `node ${nodeId} is voter ${voter}, whose disk is gone: it is about to be replaced by ${current}`,
        )
      if (voters.length >= VOTERS_MAX)
        throw new NaruError(
          'INVALID_REQUEST',
          `the quorum has ${VOTERS_MAX} voters, the most it may have: remove one first`,
        )
      const [only, ...others] = learners.filter(member => nodeIdOf(member) === nodeId)
      const candidate = current ?? (others.length === 0 ? only : undefined)
      if (candidate === undefined || !learners.includes(candidate))
        throw notNow(
          `node ${nodeId} has not joined the quorum: start it, or check its number (naru cluster nodes)`,
        )
      return { op: 'promote', member: candidate }
    })
  }

  /**
   * Takes a voter's vote: it stays as a learner, unless it is not there any more. The leader may remove itself: it
   * hands over once that is committed.
   */
  async removeVoter(nodeId: NodeId, directoryId?: Uuid, timeoutMs = CHANGE_TIMEOUT_MS): Promise<void> {
    const { quorum, directory } = this.#options
    const { voters } = quorum.status.membership
    const voter = voters.find(member => nodeIdOf(member) === nodeId)
    if (voter === undefined)
      throw new NaruError(
        'INVALID_REQUEST',
        `node ${nodeId} is not a voter (voters: ${voters.map(nodeIdOf).join(', ')})`,
      )
    const greeted = directory.currentOf(nodeId)
    const itsDirectory = greeted?.member === voter ? greeted.directoryId : voter.slice(voter.indexOf('@') + 1)
    if (directoryId !== undefined && directoryId !== itsDirectory && !voter.endsWith(`@${directoryId}`))
      throw new NaruError(
        'INVALID_REQUEST',
        `voter ${nodeId} has directory ${itsDirectory}, not ${directoryId}`,
      )
    await this.#change(timeoutMs, ({ voters: now }) => {
      if (!now.includes(voter)) return undefined
      if (now.length === 1)
        throw new NaruError(
          'INVALID_REQUEST',
          `node ${nodeId} is the only voter: add another one before it is removed`,
        )
      this.#checkMajority(now.filter(member => member !== voter))
      return { op: this.#isSilent(voter) ? 'remove' : 'demote', member: voter }
    })
  }

  /** Undefined from `plan`: it is so already. What is refused for now is tried again until the time is up. */
  async #change(
    timeoutMs: number,
    plan: (membership: MetadataQuorum['status']['membership']) => MembershipChange | undefined,
  ): Promise<void> {
    const { quorum, clock } = this.#options
    const deadlineMs = clock.monotonicMs() + timeoutMs
    for (;;) {
      if (this.#isClosed) throw new NaruError('NODE_DRAINING', 'this node is stopping: ask another one')
      if (!quorum.isLeading) throw notLeading(quorum.leaderId)
      try {
        const change = plan(quorum.status.membership)
        if (change) await quorum.changeMembership(change)
        // What is in force need not be committed: only that lets the caller count on it.
        else if (!quorum.status.membershipIsCommitted) throw notNow('the change is under way')
        return
      } catch (thrown) {
        const isLater = thrown instanceof NaruError && thrown.reason === 'QUORUM_CHANGE_REFUSED'
        if (!isLater || clock.monotonicMs() >= deadlineMs) throw thrown
      }
      await delay(clock, RETRY_MS)
    }
  }

  /**
   * Those that would be left must be able to commit: a cluster whose majority has lost its disks cannot even take the
   * change back (etcd refuses it for the same reason).
   */
  #checkMajority(voters: readonly MemberId[]): void {
    const { quorum, clock, timing, directory } = this.#options
    const { self, members } = quorum.status
    const isHeard = (voter: MemberId) => {
      const { member: current = voter } = directory.currentOf(nodeIdOf(voter)) ?? {}
      if (current !== voter) return false
      // An answer to this very leadership: until then `heardMs` is its beginning.
      const progress = members.find(other => other.member === voter)
      return progress && progress.matchIndex > 0 && clock.monotonicMs() - progress.heardMs < timing.silentMs
    }
    const missing = voters.filter(voter => voter !== self && !isHeard(voter))
    if (missing.length * 2 < voters.length) return
    throw notNow(
      `no majority of what would be the voters is in contact: ${missing.map(nodeIdOf).join(', ')} of ${voters.map(nodeIdOf).join(', ')} do not answer (bring them back, or replace them, before another one is removed)`,
    )
  }

  #isSilent(member: MemberId): boolean {
    const { quorum, clock, timing } = this.#options
    const progress = quorum.status.members.find(other => other.member === member)
    return progress !== undefined && clock.monotonicMs() - progress.heardMs >= timing.silentMs
  }

  #facts(): Parameters<typeof planRepair>[0] {
    const { quorum, clock, timing } = this.#options
    const { nodes } = quorum.image
    return {
      ...timing,
      status: quorum.status,
      nowMs: clock.monotonicMs(),
      currentOf: nodeId => this.#currentOf(nodeId),
      isRegistered: nodeId => nodes.get(nodeId) !== undefined,
      isRemoved: nodeId => nodes.get(nodeId) === undefined && nodes.removed(nodeId) !== undefined,
    }
  }

  /**
   * Greeted by it, and registered with its directory: neither alone says that the one before it is gone. Nobody greets
   * itself; the leader is what its own node runs now.
   */
  #currentOf(nodeId: NodeId): MemberId | undefined {
    const { quorum, directory } = this.#options
    const { self } = quorum.status
    if (nodeIdOf(self) === nodeId) return self
    const greeted = directory.currentOf(nodeId)
    if (greeted?.directoryId !== quorum.image.nodes.get(nodeId)?.directoryId) return undefined
    return greeted?.member
  }
}

function notNow(message: string): NaruError {
  return new NaruError('QUORUM_CHANGE_REFUSED', message)
}

export function notLeading(leaderId: NodeId | undefined): NaruError {
  const details = leaderId === undefined ? {} : { leader_id: String(leaderId) }
  const where = leaderId === undefined ? 'no leader is known' : `node ${leaderId} does`
  return new NaruError('NOT_CONTROLLER', `this node does not lead the quorum (${where}): try again`, {
    details,
  })
}
