import type { Command } from 'commander'
import type { NodeAddresses } from '../server/node.ts'
import type { Settings } from '../server/settings.ts'
import { BOOTSTRAP_DEFAULT } from './common-options.ts'
import { addSettingOptions, settingsOfCommand } from './config.ts'
import { type CliContext, say } from './context.ts'

export function addServerCommand(program: Command, context: CliContext): void {
  const command = addSettingOptions(program.command('server'))
  command.description('run a node until it is told to stop (SIGTERM or SIGINT: orderly)').action(async () => {
    await context.runNode(settingsOfCommand(command, context).settings)
  })
}

export function addDevCommand(program: Command, context: CliContext): void {
  const command = addSettingOptions(program.command('dev'))
  command.description('run a node to try things out, and say what to try').action(async () => {
    // A node for trying out tells only what went wrong, so that the hints below stay in sight.
    const { settings } = settingsOfCommand(command, context, { 'log.level': 'warn' })
    await context.runNode(settings, {
      onReady: addresses => say(context.stdout, hints(settings, addresses, context.command)),
    })
  })
}

function hints(settings: Settings, addresses: NodeAddresses, command: string): string {
  const isDefault = addresses.client === BOOTSTRAP_DEFAULT
  const naru = isDefault ? command : `NARU_BOOTSTRAP=${addresses.client} ${command}`
  return `Naru is running; stop it with Ctrl-C.

  gRPC   ${addresses.client}
  HTTP   http://${addresses.http}/healthz
  data   ${settings['data.dir']}

Try in another terminal:

  ${naru} topics create logs --partitions 3
  ${naru} produce logs --file FILE
  ${naru} consume logs --from-beginning --until-end
`
}
