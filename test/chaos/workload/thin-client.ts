import { NaruError } from '../../../src/base/errors.ts'
import type { Channel } from '../../../src/ports/transport.ts'
import { GrpcTransport } from '../../../src/rpc/grpc-transport.ts'
import { failureToError } from '../../../src/wire/failure.ts'
import { Consumer } from '../../../src/wire/methods.ts'

export interface Fetched {
  readonly values: string[]
  readonly offsets: number[]
  readonly nextOffset: number
  readonly highWatermark: number
}

const CALL_TIMEOUT_MS = 5_000

/** What a generated stub is: it knows one node, and nothing of leaders. */
export class ThinClient {
  readonly nodeId: number
  readonly #channel: Channel
  readonly #topic: string

  constructor(node: { readonly nodeId: number; readonly address: string }, topic: string) {
    this.nodeId = node.nodeId
    this.#channel = new GrpcTransport().connect(node.address)
    this.#topic = topic
  }

  async fetch(partition: number, startOffset: number): Promise<Fetched> {
    const request = { partitions: [{ topic: this.#topic, partition, start: { offset: startOffset } }] }
    const { partitions, failures } = Consumer.fetch.response.decode(
      await this.#channel.unary(Consumer.fetch.path, Consumer.fetch.request.encode(request), {
        timeoutMs: CALL_TIMEOUT_MS,
      }),
    )
    const [found] = partitions
    if (found === undefined) throw failureOf(failures[0]?.failure)
    return {
      values: found.records.map(one => String(one.value)),
      offsets: found.records.map(one => one.offset),
      nextOffset: found.nextOffset,
      highWatermark: found.highWatermark,
    }
  }

  async latest(partition: number): Promise<number> {
    const request = { partitions: [{ topic: this.#topic, partition, position: { at: 'LATEST' as const } }] }
    const { offsets } = Consumer.listOffsets.response.decode(
      await this.#channel.unary(Consumer.listOffsets.path, Consumer.listOffsets.request.encode(request), {
        timeoutMs: CALL_TIMEOUT_MS,
      }),
    )
    const [found] = offsets
    if (found?.offset === undefined) throw failureOf(found?.failure)
    return found.offset
  }

  close(): void {
    this.#channel.close()
  }
}

function failureOf(failure: Parameters<typeof failureToError>[0] | undefined): NaruError {
  return failure ? failureToError(failure) : new NaruError('INTERNAL', 'an answer without the partition')
}
