import { NaruError } from '../../base/errors.ts'
import type { CallContext, MethodPath } from '../../ports/transport.ts'
import type { ForwardedHandler } from '../forward-service.ts'
import { isOfTheLeader } from '../leader-attempts.ts'
import { atLeader } from '../leader-calls.ts'
import type { ServiceNode } from '../service-node.ts'
import type { GroupsTopic } from './groups-topic.ts'

/** For calls whose client gave no deadline; also rule E2's bound. */
const TIMEOUT_MS = 10_000
/** A coordinator that hangs has a successor by then. */
const ATTEMPT_MS_MAX = 4_000

export interface GroupCall {
  readonly method: { readonly path: MethodPath }
  readonly group: string
  /** As the client sent it. */
  readonly request: Buffer
  /** It may make the group, and so the first one. */
  readonly creates: boolean
  /** Doing it twice is the same as once. */
  readonly repeatable: boolean
  readonly serve: ForwardedHandler
}

/**
 * Takes calls to the coordinator of their group, wherever it is, from the node that a client happened to call (rule E2):
 * bytes pass untouched, once, and only this side tries again, after proof that nothing was done or where that does not
 * matter. Its time is over before the client's.
 */
export class GroupEntry {
  readonly #node: ServiceNode
  readonly #topic: GroupsTopic

  constructor(node: ServiceNode, topic: GroupsTopic) {
    this.#node = node
    this.#topic = topic
  }

  async call(call: GroupCall, context?: Pick<CallContext, 'timeoutMs'>): Promise<Uint8Array> {
    const { group, creates, repeatable, request, method } = call
    const { clock, leaders } = this.#node
    const startMs = clock.monotonicMs()
    const timeoutMs = Math.min(context?.timeoutMs ?? TIMEOUT_MS, TIMEOUT_MS) * WITHIN
    const leftMs = () => {
      const ms = startMs + timeoutMs - clock.monotonicMs()
      return Math.max(1, Math.floor(repeatable ? Math.min(ms, ATTEMPT_MS_MAX) : ms))
    }
    try {
      const place = await this.#topic.placeOf(group, { creates, timeoutMs })
      return await atLeader<Uint8Array>(this.#node, {
        ...place,
        isEntry: true,
        repeatable,
        timeoutMs,
        here: () => call.serve(request, leftMs()),
        there: async nodeId => {
          if (leaders === undefined) throw new NaruError('INTERNAL', 'a node alone forwards nothing')
          return leaders.pass(nodeId, method, { request, timeoutMs: leftMs() })
        },
      })
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      throw finalError(thrown, { call, waitedMs: clock.monotonicMs() - startMs })
    }
  }
}

/** The rest is for the way of the answer. */
const WITHIN = 0.95

/** What the client is told: it never needs to know what a coordinator is. */
function finalError(
  error: NaruError,
  { call, waitedMs }: { readonly call: GroupCall; readonly waitedMs: number },
): NaruError {
  if (!isOfTheLeader(error)) return error
  const { group, method, repeatable } = call
  const options = { cause: error, details: { ...error.details, group } }
  if (error.outcome === 'unknown' && !repeatable)
    return new NaruError(
      'UNKNOWN_OUTCOME',
      `${method.path} was on its way to the coordinator of group "${group}", and whether it was done is not known: ${error.message} (look before you try again)`,
      options,
    )
  const nothing = repeatable ? '' : ' (nothing was done)'
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `no coordinator of group "${group}" took ${method.path} within ${Math.round(waitedMs)} ms${nothing}: ${error.message}: try again`,
    options,
  )
}
