import { ByteBudget } from './byte-budget.ts'
import { ConcurrencyLimit } from './concurrency-limit.ts'

/** What was read from logs and not sent yet, on the whole node. Readers wait in line for it. */
const READ_BYTES_IN_FLIGHT_MAX = 256 * 1024 * 1024
/**
 * Of frames that their clients have not taken yet. Nobody waits for these, since whoever holds them may never take
 * them; but while there are more, reads and frames are small, so that thousands of slow readers fit beside each other
 * (a reader that stalls is cut in the end, by `src/rpc`).
 */
const UNSENT_BYTES_MAX = 128 * 1024 * 1024
const SMALL_FRAME_BYTES = 64 * 1024
/** A search by timestamp reads an index and some of the log: more at a time only queue up at the disk. */
const LOOKUPS_MAX = 32
/** Ten of the largest ListOffsets. */
const LOOKUPS_WAITING_MAX = 100_000

/** What all readers of a node share. */
export class ReadMemory {
  readonly budget: ByteBudget
  readonly lookups = new ConcurrencyLimit({
    what: 'searches for positions',
    runningMax: LOOKUPS_MAX,
    waitingMax: LOOKUPS_WAITING_MAX,
  })
  #unsentBytes = 0

  constructor(options: { bytesMax?: number | undefined } = {}) {
    this.budget = new ByteBudget(options.bytesMax ?? READ_BYTES_IN_FLIGHT_MAX)
  }

  /** Whoever cannot send now should hold nothing: others can. */
  get isShort(): boolean {
    return this.budget.takenBytes > this.budget.bytesMax / 2 || this.#isCrowded
  }

  /** What a read, or the records of a frame, should not exceed now by more than a batch. */
  get frameBytesMax(): number {
    return this.#isCrowded ? SMALL_FRAME_BYTES : Number.POSITIVE_INFINITY
  }

  /** Also with a negative number, once they are taken. */
  addUnsent(bytes: number): void {
    this.#unsentBytes += bytes
  }

  get #isCrowded(): boolean {
    return this.#unsentBytes > UNSENT_BYTES_MAX
  }
}
