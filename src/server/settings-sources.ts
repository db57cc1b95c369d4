import { readFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import { NaruError } from '../base/errors.ts'
import { type GivenValue, type ResolvedSettings, resolveSettings, type SettingSource } from './settings.ts'
import { SETTING_KEYS, type SettingKey } from './settings-table.ts'

/** Variables of the command line, which share the prefix but set nothing of a node. */
const OTHER_VARIABLES = new Set(['NARU_BOOTSTRAP', 'NARU_CONFIG'])

type Environment = Readonly<Record<string, string | undefined>>

export interface SettingInputs {
  /** The file that was asked for; without it `naru.yaml` of the working directory, if there is one. */
  readonly configFile?: string | undefined
  readonly environment: Environment
  /** By setting key, as given on the command line. */
  readonly flags: ReadonlyMap<SettingKey, string>
}

export function loadSettings(inputs: SettingInputs): ResolvedSettings {
  const asked = inputs.configFile ?? inputs.environment['NARU_CONFIG']
  const file = asked ?? 'naru.yaml'
  const content = readConfigFile(file, { mayBeMissing: asked === undefined })
  const resolved = resolveSettings([
    ...(content === undefined ? [] : [settingsOfYaml(content, file)]),
    settingsOfEnvironment(inputs.environment),
    settingsOfFlags(inputs.flags),
  ])
  return { ...resolved, settings: withEnvironment(resolved.settings, inputs.environment) }
}

/** Keys may be written flat (`client.port: 7450`) or nested (`client: { port: 7450 }`). */
export function settingsOfYaml(content: string, file: string): SettingSource {
  const document = parseDocument(content)
  const error = document.errors[0]
  if (error)
    throw new NaruError('INVALID_CONFIG', `${file}: ${error.message.split('\n')[0]}`, { cause: error })
  const values = new Map<string, GivenValue>()
  const collect = (node: unknown, prefix: string): void => {
    for (const [name, value] of Object.entries(node as object)) {
      const key = `${prefix}${name}`
      if (values.has(key)) throw new NaruError('INVALID_CONFIG', `${file}: ${key} is given twice: keep one`)
      if (isMapping(value)) collect(value, `${key}.`)
      else values.set(key, { value, givenAs: `${key} in ${file}` })
    }
  }
  const root: unknown = document.toJS()
  if (root !== null && root !== undefined) {
    if (!isMapping(root))
      throw new NaruError('INVALID_CONFIG', `${file}: must be a list of "setting: value" lines`)
    collect(root, '')
  }
  return values
}

export function settingsOfEnvironment(environment: Environment): SettingSource {
  const keys = new Map(SETTING_KEYS.map(key => [variableOf(key), key as string]))
  const values = new Map<string, GivenValue>()
  for (const [name, value] of Object.entries(environment)) {
    if (value === undefined || !name.startsWith('NARU_')) continue
    if (OTHER_VARIABLES.has(name) || isServiceLink(name, value)) continue
    const key = keys.get(name) ?? name.slice('NARU_'.length).toLowerCase().replaceAll('_', '.')
    values.set(key, { value, givenAs: name })
  }
  return values
}

/** `client.port` -> `NARU_CLIENT_PORT` */
export function variableOf(key: SettingKey): string {
  return `NARU_${key.replaceAll('.', '_').toUpperCase()}`
}

/** `client.port` -> `--client-port` */
export function flagOf(key: SettingKey): string {
  return `--${key.replaceAll('.', '-')}`
}

function settingsOfFlags(flags: ReadonlyMap<SettingKey, string>): SettingSource {
  return new Map([...flags].map(([key, value]) => [key, { value, givenAs: flagOf(key) }]))
}

/**
 * Kubernetes tells every pod of every Service through variables: for one that is called `naru-client`,
 * `NARU_CLIENT_PORT=tcp://10.0.0.7:7450` and more. They must neither set a port nor stop the node.
 */
function isServiceLink(name: string, value: string): boolean {
  return (
    /^(tcp|udp|sctp):\/\//.test(value) ||
    /_SERVICE_(HOST|PORT)(_|$)/.test(name) ||
    /_PORT_\d+_(TCP|UDP|SCTP)/.test(name)
  )
}

function withEnvironment(settings: ResolvedSettings['settings'], environment: Environment) {
  const address = settings['advertised.address'].replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = environment[name]
    if (value) return value
    throw new NaruError(
      'INVALID_CONFIG',
      `advertised.address names \${${name}}, but that variable is not set`,
    )
  })
  return Object.freeze({ ...settings, 'advertised.address': address })
}

function readConfigFile(file: string, options: { mayBeMissing: boolean }): string | undefined {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    if (options.mayBeMissing && (error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const cause = (error as Error).message
    throw new NaruError('INVALID_CONFIG', `cannot read the settings file ${file}: ${cause}`, { cause: error })
  }
}

function isMapping(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
