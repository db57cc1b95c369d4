import type { Readable, Writable } from 'node:stream'
import type { Client } from '../client/index.ts'
import type { Settings } from '../server/settings.ts'

/** What a command touches of the world; main.ts fills it from the process, tests from memory. */
export interface CliContext {
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly stdin: Readable & { readonly isTTY?: boolean }
  /** Results, and nothing else. */
  readonly stdout: Writable & { readonly isTTY?: boolean }
  /** Everything that is said about the work: progress, summaries, warnings, errors. */
  readonly stderr: Writable & { readonly isTTY?: boolean }
  /** How this program is called, for hints: `naru`, or `node bin/naru.js`. */
  readonly command: string
  /** The same for processes that this one starts: program and arguments. */
  readonly program: readonly string[]
  readonly connect: (bootstrap: string[]) => Promise<Client>
  /** Runs a node until it is told to stop. */
  readonly runNode: (settings: Settings) => Promise<void>
  readonly monotonicMs: () => number
  /** Calls back once at the first SIGINT or SIGTERM; a second one ends the process as usual. */
  readonly onInterrupt: (callback: () => void) => void
}

export function say(stream: Writable, line: string): void {
  stream.write(`${line}\n`)
}
