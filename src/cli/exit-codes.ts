import { ERROR_CODES, type GrpcStatusName, type NaruError } from '../base/errors.ts'

/** What a script can tell from `$?`; listed in docs/cli.md and `naru --help`. */
export const EXIT_CODES = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  alreadyExists: 4,
  /** The same command may succeed later. */
  tryAgain: 5,
  /** Records may or may not have been stored. */
  outcomeUnknown: 6,
  damagedData: 7,
  /** 128 + SIGINT, as shells have it. */
  interrupted: 130,
} as const

const BY_STATUS: Partial<Record<GrpcStatusName, number>> = {
  INVALID_ARGUMENT: EXIT_CODES.usage,
  NOT_FOUND: EXIT_CODES.notFound,
  ALREADY_EXISTS: EXIT_CODES.alreadyExists,
  UNAVAILABLE: EXIT_CODES.tryAgain,
  RESOURCE_EXHAUSTED: EXIT_CODES.tryAgain,
  DEADLINE_EXCEEDED: EXIT_CODES.tryAgain,
  DATA_LOSS: EXIT_CODES.damagedData,
}

export function exitCodeOf(error: NaruError): number {
  if (error.reason === 'UNKNOWN_OUTCOME') return EXIT_CODES.outcomeUnknown
  return BY_STATUS[ERROR_CODES[error.reason].status] ?? EXIT_CODES.failed
}
