import { CommanderError } from 'commander'
import { NaruError } from '../base/errors.ts'
import { EXIT_CODES, exitCodeOf } from './exit-codes.ts'

/** A command line that makes no sense: told in one sentence, without a reason code. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** The command did not do its work, for a reason that is none of the cluster's: told in one sentence, too. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number

  constructor(message: string, exitCode: number) {
    super(message)
    this.exitCode = exitCode
  }
}

/** What to print on standard error, and the exit code, for whatever a command threw. */
export function explain(thrown: unknown): { message: string | undefined; exitCode: number } {
  // Commander has printed its own message by now; --help and --version end this way too.
  if (thrown instanceof CommanderError) {
    return { message: undefined, exitCode: thrown.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage }
  }
  if (thrown instanceof UsageError) return { message: thrown.message, exitCode: EXIT_CODES.usage }
  if (thrown instanceof CommandError) return { message: thrown.message, exitCode: thrown.exitCode }
  if (thrown instanceof NaruError) {
    return { message: `${thrown.message} (${thrown.reason})`, exitCode: exitCodeOf(thrown) }
  }
  if (isSystemError(thrown)) return { message: thrown.message, exitCode: EXIT_CODES.failed }
  // Not an error that anybody foresaw: the stack is what a report of it needs.
  const detail = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)
  return { message: `this is a bug of Naru, please report it: ${detail}`, exitCode: EXIT_CODES.failed }
}

/** Of a file or socket: ENOENT and its kin explain themselves. */
function isSystemError(thrown: unknown): thrown is Error {
  return thrown instanceof Error && /^E[A-Z0-9]+$/.test(String((thrown as NodeJS.ErrnoException).code))
}
