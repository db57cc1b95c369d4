import { NaruError } from '../../../src/base/errors.ts'
import { type Client, connect, type Reader } from '../../../src/server/client.ts'
import type { HistoryRecorder } from './history-recorder.ts'
import { pause } from './numbered-producers.ts'
import type { Fetched, ThinClient } from './thin-client.ts'

export interface ReadersOptions {
  readonly history: HistoryRecorder
  readonly topic: string
  readonly partitions: number
  /** Before the names of processes. Default: nothing. */
  readonly prefix?: string
  /** How long the first connection is tried. Default 10 s. */
  readonly connectTimeoutMs?: number
}

/** An SDK reader of all partitions from their beginnings, which came to the cluster by one node. */
export class FollowingReader {
  /** What ended the reader before its time. */
  failure: NaruError | undefined
  readonly #options: ReadersOptions & { readonly nodeId: number }
  readonly #client: Client
  readonly #reader: Reader
  readonly #running: Promise<void>

  private constructor(client: Client, options: ReadersOptions & { nodeId: number }) {
    this.#options = options
    this.#client = client
    this.#reader = client.reader({ topic: options.topic })
    this.#running = this.#read()
  }

  static async start(
    address: string,
    options: ReadersOptions & { nodeId: number },
  ): Promise<FollowingReader> {
    const { connectTimeoutMs } = options
    return new FollowingReader(await connect(address, connectTimeoutMs ? { connectTimeoutMs } : {}), options)
  }

  async stop(): Promise<void> {
    await this.#reader.close()
    await this.#running
    await this.#client.close()
  }

  async #read(): Promise<void> {
    const { history, topic, partitions, nodeId, prefix = '' } = this.#options
    const process = `${prefix}reader-by-${nodeId}`
    for (let partition = 0; partition < partitions; partition++)
      history.begin({ op: 'assign', process, partition: `${topic}-${partition}`, startOffset: 0 })({
        type: 'ok',
      })
    let askedMs = history.now()
    try {
      for await (const { partition, records } of this.#reader.batches()) {
        const end = history.begin({ op: 'poll', process, partition: `${topic}-${partition}` }, askedMs)
        end({
          type: 'ok',
          values: records.map(one => String(one.value).trimEnd()),
          offsets: records.map(one => one.offset),
        })
        askedMs = history.now()
      }
    } catch (thrown) {
      this.failure = NaruError.from(thrown)
    }
  }
}

const ASK_PAUSE_MS = 40

/**
 * Asks one node again and again for what is new in a partition, and for where it ends. That node passes on what another one
 * leads, so each answer is a leader's. Calls that fail are of no account: another comes soon.
 */
export class AskingReader {
  readonly #options: ReadersOptions & { readonly client: ThinClient }
  readonly #positions: number[]
  readonly #running: Promise<void>
  #isStopped = false

  constructor(options: ReadersOptions & { client: ThinClient }) {
    this.#options = options
    this.#positions = new Array<number>(options.partitions).fill(0)
    this.#running = this.#ask()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#running
  }

  async #ask(): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn++) {
      const partition = turn % this.#options.partitions
      await this.#fetch(partition)
      await this.#latest(partition)
      await pause(ASK_PAUSE_MS)
    }
  }

  async #fetch(partition: number): Promise<void> {
    const { history, client, topic } = this.#options
    const startOffset = this.#positions[partition] as number
    const process = `asking-${client.nodeId}`
    const name = `${topic}-${partition}`
    const end = history.begin({ op: 'fetch', process, node: client.nodeId, partition: name, startOffset })
    try {
      const { values, offsets, nextOffset, highWatermark } = await client.fetch(partition, startOffset)
      end({ type: 'ok', values: values.map(value => value.trimEnd()), offsets, endOffset: highWatermark })
      this.#positions[partition] = nextOffset
    } catch (thrown) {
      const error = NaruError.from(thrown)
      const text = `${error.reason}: ${error.message}`
      // Where this reader has been nothing was removed, so the answer says that the end lies before.
      if (error.reason === 'OFFSET_OUT_OF_RANGE')
        end({ type: 'ok', values: [], offsets: [], endOffset: startOffset - 1, error: text })
      else end({ type: 'fail', error: text })
    }
  }

  async #latest(partition: number): Promise<void> {
    const { history, client, topic } = this.#options
    const process = `asking-${client.nodeId}`
    const end = history.begin({
      op: 'latest',
      process,
      node: client.nodeId,
      partition: `${topic}-${partition}`,
    })
    try {
      end({ type: 'ok', endOffset: await client.latest(partition) })
    } catch (thrown) {
      const error = NaruError.from(thrown)
      end({ type: 'fail', error: `${error.reason}: ${error.message}` })
    }
  }
}

const DRAIN_TIMEOUT_MS = 30_000

/** The final phase: everything of one partition by way of one node. Returns whether it was read to its end. */
export async function drainPartition(
  client: ThinClient,
  { history, name, partition }: { history: HistoryRecorder; name: string; partition: number },
): Promise<boolean> {
  const { nodeId } = client
  const end = history.begin({ op: 'drain', process: `drain-${nodeId}`, node: nodeId, partition: name })
  const deadlineMs = performance.now() + DRAIN_TIMEOUT_MS
  const values: string[] = []
  const offsets: number[] = []
  let error = new NaruError('DEADLINE_EXCEEDED', 'not read to the end in time')
  for (let at = 0; performance.now() < deadlineMs; ) {
    let fetched: Fetched
    try {
      fetched = await client.fetch(partition, at)
    } catch (thrown) {
      error = NaruError.from(thrown)
      await pause(ASK_PAUSE_MS)
      continue
    }
    for (const value of fetched.values) values.push(value.trimEnd())
    offsets.push(...fetched.offsets)
    at = fetched.nextOffset
    if (at >= fetched.highWatermark) {
      end({ type: 'ok', values, offsets, endOffset: fetched.highWatermark })
      return true
    }
  }
  end({ type: 'info', error: `${error.reason}: ${error.message}` })
  return false
}
