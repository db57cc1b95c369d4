import { type Command, Option } from 'commander'
import type { ResolvedSettings } from '../server/settings.ts'
import { settingsPage } from '../server/settings-docs.ts'
import { flagOf, loadSettings } from '../server/settings-sources.ts'
import { SETTING_KEYS, SETTINGS, type SettingKey, type SettingRow } from '../server/settings-table.ts'
import { addOutputOption, type OutputFlags } from './common-options.ts'
import { type CliContext, say } from './context.ts'
import { formatJson, formatTable } from './output.ts'

/** A flag for each setting of a node (but those of `except`), under a heading of their own in the help. */
export function addSettingOptions(command: Command, except: ReadonlySet<string> = new Set()): Command {
  command.option('-c, --config <file>', 'settings file (default: naru.yaml, if there is one; NARU_CONFIG)')
  for (const key of SETTING_KEYS.filter(one => !except.has(one))) {
    const row: SettingRow = SETTINGS[key]
    const preset = String(row.default) === '' ? '' : ` (default: ${String(row.default)})`
    command.addOption(
      new Option(`${flagOf(key)} <${row.type}>`, `${row.doc}${preset}`).helpGroup('Settings:'),
    )
  }
  return command
}

/** Settings as the flags of `addSettingOptions`, the environment and the file give them. */
export function settingsOfCommand(command: Command, context: CliContext): CommandSettings {
  const given = command.opts<Record<string, string>>()
  const flags = new Map<SettingKey, string>()
  for (const key of SETTING_KEYS) {
    const value = given[camelCase(key)]
    if (value !== undefined) flags.set(key, value)
  }
  const configFile = given['config']
  const resolved = loadSettings({ configFile, environment: context.environment, flags })
  const words = [...flags].flatMap(([key, value]) => [flagOf(key), value])
  return { ...resolved, given: configFile === undefined ? words : ['--config', configFile, ...words] }
}

export interface CommandSettings extends ResolvedSettings {
  /** What stood on the command line, for another process that is to read the same settings. */
  readonly given: readonly string[]
}

export function addConfigCommands(program: Command, context: CliContext): void {
  const config = program.command('config').description('show and document the settings of a node')
  const show = config.command('show').description('what a node would use, and where each value comes from')
  addOutputOption(addSettingOptions(show)).action((flags: OutputFlags) => {
    const { settings, origins } = settingsOfCommand(show, context)
    const rows = SETTING_KEYS.map(key => ({ key, value: settings[key], from: origins.get(key) ?? 'default' }))
    if (flags.output === 'json') return say(context.stdout, formatJson(rows))
    const columns = [
      { title: 'SETTING', value: (row: (typeof rows)[number]) => row.key },
      { title: 'VALUE', value: (row: (typeof rows)[number]) => String(row.value) },
      { title: 'FROM', value: (row: (typeof rows)[number]) => row.from },
    ]
    say(context.stdout, formatTable(columns, rows))
  })
  config
    .command('docs')
    .description('print docs/settings.md')
    .action(() => {
      context.stdout.write(settingsPage())
    })
}

/** As commander names the values of flags: `data.dir` -> `dataDir`. */
function camelCase(key: SettingKey): string {
  return key.replaceAll(/\.(\w)/g, (_, letter: string) => letter.toUpperCase())
}
