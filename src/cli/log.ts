import type { Command } from 'commander'
import { NaruError } from '../base/errors.ts'
import { type FoundBatch, type FoundRecord, LogTools, type SegmentReport } from '../server/log-tools.ts'
import { addOutputOption, type OutputFlags } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { LineWriter } from './line-writer.ts'
import { formatBytes, formatJson, formatTable, plural } from './output.ts'
import { startProgress } from './progress.ts'
import { recordAsJson } from './record-json.ts'

export function addLogCommands(program: Command, context: CliContext): void {
  const log = program.command('log').description('look into the files of a data directory, without a node')
  log
    .command('dump <path>')
    .description('print the batches of a segment file, or of all below a directory')
    .option('--records', 'print each record, as one JSON document a line, instead of the batches')
    .action(async (path: string, flags: { records?: boolean }) => {
      await dump(path, flags.records === true, context)
    })
  addOutputOption(log.command('verify <path>'))
    .description('check every batch and index entry of a segment file, or of all below a directory')
    .action(async (path: string, flags: OutputFlags) => {
      await verify(path, flags, context)
    })
}

async function dump(path: string, withRecords: boolean, context: CliContext): Promise<void> {
  const tools = await LogTools.open()
  const writer = new LineWriter(context.stdout)
  for (const file of await tools.segmentFiles(path)) {
    if (writer.isClosed) return
    if (!withRecords) writer.add(Buffer.from(`segment ${file}`))
    const defect = await tools.eachBatch(file, async batch => {
      const lines = withRecords ? batch.records().map(recordLine) : [batchLine(batch)]
      let isDue = false
      for (const line of lines) isDue = writer.add(Buffer.from(line))
      if (isDue) await writer.flush()
      return !writer.isClosed
    })
    // What stands before the damage is shown before it is told.
    await writer.flush()
    if (defect) throw damaged([defect])
  }
}

function batchLine({ position, header, lastOffset, records }: FoundBatch): string {
  const { baseOffset, sizeInBytes, leaderEpoch, recordCount, compression, maxTimestamp } = header
  const { producerId, producerEpoch, baseSequence } = header
  return [
    `  offsets ${baseOffset}-${lastOffset} position ${position} bytes ${sizeInBytes} records ${recordCount}`,
    `epoch ${leaderEpoch} compression ${compression} time ${timeText(maxTimestamp)}`,
    ...(producerId >= 0 ? [`producer ${producerId}/${producerEpoch} sequence ${baseSequence}`] : []),
    ...(header.isTransactional ? ['transactional'] : []),
    ...(header.isControl ? records().map(({ control }) => `control ${control?.type}`) : []),
  ].join(' ')
}

/** Of a control record its meaning instead of its bytes. */
function recordLine({ control, ...record }: FoundRecord): string {
  const { offset, timestamp: timestampMs } = record
  const { type, coordinatorEpoch } = control ?? {}
  const shown = control
    ? { offset, timestampMs, control: type, coordinatorEpoch }
    : recordAsJson({ ...record, timestampMs })
  return JSON.stringify(shown)
}

async function verify(path: string, flags: OutputFlags, context: CliContext): Promise<void> {
  const tools = await LogTools.open()
  const files = await tools.segmentFiles(path)
  const progress = startProgress({
    label: 'verifying',
    total: files.length,
    format: done => `${done} of ${plural(files.length, 'segment')}`,
  })
  const reports: SegmentReport[] = []
  try {
    for (const file of files) {
      reports.push(await tools.verify(file, { isLast: isLastOfDirectory(file, files) }))
      progress.advance(reports.length)
    }
  } finally {
    progress.stop()
  }
  say(context.stdout, flags.output === 'json' ? formatJson(reports) : reportText(reports))
  const defects = reports.flatMap(report => report.defects).filter(defect => !defect.isTornTail)
  if (defects.length > 0) throw damaged(defects)
}

function reportText(reports: readonly SegmentReport[]): string {
  const columns = [
    { title: 'SEGMENT', value: (one: SegmentReport) => one.file },
    { title: 'SIZE', value: (one: SegmentReport) => formatBytes(one.sizeBytes) },
    { title: 'BATCHES', value: (one: SegmentReport) => one.batches },
    { title: 'RECORDS', value: (one: SegmentReport) => one.records },
    { title: 'STATE', value: stateOf },
  ]
  return formatTable(columns, reports)
}

function stateOf({ defects }: SegmentReport): string {
  if (defects.length === 0) return 'ok'
  return defects.every(defect => defect.isTornTail) ? 'ok, torn tail (the next start cuts it)' : 'DAMAGED'
}

function damaged(defects: readonly { file: string; position: number; what: string }[]): NaruError {
  const [first] = defects
  const others = defects.length > 1 ? ` (and ${defects.length - 1} more)` : ''
  return new NaruError(
    'CORRUPT_DATA',
    `${first?.file} is damaged at byte ${first?.position}: ${first?.what}${others}; docs/operating.md says what to do`,
  )
}

function isLastOfDirectory(file: string, files: readonly string[]): boolean {
  const directory = file.slice(0, file.lastIndexOf('/') + 1)
  return files.findLast(one => one.slice(0, one.lastIndexOf('/') + 1) === directory) === file
}

function timeText(timestampMs: number): string {
  return Math.abs(timestampMs) <= 8.64e15 ? new Date(timestampMs).toISOString() : String(timestampMs)
}
