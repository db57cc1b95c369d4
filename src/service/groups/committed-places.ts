import type { Offset, PartitionId, Uuid } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { FetchOffsetsResponse, Position } from '../../wire/messages.ts'
import { Groups } from '../../wire/methods.ts'
import { invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'

/** As many as one FetchOffsets may name. */
const ASKED_MAX = 1_000

export interface PlaceOfGroup {
  /** undefined: the call names none. */
  readonly group: string | undefined
  readonly topic: string
  readonly topicId: Uuid
  readonly partition: PartitionId
}

/**
 * What POSITION_AT_COMMITTED means, for who reads beside a group: nothing is joined. What one turn asks of a group is one
 * question to its coordinator.
 */
export class CommittedPlaces {
  readonly #node: ServiceNode
  readonly #fetchOffsets: (request: Buffer, group: string) => Promise<Uint8Array>
  readonly #waiting = new Map<string, Waiting[]>()

  /** `fetchOffsets` is Groups.FetchOffsets, wherever the coordinator is. */
  constructor(node: ServiceNode, fetchOffsets: (request: Buffer, group: string) => Promise<Uint8Array>) {
    this.#node = node
    this.#fetchOffsets = fetchOffsets
  }

  /** undefined: the group, or there being one, has not committed anything there. */
  offsetOf({ group, ...place }: PlaceOfGroup): Promise<Offset | undefined> {
    if (group === undefined || group === '') throw needsGroup()
    return new Promise((resolve, reject) => {
      const line = this.#waiting.get(group)
      const waiting = { ...place, resolve, reject }
      if (line !== undefined) {
        line.push(waiting)
        return
      }
      this.#waiting.set(group, [waiting])
      this.#node.clock.afterTurn(() => this.#ask(group))
    })
  }

  /** The same as a place to start from: without a commit, the earliest record. */
  async startOf(start: Position | undefined, of: PlaceOfGroup): Promise<Position | undefined> {
    if (start?.at !== 'COMMITTED') return start
    const offset = await this.offsetOf(of)
    return offset === undefined ? { at: 'EARLIEST' } : { offset }
  }

  #ask(group: string): void {
    const line = this.#waiting.get(group) ?? []
    this.#waiting.delete(group)
    for (let at = 0; at < line.length; at += ASKED_MAX)
      void this.#askSome(group, line.slice(at, at + ASKED_MAX))
  }

  async #askSome(group: string, line: readonly Waiting[]): Promise<void> {
    try {
      const committed = await this.#committed(group, line)
      for (const { topicId, partition, resolve } of line) resolve(committed.get(`${topicId}/${partition}`))
    } catch (thrown) {
      for (const { reject } of line) reject(thrown)
    }
  }

  /** By topic id: what was committed for a topic of the same name is not for this one. */
  async #committed(group: string, line: readonly Waiting[]): Promise<ReadonlyMap<string, Offset>> {
    const found = new Map<string, Offset>()
    const partitions = line.map(({ topic, partition }) => ({ topic, partition }))
    let pageToken = ''
    do {
      const page = await this.#page(group, { partitions, pageToken })
      for (const { topicId, partition, nextOffset } of page.offsets)
        if (nextOffset !== undefined) found.set(`${topicId}/${partition}`, nextOffset)
      pageToken = page.nextPageToken
    } while (pageToken !== '')
    return found
  }

  async #page(
    group: string,
    of: { partitions: readonly { topic: string; partition: number }[]; pageToken: string },
  ): Promise<Pick<FetchOffsetsResponse, 'offsets' | 'nextPageToken'>> {
    const { fetchOffsets } = Groups
    try {
      const request = Buffer.from(fetchOffsets.request.encode({ group, pageSize: ASKED_MAX, ...of }))
      return fetchOffsets.response.decode(Buffer.from(await this.#fetchOffsets(request, group)))
    } catch (thrown) {
      if (!(thrown instanceof NaruError) || thrown.reason !== 'UNKNOWN_GROUP') throw thrown
      return { offsets: [], nextPageToken: '' }
    }
  }
}

interface Waiting extends Omit<PlaceOfGroup, 'group'> {
  readonly resolve: (offset: Offset | undefined) => void
  readonly reject: (thrown: unknown) => void
}

function needsGroup(): NaruError {
  return invalidRequest(
    'POSITION_AT_COMMITTED needs the group whose commits are meant: give its name in `group`',
  )
}
