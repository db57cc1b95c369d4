import type { Offset, PartitionId } from '../../base/brands.ts'
import { NaruError } from '../../base/errors.ts'
import type { MemberStream } from '../../groups/group-result.ts'
import { emptySlice, type LogSlice, type ReadRange } from '../../log/log-tail.ts'
import type { PartitionLog } from '../../log/partition-log.ts'
import { type Clock, turn } from '../../ports/clock.ts'
import type { KeyValueChange } from '../../ports/key-value-store.ts'
import type { AttendedTime } from '../replicas/attended-time.ts'
import type { DerivedView, ViewedPartition } from '../replicas/derived-view.ts'
import { DisconnectNotes } from './disconnect-notes.ts'
import { type StoredRecord, storedBatches } from './group-batches.ts'
import {
  decodeViewState,
  decodeViewValue,
  encodeViewState,
  encodeViewValue,
  foreignRows,
  recordKeyOf,
  rowKey,
  type ViewState,
  viewRange,
  viewStateKey,
} from './group-view-codec.ts'
import type { ViewStore } from './view-store.ts'

/** Read, decoded and given to others in one turn of the event loop. */
const CHUNK_BYTES = 128 * 1024

/**
 * What one partition of `__groups` holds, by key, in LevelDB: read by a coordinator that takes over, so that it need not
 * replay the log from its start. It follows the log on leaders and followers alike, up to what is committed and synced
 * here (D2), and never contradicts it: in doubt it is begun anew, from the start of the log.
 *
 * Invariants: everything below `appliedEnd` of the stored state is in the rows of its view id, and nothing else is; the
 * log holds, at `appliedEnd` - 1, a record of the epoch that the state names. What changes the store runs in its queue.
 */
export class PartitionView implements DerivedView {
  readonly #partition: PartitionId
  readonly #store: ViewStore
  readonly #clock: Clock
  readonly #drawId: () => Buffer
  readonly #onChange: () => void
  readonly #disconnects: DisconnectNotes
  #of: ViewedPartition | undefined
  /** As it is stored; undefined: not known yet, or nothing is. */
  #state: ViewState | undefined

  constructor(options: PartitionViewOptions) {
    this.#partition = options.partition
    this.#store = options.store
    this.#clock = options.clock
    this.#drawId = options.drawId
    this.#onChange = options.onChange
    this.#disconnects = new DisconnectNotes(options.time)
  }

  /** What the log holds below is in the view: the cleaner may have that. */
  get appliedEnd(): Offset {
    return this.#state?.appliedEnd ?? 0
  }

  get isOpen(): boolean {
    return this.#of !== undefined
  }

  /** See DisconnectNotes. */
  disconnectedMs(stream: MemberStream): number {
    return this.#disconnects.disconnectedMs(stream)
  }

  async onOpened(of: ViewedPartition): Promise<void> {
    await this.#store.change(async () => {
      const state = await this.#readState()
      if (state !== undefined && isSound(state, of)) {
        this.#state = state
        await this.#clearForeign(state)
      } else await this.#begin(of)
    })
    this.#of = of
    // What the view has not read must not be taken from the log (B8).
    of.log.limitCleaning({ cleanableEnd: () => this.appliedEnd })
    this.#onChange()
  }

  async forget(): Promise<void> {
    this.#disconnects.clear()
    const isDone = await this.#store.change(async () => {
      this.#state = undefined
      await this.#store.write([{ kind: 'delete', key: viewStateKey(this.#partition) }])
      await this.#store.clear(viewRange(this.#partition))
    })
    if (isDone) return
    this.#state = undefined
    await this.#store.outdate()
  }

  onClosed(): void {
    this.#of = undefined
    this.#disconnects.clear()
    this.#onChange()
  }

  /**
   * What the view lacks, as far as `bytesMax` goes; to be written, then `applied`. Runs in the queue of the store.
   * undefined: nothing.
   */
  async gather(bytesMax: number): Promise<ViewStep | undefined> {
    const of = this.#of
    if (of === undefined || !of.isInStep() || of.log.failure !== undefined) return undefined
    if (this.#state === undefined || !isSound(this.#state, of)) await this.#begin(of)
    const state = this.#state
    if (state === undefined) return undefined
    const { log } = of
    const { generation } = log
    const upTo = Math.min(log.highWatermark, log.syncedEndOffset)
    const isCurrent = () => this.#of === of && this.#state === state && log.generation === generation
    const found = await this.#read(log, { from: state.appliedEnd, upTo, bytesMax, isCurrent })
    for (const row of found.rows.values()) this.#disconnects.onRecord(row)
    if (found.endOffset === state.appliedEnd) return undefined
    const next: ViewState = {
      ...state,
      appliedEnd: found.endOffset,
      appliedEpoch: log.epochAt(found.endOffset - 1),
    }
    return {
      sizeBytes: found.sizeBytes,
      isCurrent,
      changes: () => [...this.#rowChanges(state, found.rows), this.#stateChange(next)],
      applied: () => {
        this.#state = next
      },
    }
  }

  /**
   * Gives each record of the view, and resolves to where in the log it ends. undefined: it is not to be trusted (it is
   * begun anew by itself), and nothing of what was given counts.
   */
  async load(each: (record: StoredRecord) => void): Promise<Offset | undefined> {
    const of = this.#of
    if (of === undefined) return undefined
    let state: ViewState | undefined
    try {
      for await (const page of this.#store.pages(viewRange(this.#partition)))
        for (const [key, value] of page) {
          const content = decodeViewValue(key, value)
          if (content === undefined) throw damaged(key)
          if (state !== undefined) {
            const recordKey = recordKeyOf(key, state.viewId)
            if (recordKey !== undefined) each({ key: recordKey, value: content })
            continue
          }
          state = key.equals(viewStateKey(this.#partition)) ? decodeViewState(content) : undefined
          if (state === undefined || !isSound(state, of)) return undefined
        }
      return state?.appliedEnd
    } catch (thrown) {
      if (!(thrown instanceof NaruError)) throw thrown
      this.#store.report(thrown)
      void this.#store.change(async () => this.#of === of && this.#begin(of))
      return undefined
    }
  }

  /** Begins with nothing, under a new id; first of all so that nobody takes the old rows for anything. */
  async #begin(of: ViewedPartition): Promise<void> {
    this.#state = undefined
    const state: ViewState = {
      topicId: of.topicId,
      viewId: this.#drawId(),
      appliedEnd: of.log.logStartOffset,
      appliedEpoch: undefined,
    }
    await this.#store.write([this.#stateChange(state)])
    this.#state = state
    await this.#clearForeign(state)
  }

  /** Rows that nobody reads: they need not go for good. */
  async #clearForeign({ viewId }: ViewState): Promise<void> {
    for (const range of foreignRows(this.#partition, viewId)) await this.#store.clear(range)
  }

  async #readState(): Promise<ViewState | undefined> {
    const key = viewStateKey(this.#partition)
    const value = await this.#store.get(key)
    const content = value && decodeViewValue(key, value)
    return content && decodeViewState(content)
  }

  /** By key, the newest of each. A log that cannot be read now is its own matter, and says so itself. */
  async #read(
    log: PartitionLog,
    range: { from: Offset; upTo: Offset; bytesMax: number; isCurrent: () => boolean },
  ): Promise<{ rows: ReadonlyMap<string, StoredRecord>; endOffset: Offset; sizeBytes: number }> {
    const rows = new Map<string, StoredRecord>()
    let endOffset = range.from
    let sizeBytes = 0
    while (endOffset < range.upTo && sizeBytes < range.bytesMax && range.isCurrent()) {
      const slice = await readQuietly(log, { from: endOffset, upTo: range.upTo, maxBytes: CHUNK_BYTES })
      if (slice.nextOffset === endOffset) break
      for (const { records } of storedBatches(slice))
        for (const record of records) rows.set(record.key.toString('latin1'), record)
      endOffset = slice.nextOffset
      sizeBytes += slice.sizeBytes
      await turn(this.#clock)
    }
    return { rows, endOffset, sizeBytes }
  }

  *#rowChanges({ viewId }: ViewState, rows: ReadonlyMap<string, StoredRecord>): Iterable<KeyValueChange> {
    for (const record of rows.values()) {
      const key = rowKey(this.#partition, viewId, record.key)
      if (record.value === null) yield { kind: 'delete', key }
      else yield { kind: 'put', key, value: encodeViewValue(key, record.value) }
    }
  }

  #stateChange(state: ViewState): KeyValueChange {
    const key = viewStateKey(this.#partition)
    return { kind: 'put', key, value: encodeViewValue(key, encodeViewState(state)) }
  }
}

export interface PartitionViewOptions {
  readonly partition: PartitionId
  readonly store: ViewStore
  readonly clock: Clock
  /** By which it knows for how long members are gone. */
  readonly time: AttendedTime
  /** A view id that was never used. */
  readonly drawId: () => Buffer
  /** It was opened or closed. */
  readonly onChange: () => void
}

/** Some of what a view lacks. */
export interface ViewStep {
  readonly sizeBytes: number
  /** False: the log was cut or closed since; what was read may be nothing any more. */
  readonly isCurrent: () => boolean
  readonly changes: () => readonly KeyValueChange[]
  readonly applied: () => void
}

async function readQuietly(log: PartitionLog, range: ReadRange): Promise<LogSlice> {
  try {
    return await log.read(range)
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    return emptySlice(range.from)
  }
}

/** D2. An epoch and an offset name one record for ever, so equal ones mean equal logs up to there. */
function isSound(state: ViewState, { topicId, log }: ViewedPartition): boolean {
  const { appliedEnd, appliedEpoch } = state
  if (state.topicId !== topicId) return false
  if (appliedEnd < log.logStartOffset || appliedEnd > log.logEndOffset) return false
  return appliedEpoch === undefined || log.epochAt(appliedEnd - 1) === appliedEpoch
}

function damaged(key: Buffer): NaruError {
  return new NaruError(
    'CORRUPT_DATA',
    `the value of ${key.toString('hex')} in LevelDB has a wrong CRC: the view of groups is made anew from the log`,
  )
}
