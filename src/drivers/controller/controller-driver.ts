import { assert } from '../../base/assert.ts'
import type { MetadataIndex } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import { MachineRuntime } from '../../machine/machine-runtime.ts'
import type { Handler } from '../../machine/state-machine.ts'
import type { MetadataDelta } from '../../metadata/metadata-delta.ts'
import { MetadataImage } from '../../metadata/metadata-image.ts'
import type { MetadataRecord } from '../../metadata/metadata-record.ts'
import type { MetadataEntry, MetadataLog, MetadataLogListener } from './metadata-log.ts'

/** Changes that wait for their commit; more are refused with OVERLOADED. */
const PENDING_CHANGES_MAX = 10_000

/** Is told of each committed change, in the turn of its commit, after the image has it. */
export type MetadataSubscriber = (delta: MetadataDelta, image: MetadataImage) => void

/**
 * The metadata of the cluster on this node: the log below, two images above. `image` holds what is committed and
 * is what every part of the node reads; `newest` runs ahead of the commit, and only handlers see it.
 *
 * Order at a commit: the committed image changes, subscribers act on the delta, then the answers leave. So who
 * has an answer finds its effect in the image of this node (read-your-writes).
 */
export class ControllerDriver implements MetadataLogListener {
  readonly image = new MetadataImage()
  readonly #newest = new MetadataImage()
  readonly #runtime: MachineRuntime<MetadataRecord>
  readonly #subscribers = new Set<MetadataSubscriber>()
  #uncommitted: MetadataEntry[] = []
  #log: MetadataLog | undefined
  #failure: NaruError | undefined

  constructor() {
    this.#runtime = new MachineRuntime<MetadataRecord>({
      machine: this.#newest,
      registry: this.#newest.registry,
      append: records => this.#append(records),
      lostLeadership: outcome =>
        this.#failure ??
        new NaruError('NOT_CONTROLLER', 'this node is not the controller now: try again', { outcome }),
      pendingMax: PENDING_CHANGES_MAX,
    })
  }

  /** An entry that the log held at its opening; committed. Before `lead`. */
  load(entry: MetadataEntry): void {
    this.#runtime.load(entry)
    this.#runtime.onCommitted(entry.endIndex)
    this.image.apply(entry)
  }

  /** All of `log` is loaded: handlers run from now on. */
  lead(log: MetadataLog): void {
    assert(log.endIndex === this.#runtime.endIndex, 'a controller leads with its whole log loaded')
    this.#log = log
    this.#runtime.lead()
  }

  /** Runs a handler against the newest state; resolves with its response once its records are committed. */
  submit<T>(handler: (newest: MetadataImage) => ReturnType<Handler<MetadataRecord, T>>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#runtime.write(
        () => handler(this.#newest),
        outcome => (outcome.ok ? resolve(outcome.response) : reject(outcome.error)),
      )
    })
  }

  /** Returns how to stop it. */
  subscribe(subscriber: MetadataSubscriber): () => void {
    this.#subscribers.add(subscriber)
    return () => this.#subscribers.delete(subscriber)
  }

  onCommitted(endIndex: MetadataIndex): void {
    const count = this.#uncommitted.findIndex(entry => entry.endIndex > endIndex)
    const committed = this.#uncommitted.splice(0, count < 0 ? this.#uncommitted.length : count)
    for (const entry of committed) {
      const delta = this.image.apply(entry)
      for (const subscriber of this.#subscribers) subscriber(delta, this.image)
    }
    const last = committed.at(-1)
    if (last !== undefined) this.#runtime.onCommitted(last.endIndex)
  }

  onFailed(error: NaruError): void {
    this.#failure = error
    this.#uncommitted = []
    this.#runtime.resign()
  }

  async close(): Promise<void> {
    const log = this.#log
    if (log === undefined) return
    await log.close()
    this.onFailed(new NaruError('NODE_DRAINING', 'this node is stopping: try another one, or again later'))
  }

  #append(records: readonly MetadataRecord[]): MetadataIndex {
    assert(this.#log !== undefined, 'a controller that leads has its log')
    const endIndex = this.#log.append(records)
    this.#uncommitted.push({ records, endIndex })
    return endIndex
  }
}
