import type { HistoryEvent, OperationKind, Outcome } from './history.ts'

interface Told {
  readonly process?: string
  readonly node?: number
  readonly partition?: string
  readonly startOffset?: number
  readonly endOffset?: number
  readonly group?: string
  /** Default: begun and ended after everything before. */
  readonly fromMs?: number
  readonly toMs?: number
}

/** Histories by hand: one call an operation, on partition p-0 unless it says otherwise. */
export class HistoryBuilder {
  readonly events: HistoryEvent[] = []
  #nowMs = 0
  #id = 0

  /** Values from `baseOffset` on. */
  sent(values: readonly string[] | string, baseOffset: number | readonly number[], told: Told = {}): this {
    const list = typeof values === 'string' ? [values] : values
    const offsets = typeof baseOffset === 'number' ? list.map((_, at) => baseOffset + at) : baseOffset
    return this.#add('send', 'ok', { process: 'producer', ...told }, { values: list, offsets })
  }

  refused(value: string, told: Told = {}): this {
    return this.#add('send', 'fail', { process: 'producer', ...told }, { values: [value] })
  }

  unanswered(value: string, told: Told = {}): this {
    return this.#add('send', 'info', { process: 'producer', ...told }, { values: [value] })
  }

  assigned(told: Told = {}): this {
    return this.#add('assign', 'ok', { process: 'reader', ...told }, {})
  }

  /** `[offset, value]`, as in Object.entries. */
  polled(records: readonly (readonly [number, string])[], told: Told = {}): this {
    return this.#add('poll', 'ok', { process: 'reader', ...told }, read(records))
  }

  fetched(records: readonly (readonly [number, string])[], told: Told = {}): this {
    const from = records[0]?.[0]
    const place = from === undefined ? {} : { startOffset: from, endOffset: (records.at(-1)?.[0] ?? 0) + 1 }
    return this.#add('fetch', 'ok', { process: 'fetcher', node: 1, ...place, ...told }, read(records))
  }

  latest(endOffset: number, told: Told = {}): this {
    return this.#add('latest', 'ok', { process: 'asker', node: 1, ...told, endOffset }, {})
  }

  committed(position: number, told: Told = {}): this {
    return this.#add('commit', 'ok', { process: 'reader', ...told }, { position })
  }

  /** A commit of unknown outcome. */
  maybeCommitted(position: number, told: Told = {}): this {
    return this.#add('commit', 'info', { process: 'reader', ...told }, { position })
  }

  /** Undefined: nothing. */
  toldCommitted(position: number | undefined, told: Told = {}): this {
    return this.#add(
      'committed',
      'ok',
      { process: 'reader', ...told },
      position === undefined ? {} : { position },
    )
  }

  /** By the coordinator's record: the process has the partition, from what was committed on. */
  owned(position: number, told: Told = {}): this {
    return this.#add('own', 'ok', { process: 'reader', group: 'g', ...told }, { position })
  }

  /** By the coordinator's record: the group has committed this. */
  stored(position: number, told: Told = {}): this {
    return this.#add('stored', 'ok', { process: 'record', group: 'g', ...told }, { position })
  }

  hung(told: Told): this {
    return this.#add('hang', 'ok', { process: 'nemesis', partition: '', ...told }, {})
  }

  unrest(told: Told): this {
    return this.#add('unrest', 'ok', { process: 'nemesis', partition: '', ...told }, {})
  }

  /** The final phase. */
  drained(records: readonly (readonly [number, string])[], told: Told = {}): this {
    const endOffset = (records.at(-1)?.[0] ?? -1) + 1
    return this.#add('drain', 'ok', { process: 'drain', node: 1, endOffset, ...told }, read(records))
  }

  #add(
    op: OperationKind,
    outcome: Outcome,
    told: Told,
    content: { values?: readonly string[]; offsets?: readonly number[]; position?: number },
  ): this {
    const id = this.#id++
    const fromMs = told.fromMs ?? this.#nowMs + 1
    const toMs = told.toMs ?? fromMs + 1
    this.#nowMs = Math.max(this.#nowMs, toMs)
    const { process = op, node, partition = 'p-0', startOffset, endOffset, group } = told
    const position = content.position === undefined ? {} : { position: content.position }
    const values = content.values === undefined ? {} : { values: content.values }
    this.events.push({
      id,
      type: 'invoke',
      op,
      process,
      partition,
      timeMs: fromMs,
      ...(node === undefined ? {} : { node }),
      ...(startOffset === undefined ? {} : { startOffset }),
      ...(group === undefined ? {} : { group }),
      ...(op === 'send' ? values : {}),
      ...(op === 'committed' ? {} : position),
    })
    this.events.push({
      id,
      type: outcome,
      timeMs: toMs,
      ...(op === 'send' ? {} : values),
      ...(content.offsets === undefined ? {} : { offsets: content.offsets }),
      ...(endOffset === undefined ? {} : { endOffset }),
      ...(op === 'committed' ? position : {}),
    })
    return this
  }
}

function read(records: readonly (readonly [number, string])[]): { values: string[]; offsets: number[] } {
  return { values: records.map(([, value]) => value), offsets: records.map(([offset]) => offset) }
}
