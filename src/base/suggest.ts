/**
 * The candidate that was most likely meant by a misspelt `word`, or undefined when none is near: at most a
 * third of the word's letters may differ (two for short words), counting a swap of neighbours as one.
 */
export function suggest(word: string, candidates: Iterable<string>): string | undefined {
  const typed = word.toLowerCase().slice(0, WORD_LENGTH_MAX)
  const distances = new Distances(typed)
  let best: string | undefined
  let bestDistance = Math.max(2, Math.floor(typed.length / 3)) + 1
  for (const candidate of candidates) {
    if (distances.isExhausted) break
    if (Math.abs(candidate.length - typed.length) >= bestDistance) continue
    const distance = distances.to(candidate.toLowerCase(), bestDistance)
    if (distance < bestDistance && distance < candidate.length) {
      best = candidate
      bestDistance = distance
    }
  }
  return best
}

/** ` (did you mean "retention.ms"?)`, or nothing: to end a message with. */
export function didYouMean(word: string, candidates: Iterable<string>): string {
  const near = suggest(word, candidates)
  return near === undefined ? '' : ` (did you mean "${near}"?)`
}

/** A distance costs length x length, and there is one per candidate; the word may come from the network. */
const WORD_LENGTH_MAX = 128
/** Cells of all distances to one word: about a millisecond. What it does not reach is not suggested. */
const CELLS_MAX = 200_000

/** Optimal string alignment: insert, delete, replace, or swap two neighbours. */
class Distances {
  readonly #word: string
  #beforeLast: Uint16Array
  #last: Uint16Array
  #row: Uint16Array
  #cells = 0

  constructor(word: string) {
    this.#word = word
    const size = word.length + 1
    this.#beforeLast = new Uint16Array(size)
    this.#last = new Uint16Array(size)
    this.#row = new Uint16Array(size)
  }

  get isExhausted(): boolean {
    return this.#cells >= CELLS_MAX
  }

  /** The distance, or anything from `limit` on where it is not below. */
  to(other: string, limit: number): number {
    const size = this.#word.length + 1
    for (let column = 0; column < size; column++) this.#last[column] = column
    for (let i = 1; i <= other.length; i++) {
      this.#cells += size
      const least = this.#fillRow(other, i)
      const spare = this.#beforeLast
      this.#beforeLast = this.#last
      this.#last = this.#row
      this.#row = spare
      // A swap may still build on the row before.
      if (least > limit) return least
    }
    return this.#last[size - 1] as number
  }

  /** Returns its smallest cell: later rows have none below that less one. */
  #fillRow(other: string, i: number): number {
    const word = this.#word
    const row = this.#row
    const letter = other.charCodeAt(i - 1)
    const before = i > 1 ? other.charCodeAt(i - 2) : Number.NaN
    row[0] = i
    let least = i
    for (let j = 1; j <= word.length; j++) {
      const isSame = word.charCodeAt(j - 1) === letter
      const replace = (this.#last[j - 1] as number) + (isSame ? 0 : 1)
      let cost = Math.min(replace, (this.#last[j] as number) + 1, (row[j - 1] as number) + 1)
      if (j > 1 && word.charCodeAt(j - 2) === letter && word.charCodeAt(j - 1) === before)
        cost = Math.min(cost, (this.#beforeLast[j - 2] as number) + 1)
      row[j] = cost
      if (cost < least) least = cost
    }
    return least
  }
}
