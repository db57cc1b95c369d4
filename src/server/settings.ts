import { NaruError } from '../base/errors.ts'
import { didYouMean } from '../base/suggest.ts'
import { SETTING_KEYS, SETTINGS, type SettingKey, type SettingRow } from './settings-table.ts'

/**
 * Settings of a node from their sources, the later one winning: defaults, `naru.yaml`, `NARU_*`, flags. All
 * that is wrong is told at once, each with its source. The result is frozen: a setting changes with a restart.
 */
export type Settings = { readonly [Key in SettingKey]: SettingValue<(typeof SETTINGS)[Key]> }

type SettingValue<Row> = Row extends { choices: readonly (infer Choice)[] }
  ? Choice
  : Row extends { type: 'integer' }
    ? number
    : Row extends { type: 'boolean' }
      ? boolean
      : Row extends { type: 'addresses' }
        ? readonly string[]
        : string

/** Raw values of one source by setting key: text from variables and flags, typed ones from YAML. */
export type SettingSource = ReadonlyMap<string, GivenValue>

export interface GivenValue {
  readonly value: unknown
  /** What the reader wrote and where: `client.port in naru.yaml`, `NARU_CLIENT_PORT`, `--client-port`. */
  readonly givenAs: string
}

export interface ResolvedSettings {
  readonly settings: Settings
  /** Where each value comes from: `default`, or its `givenAs`. */
  readonly origins: ReadonlyMap<SettingKey, string>
}

export function resolveSettings(sources: readonly SettingSource[]): ResolvedSettings {
  const values = new Map<SettingKey, unknown>(SETTING_KEYS.map(key => [key, SETTINGS[key].default]))
  const origins = new Map<SettingKey, string>(SETTING_KEYS.map(key => [key, 'default']))
  const problems: string[] = []
  for (const source of sources) {
    for (const [key, { value, givenAs }] of source) {
      if (!isSettingKey(key)) {
        problems.push(unknownSetting(givenAs, key))
        continue
      }
      const parsed = parseValue(SETTINGS[key], value)
      if ('problem' in parsed) {
        problems.push(`${givenAs} is ${show(value)}, but ${parsed.problem}`)
        continue
      }
      values.set(key, parsed.value)
      origins.set(key, givenAs)
    }
  }
  const settings = Object.freeze(Object.fromEntries(values)) as unknown as Settings
  if (problems.length === 0) problems.push(...conflicts(settings))
  if (problems.length > 0) throw new NaruError('INVALID_CONFIG', problems.join('; '))
  return { settings, origins }
}

function isSettingKey(key: string): key is SettingKey {
  return Object.hasOwn(SETTINGS, key)
}

/** What single limits cannot say. Each sentence names both settings. */
function conflicts(settings: Settings): string[] {
  const found: string[] = []
  const isWildcard = /^(0\.0\.0\.0|::|\[::\])$/.test(settings['listen.address'])
  if (isWildcard && settings['advertised.address'] === '') {
    found.push(
      `listen.address is ${settings['listen.address']}, which no client can connect to: set advertised.address to the name or address of this machine`,
    )
  }
  for (const [one, other] of PORT_PAIRS) {
    if (settings[one] === 0 || settings[one] !== settings[other]) continue
    found.push(`${one} and ${other} are both ${settings[one]}: give each its own`)
  }
  if (settings['cluster.peers'].length > 1 && settings['peer.port'] === 0) {
    found.push('cluster.peers is set, but peer.port is 0 (any free one): others could not find this node')
  }
  atMost(settings, 'message.max.bytes', 'log.segment.bytes', found)
  atMost(settings, 'connections.per.address.max', 'connections.max', found)
  atMost(settings, 'connection.request.bytes.in.flight.max', 'request.bytes.in.flight.max', found)
  return found
}

const PORT_PAIRS = [
  ['client.port', 'http.port'],
  ['client.port', 'peer.port'],
  ['http.port', 'peer.port'],
] as const

type IntegerKey = { [Key in SettingKey]: Settings[Key] extends number ? Key : never }[SettingKey]

function atMost(settings: Settings, lower: IntegerKey, upper: IntegerKey, found: string[]): void {
  if (settings[lower] <= settings[upper]) return
  found.push(
    `${lower} (${settings[lower]}) is above ${upper} (${settings[upper]}): lower it, or raise ${upper}`,
  )
}

type Parsed = { readonly value: unknown } | { readonly problem: string }

function parseValue(row: SettingRow, raw: unknown): Parsed {
  const given = typeof raw === 'string' ? raw.trim() : raw
  switch (row.type) {
    case 'integer':
      return parseInteger(row, given)
    case 'boolean':
      if (given === true || given === 'true') return { value: true }
      if (given === false || given === 'false') return { value: false }
      return { problem: 'must be true or false' }
    case 'choice':
      if (typeof given === 'string' && row.choices.includes(given)) return { value: given }
      return { problem: `must be one of ${row.choices.join(', ')}` }
    case 'addresses':
      return parseAddresses(row, given)
    case 'text':
      return typeof given === 'string' || typeof given === 'number'
        ? { value: String(given) }
        : { problem: 'must be a text' }
  }
}

function parseInteger(row: SettingRow & { type: 'integer' }, given: unknown): Parsed {
  const number = typeof given === 'string' && /^-?\d+$/.test(given) ? Number(given) : given
  if (typeof number !== 'number' || !Number.isSafeInteger(number)) {
    return { problem: 'must be a whole number' }
  }
  if (number < row.min) return { problem: `must be at least ${row.min}` }
  if (number > row.max) return { problem: `must be at most ${row.max}` }
  return { value: number }
}

function parseAddresses(row: SettingRow & { type: 'addresses' }, given: unknown): Parsed {
  const entries = typeof given === 'string' ? (given === '' ? [] : given.split(',')) : given
  if (!Array.isArray(entries)) return { problem: 'must be a list of host:port, separated by commas' }
  if (entries.length > row.max) return { problem: `must list at most ${row.max} addresses` }
  const found = new Set<string>()
  for (const entry of entries) {
    const address = typeof entry === 'string' ? entry.trim().toLowerCase() : String(entry)
    const port = Number(ADDRESS.exec(address)?.[1])
    if (!(port >= 1 && port <= 65_535) || address.length > ADDRESS_LENGTH_MAX)
      return { problem: `${show(address)} is not host:port (an IPv6 address goes in brackets)` }
    if (found.has(address)) return { problem: `it names ${address} twice` }
    found.add(address)
  }
  return { value: Object.freeze([...found].sort()) }
}

/** A name, an IPv4 address, or an IPv6 one in brackets. */
const ADDRESS = /^(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\]):(\d{1,5})$/
/** A DNS name (253) and a port. */
const ADDRESS_LENGTH_MAX = 260

function unknownSetting(givenAs: string, key: string): string {
  const hint = didYouMean(key, SETTING_KEYS) || ' (docs/settings.md lists them all)'
  return `unknown setting ${givenAs}${hint}`
}

function show(value: unknown): string {
  return typeof value === 'string' ? `"${value}"` : (JSON.stringify(value) ?? String(value))
}
