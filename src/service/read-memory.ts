import { ByteBudget } from './byte-budget.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'

/** What was read from logs and not sent yet, on the whole node. Readers wait in line for it. */
const READ_BYTES_IN_FLIGHT_MAX = 256 * 1024 * 1024
/** A search by timestamp reads an index and some of the log: more at a time only queue up at the disk. */
const LOOKUPS_MAX = 32

/** What all readers of a node share. */
export class ReadMemory {
  readonly budget: ByteBudget
  readonly lookups = new ConcurrencyLimit(LOOKUPS_MAX)

  constructor(options: { bytesMax?: number | undefined } = {}) {
    this.budget = new ByteBudget(options.bytesMax ?? READ_BYTES_IN_FLIGHT_MAX)
  }

  /** Whoever cannot send now should hold nothing: others can. */
  get isShort(): boolean {
    return this.budget.takenBytes > this.budget.bytesMax / 2
  }
}
