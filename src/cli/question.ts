import { createInterface } from 'node:readline/promises'
import type { CliContext } from './context.ts'

/** Asks for a yes on a terminal. False also where nobody can be asked: scripts say it with a flag. */
export async function isConfirmed(context: CliContext, question: string): Promise<boolean> {
  if (context.stdin.isTTY !== true) return false
  const terminal = createInterface({ input: context.stdin, output: context.stderr })
  try {
    return /^y(es)?$/i.test((await terminal.question(`${question} [y/N] `)).trim())
  } finally {
    terminal.close()
  }
}
