import type { ProducerId } from '../../base/brands.ts'

/** Producer ids `first` ... `first + count - 1`, which no other node will ever hand out. */
export interface ProducerIdBlock {
  readonly first: ProducerId
  readonly count: number
}

/**
 * Hands out producer ids from blocks that the controller gives to this node. Ids that a restart leaves unused in
 * a block are never used: there are 2^53.
 */
export class ProducerIds {
  readonly #allocate: () => Promise<ProducerIdBlock>
  #next: ProducerId = 0
  #end: ProducerId = 0
  #allocating: Promise<void> | undefined

  constructor(options: { allocate: () => Promise<ProducerIdBlock> }) {
    this.#allocate = options.allocate
  }

  async next(): Promise<ProducerId> {
    // Those who waited may find that the others took the whole block.
    while (this.#next >= this.#end) {
      this.#allocating ??= this.#takeBlock()
      await this.#allocating
    }
    return this.#next++
  }

  async #takeBlock(): Promise<void> {
    try {
      const block = await this.#allocate()
      this.#next = block.first
      this.#end = block.first + block.count
    } finally {
      this.#allocating = undefined
    }
  }
}
