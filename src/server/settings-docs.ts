import {
  TOPIC_SETTING_KEYS,
  TOPIC_SETTINGS,
  type SettingRow as TopicSettingRow,
} from '../metadata/topic-settings.ts'
import { flagOf, variableOf } from './settings-sources.ts'
import { SETTING_KEYS, SETTINGS, type SettingRow } from './settings-table.ts'

interface DocumentedSetting {
  readonly key: string
  readonly type: string
  readonly default: string
  readonly limits: string
  readonly doc: string
}

/** The page docs/settings.md; a test checks that the file matches. */
export function settingsPage(): string {
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

${table(TOPIC_SETTING_KEYS.map(key => documentedTopicSetting(key, TOPIC_SETTINGS[key])))}`
}

function documented(key: string, row: SettingRow): DocumentedSetting {
  const preset = String(row.default) === '' ? '' : `\`${String(row.default)}\``
  return { key, type: row.type, default: preset, limits: limitsOf(row), doc: row.doc }
}

function documentedTopicSetting(key: string, row: TopicSettingRow<unknown>): DocumentedSetting {
  const { min, max } = row
  const limits = min === undefined || max === undefined ? '' : rangeText({ min, max })
  const type = row.type === 'number' ? 'integer' : row.type
  return { key, type, default: `\`${row.default}\``, limits: row.values?.join(', ') ?? limits, doc: row.doc }
}

function limitsOf(row: SettingRow): string {
  if (row.type === 'choice') return row.choices.join(', ')
  return row.type === 'integer' ? rangeText(row) : ''
}

function rangeText({ min, max }: { min: number; max: number }): string {
  return max === Number.MAX_SAFE_INTEGER ? `>= ${min}` : `${min} ... ${max}`
}

function table(rows: readonly DocumentedSetting[]): string {
  const lines = rows.map(
    row =>
      `| \`${row.key}\` | ${row.type} | ${row.default} | ${row.limits} | ${row.doc.replaceAll('|', '\\|')} |\n`,
  )
  return `| key | type | default | limits | meaning |\n|---|---|---|---|---|\n${lines.join('')}`
}
