import { basename, relative } from 'node:path'
import { connect } from '../server/client.ts'
import { runNode } from '../server/process.ts'
import type { CliContext } from './context.ts'
import { run } from './program.ts'

const context: CliContext = {
  environment: process.env,
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  command: commandName(process.argv[1] ?? 'naru'),
  connect: bootstrap => connect(bootstrap),
  runNode,
  monotonicMs: () => performance.now(),
  onInterrupt: callback => {
    process.once('SIGINT', callback)
    process.once('SIGTERM', callback)
  },
}

process.exitCode = await run(process.argv.slice(2), context)

/** How the reader can call this program again from where they are: installed it is on the path, in a clone it is not. */
function commandName(script: string): string {
  return basename(script) === 'naru' ? 'naru' : `node ${relative(process.cwd(), script)}`
}
