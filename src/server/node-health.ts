import type { HealthSource } from '../rpc/health-service.ts'
import type { NodeStatusSource } from '../rpc/http-server.ts'
import type { Broker } from './broker.ts'

/** How the broker is, for those who decide whether to send it calls (readiness) or to restart it (health). */
export class NodeHealth implements HealthSource, NodeStatusSource {
  readonly #broker: Broker
  readonly #services: ReadonlySet<string>
  readonly #listeners = new Set<() => void>()

  constructor(broker: Broker) {
    this.#broker = broker
    // '' stands for the node as a whole.
    this.#services = new Set(['', ...[...broker.handlers.keys()].map(path => path.split('/')[1] as string)])
  }

  isServing(service: string): boolean | undefined {
    return this.#services.has(service) ? this.unreadyBecause() === undefined : undefined
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  unhealthyBecause(): string | undefined {
    return this.#broker.failure?.message
  }

  unreadyBecause(): string | undefined {
    return this.#broker.failure?.message ?? this.#broker.refusal?.message
  }

  /** The broker started or stopped serving. */
  changed(): void {
    for (const listener of this.#listeners) listener()
  }
}
