import type { EpochEnd, LogView } from '../../src/replication/log-view.ts'

export interface ArrayRecord {
  readonly epoch: number
  readonly value: string
}

/** A log as an array, without cleverness: what the cores read of a log, and what tests do to it. */
export class ArrayLog implements LogView {
  /** All records that ever were here; those below `logStartOffset` are only looked at by oracles. */
  records: ArrayRecord[]
  logStartOffset = 0
  highWatermark = 0
  removedTombstonesEnd = 0
  removals = 0

  constructor(records: readonly ArrayRecord[] = []) {
    this.records = [...records]
  }

  /** `1122` is two records of epoch 1, then two of epoch 2. */
  static ofEpochs(epochs: string): ArrayLog {
    return new ArrayLog([...epochs].map((epoch, at) => ({ epoch: Number(epoch), value: `${epoch}@${at}` })))
  }

  get logEndOffset(): number {
    return this.records.length
  }

  get latestEpoch(): number | undefined {
    const last = this.records.at(-1)
    return last === GONE ? undefined : last?.epoch
  }

  get epochs(): string {
    return this.records.map(record => record.epoch).join('')
  }

  endOffsetForEpoch(epoch: number): EpochEnd | undefined {
    // Of a log that retention emptied the last epoch is remembered.
    const first = Math.min(this.logStartOffset, Math.max(0, this.records.length - 1))
    for (let at = this.records.length - 1; at >= first; at--) {
      const found = this.records[at]
      if (found && found !== GONE && found.epoch <= epoch) return { epoch: found.epoch, endOffset: at + 1 }
    }
    return undefined
  }

  truncateTo(offset: number): void {
    this.records.length = Math.min(offset, this.records.length)
    this.highWatermark = Math.min(this.highWatermark, offset)
  }

  resetTo(offset: number): void {
    this.records = Array.from({ length: offset }, () => GONE)
    this.logStartOffset = offset
    this.highWatermark = offset
  }
}

/** Stands below the start of a log that was reset. */
const GONE: ArrayRecord = { epoch: 0, value: 'gone' }
