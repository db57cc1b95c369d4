import type { Command } from 'commander'
import { addSettingOptions, settingsOfCommand } from './config.ts'
import type { CliContext } from './context.ts'

export function addServerCommand(program: Command, context: CliContext): void {
  const command = addSettingOptions(program.command('server'))
  command.description('run a node until it is told to stop (SIGTERM or SIGINT: orderly)').action(async () => {
    await context.runNode(settingsOfCommand(command, context).settings)
  })
}
