import { PassThrough, Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'
import type { CliContext } from '../../../src/cli/context.ts'
import { run } from '../../../src/cli/program.ts'

const FAKE_SERVER = fileURLToPath(new URL('fake-server.mjs', import.meta.url))

/** One command line in a terminal: what it has printed so far, and how it ended. */
export class DevTerminal {
  out = ''
  err = ''
  readonly ended: Promise<number>
  #interrupts: (() => void)[] = []
  #nowMs = 0

  constructor(words: readonly string[]) {
    const [stdout, stderr] = [new PassThrough(), new PassThrough()]
    stdout.on('data', text => {
      this.out += text
    })
    stderr.on('data', text => {
      this.err += text
    })
    const context: CliContext = {
      environment: {},
      stdin: Readable.from([]),
      stdout,
      stderr,
      command: 'naru',
      program: [process.execPath, FAKE_SERVER],
      connect: async () => Promise.reject(new Error('nobody connects here')),
      runNode: async () => {},
      monotonicMs: () => this.#nowMs,
      onInterrupt: callback => this.#interrupts.push(callback),
    }
    this.ended = run(words, context)
  }

  static async run(words: readonly string[]): Promise<{ exitCode: number; out: string; err: string }> {
    const terminal = new DevTerminal(words)
    const exitCode = await terminal.ended
    return { exitCode, out: terminal.out, err: terminal.err }
  }

  async untilReady(): Promise<void> {
    await expect.poll(() => this.out, { timeout: 20_000 }).toContain('Naru is running')
  }

  /** Ctrl-C, some time after the last one. */
  interrupt(afterMs = 1_000): void {
    this.#nowMs += afterMs
    for (const callback of this.#interrupts.splice(0)) callback()
  }
}
