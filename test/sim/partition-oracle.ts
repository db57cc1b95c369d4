/**
 * What must hold of one partition, told from its clients' side alone: what they sent, what they were answered, what
 * they have read. Values are unique, so each is found again; a producer's values end in a rising number.
 *
 * A batch is `sent` (it may be stored from now on), then perhaps `acknowledged` (it is, there), or `refused` (its
 * sender was told that none of it happened, at every try). All others may be stored once, or not at all.
 */
export class PartitionOracle {
  readonly name: string
  /** `write.caching` was on at some time: a power cut may take the end of the log. */
  isCached = false
  readonly #acknowledged = new Map<number, string>()
  readonly #read = new Map<number, string>()
  readonly #sent = new Set<string>()
  readonly #refused = new Set<string>()
  #logStartMin = 0
  #logStartMax = 0
  #isPowerCut = false

  constructor(name: string) {
    this.name = name
  }

  get acknowledgedCount(): number {
    return this.#acknowledged.size
  }

  /** The log begins at or below this offset. */
  get logStartMax(): number {
    return this.#logStartMax
  }

  /** One behind the highest offset known to be stored. */
  get knownEnd(): number {
    return Math.max(0, ...this.#acknowledged.keys(), ...this.#read.keys()) + (this.isEmpty ? 0 : 1)
  }

  get isEmpty(): boolean {
    return this.#acknowledged.size + this.#read.size === 0
  }

  sent(values: readonly string[]): void {
    for (const value of values) this.#sent.add(value)
  }

  refused(values: readonly string[]): void {
    for (const value of values) this.#refused.add(value)
  }

  acknowledged(values: readonly string[], baseOffset: number): void {
    for (const [at, value] of values.entries()) {
      const known = this.#acknowledged.get(baseOffset + at) ?? this.#read.get(baseOffset + at)
      if (known !== undefined && known !== value)
        this.#fail(`${value} was answered with offset ${baseOffset + at}, where ${known} is`)
      this.#acknowledged.set(baseOffset + at, value)
    }
  }

  /** Records before `offset` may go from now on. */
  deleting(offset: number): void {
    this.#logStartMax = Math.max(this.#logStartMax, offset)
  }

  deleted(logStartOffset: number): void {
    this.#logStartMin = Math.max(this.#logStartMin, logStartOffset)
  }

  powerCut(): void {
    this.#isPowerCut = true
  }

  /** Everything from the log start to the high watermark, by a read that began when `knownEnd` was what it is given as. */
  check(log: { logStartOffset: number; values: readonly string[] }, knownEnd: number): void {
    const { logStartOffset, values } = log
    const endOffset = logStartOffset + values.length
    if (this.isCached && this.#isPowerCut) this.#forgetFrom(endOffset)
    this.#isPowerCut = false
    if (logStartOffset < this.#logStartMin || logStartOffset > this.#logStartMax)
      this.#fail(
        `the log starts at ${logStartOffset}, not within ${this.#logStartMin} ... ${this.#logStartMax}`,
      )
    for (const [offset, value] of [...this.#acknowledged, ...this.#read]) {
      if (offset < logStartOffset) continue
      // Stored while the read was under way.
      if (offset >= Math.max(knownEnd, endOffset)) continue
      const found = values[offset - logStartOffset]
      if (found !== value)
        this.#fail(`${value} was stored at offset ${offset}, where ${found ?? 'nothing'} is now`)
    }
    this.#checkValues(values)
    for (const [at, value] of values.entries()) this.#read.set(logStartOffset + at, value)
    this.deleted(logStartOffset)
  }

  #checkValues(values: readonly string[]): void {
    const seen = new Set<string>()
    const latest = new Map<string, number>()
    for (const value of values) {
      if (!this.#sent.has(value)) this.#fail(`${value} was never sent here`)
      if (this.#refused.has(value)) this.#fail(`${value} was refused for certain, and is there`)
      if (seen.has(value)) this.#fail(`${value} is there twice`)
      seen.add(value)
      const [producer = '', number] = value.split('#')
      if (Number.parseInt(number ?? '', 10) < (latest.get(producer) ?? -1))
        this.#fail(`${value} comes after a later one of its producer`)
      latest.set(producer, Number.parseInt(number ?? '', 10))
    }
  }

  #forgetFrom(endOffset: number): void {
    for (const known of [this.#acknowledged, this.#read])
      for (const offset of [...known.keys()]) if (offset >= endOffset) known.delete(offset)
  }

  #fail(what: string): never {
    throw new Error(`${this.name}: ${what}`)
  }
}
