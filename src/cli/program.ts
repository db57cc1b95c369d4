import { Command } from 'commander'
import { VERSION } from '../server/version.ts'
import { addClusterCommands } from './cluster.ts'
import { addConfigCommands } from './config.ts'
import { addConsumeCommand } from './consume.ts'
import { type CliContext, say } from './context.ts'
import { addDevCommands } from './dev.ts'
import { explain } from './errors.ts'
import { EXIT_CODES } from './exit-codes.ts'
import { addGroupsCommands } from './groups.ts'
import { addLogCommands } from './log.ts'
import { addPerfCommands } from './perf.ts'
import { addProduceCommand } from './produce.ts'
import { addServerCommand } from './server.ts'
import { addTopicsCommands } from './topics.ts'

/** Runs one command line (without `node` and the script) and returns the exit code. */
export async function run(words: readonly string[], context: CliContext): Promise<number> {
  try {
    await makeProgram(context).parseAsync([...words], { from: 'user' })
    return EXIT_CODES.ok
  } catch (thrown) {
    const { message, exitCode } = explain(thrown)
    if (message !== undefined) say(context.stderr, `naru: ${message}`)
    return exitCode
  }
}

function makeProgram(context: CliContext): Command {
  const program = new Command('naru')
    .description('Naru, a distributed commit log: topics, partitions, ordered offsets')
    .version(VERSION, '-v, --version')
    .helpCommand(true)
    .showHelpAfterError('(naru --help, or naru COMMAND --help, tells more)')
    .exitOverride()
    .configureOutput({
      writeOut: text => context.stdout.write(text),
      writeErr: text => context.stderr.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'naru: ')),
    })
  // Added after the settings above, which each command takes over when it is made.
  addServerCommand(program, context)
  addDevCommands(program, context)
  addTopicsCommands(program, context)
  addProduceCommand(program, context)
  addConsumeCommand(program, context)
  addGroupsCommands(program, context)
  addClusterCommands(program, context)
  addPerfCommands(program, context)
  addLogCommands(program, context)
  addConfigCommands(program, context)
  program.addHelpText('after', `\nExit codes: ${exitCodesText()}`)
  return program
}

function exitCodesText(): string {
  return Object.entries(EXIT_CODES)
    .map(([name, code]) => `${code} ${name.replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)}`)
    .join(', ')
}
