import Table from 'cli-table3'

export type OutputFormat = 'table' | 'json'

export interface Column<Row> {
  readonly title: string
  readonly value: (row: Row) => string | number
}

/** A borderless table, numbers to the right, as people and `awk` both read it. */
export function formatTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string {
  const cells = rows.map(row => columns.map(column => column.value(row)))
  const isNumber = columns.map(
    (_, index) => rows.length > 0 && cells.every(row => typeof row[index] === 'number'),
  )
  const table = new Table({
    head: columns.map(column => column.title),
    colAligns: isNumber.map(number => (number ? 'right' : 'left')),
    chars: NO_BORDERS,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 2 },
  })
  table.push(...cells.map(row => row.map(String)))
  return table
    .toString()
    .split('\n')
    .map(line => line.trimEnd())
    .join('\n')
}

/** One document, indented: for programs, and still readable. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, undefined, 2)
}

export function formatCount(count: number): string {
  return count.toLocaleString('en-US')
}

export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let unit = 0
  let size = bytes
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024
    unit++
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`
}

/** `10,000 records in 0.52 s (19,231 records/s, 4.3 MiB/s)` */
export function rateText(done: { records: number; bytes: number }, durationMs: number): string {
  const seconds = Math.max(durationMs, 1) / 1000
  const rates = `${formatCount(Math.round(done.records / seconds))} records/s, ${formatBytes(Math.round(done.bytes / seconds))}/s`
  return `${plural(done.records, 'record')} in ${seconds.toFixed(2)} s (${rates})`
}

/** `1 record`, `2 records`. */
export function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? '' : 's'}`
}

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '',
}
