import { NaruError } from '../../base/errors.ts'
import { SerialQueue } from '../../log/serial-queue.ts'
import type { KeyValueChange, KeyValuePair, KeyValueStore } from '../../ports/key-value-store.ts'

export interface ViewStoreOptions {
  readonly store: KeyValueStore
  /** The next start makes the store anew; durable when it resolves. */
  readonly outdateStore: () => Promise<void>
  readonly onError: (error: NaruError) => void
}

/**
 * LevelDB as the views of groups use it: one change at a time, each synced. It is a convenience that a node does without
 * (the log has it all): a store that cannot be written is used no more until the next start, and nobody fails. Where what
 * is in it must go all the same, that start makes it anew (`outdate`).
 */
export class ViewStore {
  readonly #store: KeyValueStore
  readonly #outdate: () => Promise<void>
  readonly #onError: (error: NaruError) => void
  readonly #queue = new SerialQueue()
  #failure: NaruError | undefined
  #isClosed = false

  constructor({ store, outdateStore, onError }: ViewStoreOptions) {
    this.#store = store
    this.#outdate = outdateStore
    this.#onError = onError
  }

  /** Why it is used no more. */
  get failure(): NaruError | undefined {
    return this.#failure
  }

  /** Runs what changes the store, after all before it. False: it failed, now or before; the node goes on. */
  change(work: () => Promise<unknown>): Promise<boolean> {
    return this.#queue.run(async () => {
      if (this.#failure || this.#isClosed) return false
      try {
        await work()
        return true
      } catch (thrown) {
        this.#fail(NaruError.from(thrown))
        return false
      }
    })
  }

  get(key: Buffer): Promise<Buffer | undefined> {
    return this.#store.get(key)
  }

  /** Within `change`. */
  async write(changes: readonly KeyValueChange[]): Promise<void> {
    await this.#store.write(changes, { sync: true })
  }

  /** Within `change`. Not durable before the next write. */
  async clear(range: { from: Buffer; to: Buffer }): Promise<void> {
    await this.#store.clear(range)
  }

  async *pages(range: { from: Buffer; to: Buffer }): AsyncIterable<readonly KeyValuePair[]> {
    if (!this.#failure && !this.#isClosed) yield* this.#store.pages(range)
  }

  /** Where a change failed that must not be left undone: nobody believes what is in the store, now or after a restart. */
  async outdate(): Promise<void> {
    if (this.#isClosed) throw new NaruError('CLOSED', 'the view of groups is closed')
    await this.#outdate()
  }

  /** What is in it is not as it was written. */
  report(error: NaruError): void {
    this.#onError(error)
  }

  /** Resolves when nothing is under way; nothing begins after that. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#queue.run(async () => {})
  }

  #fail(error: NaruError): void {
    this.#failure = error
    this.#onError(
      new NaruError(
        error.reason,
        `the view of groups in LevelDB is not kept until this node is restarted: coordinators that move here replay the log (${error.message})`,
        { cause: error },
      ),
    )
  }
}
