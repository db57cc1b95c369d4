import type { Logger } from '../base/logger.ts'
import type { LogEvent } from '../log/log-core.ts'
import type { LogDirectory } from '../log/log-directory.ts'

/** What a log tells its node, as lines for the operator. */
export function reportLogEvent(logger: Logger, event: LogEvent): void {
  const { log } = event
  switch (event.kind) {
    case 'offline':
    case 'quarantined':
    case 'diskFull':
    case 'noDescriptors':
      logger.error({ log, reason: event.error.reason }, event.error.message)
      break
    case 'noDescriptorsOver':
      logger.info({ log }, 'there are free descriptors again: waiting writes go on')
      break
    case 'diskFullOver':
      logger.info({ log }, 'the disk has room again: waiting writes go on')
      break
    case 'rolled':
      logger.debug({ log, baseOffset: event.baseOffset }, 'a new segment begins')
      break
    case 'indexRebuilt':
      logger.info({ log, file: event.file, scannedBytes: event.scannedBytes }, 'an index was rebuilt')
      break
    case 'cleaned':
      logger.info(
        {
          log,
          endOffset: event.endOffset,
          bytesBefore: event.bytesBefore,
          bytesAfter: event.bytesAfter,
        },
        'the log was compacted',
      )
      break
    case 'segmentsRemoved':
      logger.info(
        { log, count: event.count, bytes: event.bytes, logStartOffset: event.logStartOffset },
        'old segments were removed',
      )
      break
  }
}

/** What opening the partitions took, and what it found. */
export function reportRecovery(logger: Logger, directory: LogDirectory, tookMs: number): void {
  const sum = { partitions: 0, bytes: 0, scannedBytes: 0, cutBytes: 0, rebuilt: 0 }
  for (const log of directory.logs) {
    const { sizeBytes, scannedBytes, cutBytes, rebuilt } = log.openReport
    sum.partitions++
    sum.bytes += sizeBytes
    sum.scannedBytes += scannedBytes
    sum.cutBytes += cutBytes
    if (cutBytes > 0)
      logger.warn({ log: log.name, cutBytes }, 'a torn end of the log was cut: it was never acknowledged')
    if (rebuilt.length === 0) continue
    sum.rebuilt++
    // Of each one after a kill: thousands of lines would hold the start up where they are written to a slow reader.
    logger.debug({ log: log.name, rebuilt }, 'derived files were rebuilt from the log')
  }
  const cleanStop = directory.cleanStopNodeEpoch !== undefined
  const facts = { ...sum, cleanStop, tookMs: Math.round(tookMs) }
  logger.info(
    facts,
    cleanStop || sum.partitions === 0
      ? 'the partitions are open'
      : 'the partitions are recovered after a stop that was not orderly',
  )
}
