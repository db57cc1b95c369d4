import type { Logger } from '../../base/logger.ts'
import { ClusterNodes } from '../../client/cluster-nodes.ts'
import { Connection } from '../../client/connection.ts'
import { MetadataCache } from '../../client/metadata-cache.ts'
import type { Clock } from '../../ports/clock.ts'
import { InProcessTransport } from '../../ports/in-process-transport.ts'
import type { Prng } from '../../ports/prng.ts'
import type { ServiceHandlers } from '../../ports/transport.ts'

export interface OwnClientOptions {
  /** What this node serves; complete by the time of the first `get`. */
  readonly handlers: ServiceHandlers
  readonly clock: Clock
  readonly prng: Prng
  readonly logger: Logger
}

export interface OwnClientParts {
  readonly connection: Connection
  readonly metadata: MetadataCache
}

const OWN_ADDRESS = 'this-node'

/**
 * A client of the SDK inside the node, over its own handlers: what thin clients are served by. All of them share one
 * picture of the cluster. It is made when the first one needs it.
 */
export class OwnClient {
  readonly #options: OwnClientOptions
  #parts: (OwnClientParts & { readonly ready: Promise<void> }) | undefined
  #isClosed = false

  constructor(options: OwnClientOptions) {
    this.#options = options
  }

  /** With a whole picture of the cluster. */
  async get(): Promise<OwnClientParts> {
    this.#parts ??= this.#make()
    await this.#parts.ready
    return this.#parts
  }

  close(): void {
    this.#isClosed = true
    this.#parts?.metadata.close()
    this.#parts?.connection.close()
  }

  #make(): OwnClientParts & { readonly ready: Promise<void> } {
    const { handlers, clock, prng, logger } = this.#options
    const transport = new InProcessTransport({
      handlers,
      clock,
      onFailure: (path, thrown) => {
        if (!this.#isClosed)
          logger.error({ path, error: String(thrown) }, 'a call of this node to itself failed')
      },
    })
    const nodes = new ClusterNodes({ transport, clock, bootstrap: [OWN_ADDRESS], isEntryOnly: true })
    const connection = new Connection({
      clock,
      prng,
      nodes,
      requestTimeoutMs: 30_000,
      retryBackoffMs: 50,
      retryBackoffMaxMs: 1_000,
    })
    const metadata = new MetadataCache(connection)
    return { connection, metadata, ready: metadata.start() }
  }
}
