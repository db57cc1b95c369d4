import { flagOf, variableOf } from './settings-sources.ts'
import { SETTING_KEYS, SETTINGS, type SettingRow } from './settings-table.ts'

/** One setting of a topic, as src/metadata/topic-settings.ts lists them. */
export interface DocumentedSetting {
  readonly key: string
  readonly type: string
  readonly default: string
  readonly limits: string
  readonly doc: string
}

/** The page docs/settings.md; a test checks that the file matches. */
export function settingsPage(topicSettings: readonly DocumentedSetting[]): string {
  return `# Settings

This page is written by \`naru config docs\` from the tables in the code; do not edit it.

## Settings of a node

Read from \`naru.yaml\` (\`naru server --config FILE\`, or \`NARU_CONFIG\`), then environment variables, then flags; the
later one wins. An unknown key is an error. For \`client.port\` the variable is \`${variableOf('client.port')}\` and
the flag \`${flagOf('client.port')}\`; the others follow the same pattern. \`naru config show\` prints what a node would
use, and where each value comes from. Sizes are in bytes, times in milliseconds. A change takes effect with a restart.

${table(SETTING_KEYS.map(key => documented(key, SETTINGS[key])))}
## Settings of a topic

Given with \`naru topics create NAME --config key=value\` and changed, at once and without a restart, with
\`naru topics alter NAME --config key=value\` or \`--delete-config key\`.

${table(topicSettings)}`
}

function documented(key: string, row: SettingRow): DocumentedSetting {
  const preset = row.default === '' ? '' : `\`${row.default}\``
  return { key, type: row.type, default: preset, limits: limitsOf(row), doc: row.doc }
}

function limitsOf(row: SettingRow): string {
  if (row.type === 'choice') return row.choices.join(', ')
  if (row.type !== 'integer') return ''
  return row.max === Number.MAX_SAFE_INTEGER ? `>= ${row.min}` : `${row.min} ... ${row.max}`
}

function table(rows: readonly DocumentedSetting[]): string {
  const lines = rows.map(
    row =>
      `| \`${row.key}\` | ${row.type} | ${row.default} | ${row.limits} | ${row.doc.replaceAll('|', '\\|')} |\n`,
  )
  return `| key | type | default | limits | meaning |\n|---|---|---|---|---|\n${lines.join('')}`
}
