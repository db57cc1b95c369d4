import { Command } from 'commander'
import { VERSION } from '../server/version.ts'
import { type CliContext, say } from './context.ts'
import { explain } from './errors.ts'
import { EXIT_CODES } from './exit-codes.ts'

/** In the order of the help. Each is loaded where it is named: a node that starts need not wait for all the others. */
const COMMANDS = new Map<string, () => Promise<(program: Command, context: CliContext) => void>>([
  ['server', async () => (await import('./server.ts')).addServerCommand],
  ['dev', async () => (await import('./dev.ts')).addDevCommands],
  ['topics', async () => (await import('./topics.ts')).addTopicsCommands],
  ['produce', async () => (await import('./produce.ts')).addProduceCommand],
  ['consume', async () => (await import('./consume.ts')).addConsumeCommand],
  ['groups', async () => (await import('./groups.ts')).addGroupsCommands],
  ['cluster', async () => (await import('./cluster.ts')).addClusterCommands],
  ['perf', async () => (await import('./perf.ts')).addPerfCommands],
  ['log', async () => (await import('./log.ts')).addLogCommands],
  ['config', async () => (await import('./config.ts')).addConfigCommands],
])

/** Runs one command line (without `node` and the script) and returns the exit code. */
export async function run(words: readonly string[], context: CliContext): Promise<number> {
  try {
    const program = await makeProgram(words[0], context)
    await program.parseAsync([...words], { from: 'user' })
    return EXIT_CODES.ok
  } catch (thrown) {
    const { message, exitCode } = explain(thrown)
    if (message !== undefined) say(context.stderr, `naru: ${message}`)
    return exitCode
  }
}

/** With the command that is called; with all of them where the first word is none, as for the help. */
async function makeProgram(called: string | undefined, context: CliContext): Promise<Command> {
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
  const loadCalled = COMMANDS.get(called ?? '')
  for (const load of loadCalled ? [loadCalled] : COMMANDS.values()) (await load())(program, context)
  program.addHelpText('after', `\nExit codes: ${exitCodesText()}`)
  return program
}

function exitCodesText(): string {
  return Object.entries(EXIT_CODES)
    .map(([name, code]) => `${code} ${name.replaceAll(/[A-Z]/g, letter => ` ${letter.toLowerCase()}`)}`)
    .join(', ')
}
