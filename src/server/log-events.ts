import type { Logger } from '../base/logger.ts'
import type { LogEvent } from '../log/log-core.ts'

/** What a log tells its node, as lines for the operator. */
export function reportLogEvent(logger: Logger, event: LogEvent): void {
  const { log } = event
  switch (event.kind) {
    case 'offline':
    case 'quarantined':
    case 'diskFull':
      logger.error({ log, reason: event.error.reason }, event.error.message)
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
    case 'segmentsRemoved':
      logger.info(
        { log, count: event.count, bytes: event.bytes, logStartOffset: event.logStartOffset },
        'old segments were removed',
      )
      break
  }
}
