import { basename, relative } from 'node:path'
import { paceHeap } from '../server/heap-pacing.ts'
import type { CliContext } from './context.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { run } from './program.ts'

paceHeap()

const context: CliContext = {
  environment: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  command: commandName(process.argv[1] ?? 'naru'),
  program: [process.execPath, ...process.execArgv, process.argv[1] ?? ''],
  // Most of what there is to load, and no command needs both.
  connect: async bootstrap => (await import('../server/client.ts')).connect(bootstrap),
  runNode: async settings => (await import('../server/process.ts')).runNode(settings),
  monotonicMs: () => performance.now(),
  onInterrupt: callback => {
    process.once('SIGINT', callback)
    process.once('SIGTERM', callback)
  },
}

process.stdout.on('error', onOutputError)
// Nobody is left to be told anything.
process.stderr.on('error', () => {})

process.exitCode = await run(process.argv.slice(2), context)

/**
 * A reader that went away (`naru topics list | head -1`) has what it wanted: what is still written is dropped.
 * Commands that write much have a LineWriter, which listens as well: it stops them, and tells what else fails.
 */
function onOutputError(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || process.stdout.listenerCount('error') > 1) return
  process.stderr.write(`naru: cannot write the output: ${error.message}\n`)
  process.exitCode = EXIT_CODES.failed
  process.exit()
}

/** How the reader can call this program again from where they are: installed it is on the path, in a clone it is not. */
function commandName(script: string): string {
  return basename(script) === 'naru' ? 'naru' : `node ${relative(process.cwd(), script)}`
}
