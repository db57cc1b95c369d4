import type { Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { type Clock, delay } from '../../ports/clock.ts'
import { type Prng, randomUuid } from '../../ports/prng.ts'
import {
  type ClusterFounding,
  type FormingVerdict,
  foundingFlaw,
  judgeRound,
  type PeerIdentity,
} from '../../raft/cluster-forming.ts'
import type { Greeting } from '../../wire/generated/peers.ts'
import type { GreetAnswer, PeerCalls } from './peer-calls.ts'
import type { PeerEvent, PeerTiming } from './peer-network-options.ts'

export interface ClusterFormerOptions {
  readonly self: () => Greeting
  /** The setting; empty for a cluster of its own. */
  readonly peers: readonly string[]
  readonly calls: Pick<PeerCalls, 'greet'>
  readonly clock: Clock
  readonly prng: Prng
  readonly timing: PeerTiming
  readonly onEvent: (event: PeerEvent) => void
}

/** The cluster that this node belongs to from now on. */
export interface FoundCluster {
  readonly clusterId: Uuid
  /** With this node among the founders: made by it, or handed on. Undefined: it joins as one that comes later. */
  readonly founding: ClusterFounding | undefined
}

/**
 * The way of a node without a cluster to one (rule A2): greets all listed peers in rounds until cluster-forming.ts
 * judges that there is a cluster to join, or that this node is the one to make it.
 *
 * The founding of a cluster travels in answers only, to who asks for it with a nonce of the moment: so it reaches
 * each founder as often as it asks, from any node of the cluster, and what was under way since before the last round
 * is worth nothing.
 */
export class ClusterFormer {
  readonly #options: ClusterFormerOptions
  /** By address, as anybody may call. */
  #callers = new Map<string, PeerIdentity>()
  #isClosed = false
  #lastReason: string | undefined
  #lastReasonMs = 0

  constructor(options: ClusterFormerOptions) {
    this.#options = options
  }

  /** Rejects with INVALID_CONFIG when it cannot come to a good end. */
  async run(): Promise<FoundCluster> {
    const { clock, prng, timing } = this.#options
    for (;;) {
      const nonce = randomUuid(prng)
      const { answers, errors } = await this.#greetAll(nonce)
      if (this.#isClosed) throw new NaruError('NODE_DRAINING', 'this node is stopping')
      const identities = new Map([...answers].map(([address, answer]) => [address, identityOf(answer)]))
      const callers = [...this.#callers.values()]
      this.#callers = new Map()
      const verdict = judgeRound({ self: this.#options.self(), answers: identities, callers })
      if (verdict.kind === 'found') return this.#found(verdict)
      if (verdict.kind === 'join')
        return { clusterId: verdict.clusterId, founding: this.#offered(verdict, answers, nonce) }
      if (verdict.kind === 'refuse') throw new NaruError('INVALID_CONFIG', verdict.reason)
      this.#report(verdict, errors)
      await delay(clock, timing.roundMs * (0.5 + prng.fraction()))
    }
  }

  /** Greeted this node. */
  onGreeted(caller: PeerIdentity): void {
    if (this.#options.peers.includes(caller.address)) this.#callers.set(caller.address, caller)
  }

  close(): void {
    this.#isClosed = true
  }

  async #greetAll(nonce: string): Promise<Round> {
    const { peers, calls, self } = this.#options
    const own = self()
    const answers = new Map<string, GreetAnswer | undefined>()
    const errors: string[] = []
    // This node needs no call to itself, but an entry may be another name of its own address: then it answers.
    const listed = peers.length === 0 ? [own.address] : peers
    for (const address of listed)
      answers.set(address, address === own.address ? { greeting: own, offer: undefined } : undefined)
    const others = listed.filter(address => address !== own.address)
    await Promise.all(
      others.map(address =>
        calls.greet(address, nonce).then(
          answer => void answers.set(address, answer),
          (thrown: unknown) => void errors.push(`${address}: ${NaruError.from(thrown).message}`),
        ),
      ),
    )
    return { answers, errors: errors.sort() }
  }

  #found({ founders }: FormingVerdict & { kind: 'found' }): FoundCluster {
    const clusterId = randomUuid(this.#options.prng)
    return { clusterId, founding: { clusterId, author: this.#options.self().nodeId, founders } }
  }

  #offered(
    { clusterId, through }: FormingVerdict & { kind: 'join' },
    answers: Round['answers'],
    nonce: string,
  ): ClusterFounding | undefined {
    const { nodeId, directoryId } = this.#options.self()
    for (const address of through) {
      const { nonce: quoted, founding } = answers.get(address)?.offer ?? {}
      if (quoted !== nonce || founding?.clusterId !== clusterId || foundingFlaw(founding)) continue
      const isFounder = founding.founders.some(
        founder => founder.nodeId === nodeId && founder.directoryId === directoryId,
      )
      if (isFounder) return founding
    }
    return undefined
  }

  #report({ reason, isWrong }: FormingVerdict & { kind: 'wait' }, errors: readonly string[]): void {
    const { clock, timing, onEvent } = this.#options
    const nowMs = clock.monotonicMs()
    if (reason === this.#lastReason && nowMs - this.#lastReasonMs < timing.repeatMs) return
    this.#lastReason = reason
    this.#lastReasonMs = nowMs
    onEvent({ level: isWrong ? 'warn' : 'info', message: reason, facts: errors.length > 0 ? { errors } : {} })
  }
}

interface Round {
  /** By listed address. */
  readonly answers: ReadonlyMap<string, GreetAnswer | undefined>
  readonly errors: readonly string[]
}

function identityOf(answer: GreetAnswer | undefined): PeerIdentity | undefined {
  return answer?.greeting
}
