import { NaruError } from '../../base/errors.ts'
import { Producer } from '../../wire/methods.ts'
import type { Connection } from '../connection.ts'
import type { PartitionQueue } from './partition-queue.ts'
import type { ProducerIdentity } from './producer-batch.ts'

/** Hands out producer ids: one that all partitions share at first, and a new one to each that has to give up its own. */
export class Identities {
  readonly #connection: Connection
  #shared: Promise<ProducerIdentity> | undefined

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async give(queue: PartitionQueue, fresh: boolean): Promise<void> {
    let identity: ProducerIdentity
    try {
      identity = await (fresh ? this.#ask() : this.#first())
    } catch (thrown) {
      queue.failIdentity(NaruError.from(thrown))
      return
    }
    queue.useIdentity(identity)
  }

  #first(): Promise<ProducerIdentity> {
    this.#shared ??= this.#ask().catch(error => {
      this.#shared = undefined
      throw error
    })
    return this.#shared
  }

  async #ask(): Promise<ProducerIdentity> {
    // An id that is handed out and lost on its way costs nothing.
    return await this.#connection.call(Producer.initProducer, {}, { repeatable: true })
  }
}
