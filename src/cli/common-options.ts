import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Client } from '../client/index.ts'
import { type CliContext, say } from './context.ts'
import type { OutputFormat } from './output.ts'

export const BOOTSTRAP_DEFAULT = '127.0.0.1:7450'

/** Long for a node that runs, short for somebody who waits. */
const CONNECT_NOTICE_MS = 2_000

export interface ConnectionFlags {
  readonly bootstrapServer: string[]
}

export interface OutputFlags {
  readonly output: OutputFormat
}

/** `-b host:port[,host:port]`: any node will do, the client finds the others. */
export function addConnectionOption(command: Command, context: CliContext): Command {
  const preset = addressList(context.environment['NARU_BOOTSTRAP'] || BOOTSTRAP_DEFAULT)
  return command.addOption(
    new Option(
      '-b, --bootstrap-server <addresses>',
      'nodes to ask first, as host:port[,host:port] (NARU_BOOTSTRAP)',
    )
      .argParser(addressList)
      .default(preset, preset.join(',')),
  )
}

export function addOutputOption(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'table for people, json for programs')
      .choices(['table', 'json'])
      .default('table'),
  )
}

/** Connects, runs, and closes again whatever happens. */
export async function withClient<T>(
  context: CliContext,
  flags: ConnectionFlags,
  work: (client: Client) => Promise<T>,
): Promise<T> {
  await using client = await connected(context, flags)
  return await work(client)
}

/** Whoever waits for a node is told so before it is given up. */
async function connected(context: CliContext, { bootstrapServer }: ConnectionFlags): Promise<Client> {
  const notice = setTimeout(
    () => say(context.stderr, `naru: no answer from ${bootstrapServer.join(', ')} yet, still trying`),
    CONNECT_NOTICE_MS,
  )
  try {
    return await context.connect(bootstrapServer)
  } finally {
    clearTimeout(notice)
  }
}

/** Parser of a whole number within limits, for commander. */
export function wholeNumber(limits: { min: number; max?: number }): (text: string) => number {
  const max = limits.max ?? Number.MAX_SAFE_INTEGER
  return text => {
    const value = Number(text)
    if (/^-?\d+$/.test(text) && value >= limits.min && value <= max) return value
    const range = max === Number.MAX_SAFE_INTEGER ? `from ${limits.min} on` : `from ${limits.min} to ${max}`
    throw new InvalidArgumentError(`It must be a whole number ${range}.`)
  }
}

/** Collects `key=value` of a flag that may be repeated. */
export function keyValue(text: string, previous: Record<string, string> = {}): Record<string, string> {
  const at = text.indexOf('=')
  if (at <= 0) throw new InvalidArgumentError('It must be key=value.')
  return { ...previous, [text.slice(0, at)]: text.slice(at + 1) }
}

export function repeated(text: string, previous: string[] = []): string[] {
  return [...previous, text]
}

function addressList(text: string): string[] {
  const addresses = text.split(',').map(address => address.trim())
  for (const address of addresses) {
    const port = Number(/^(?:\[[0-9a-fA-F:.]+\]|[^\s:]+):(\d{1,5})$/.exec(address)?.[1])
    if (!(port >= 1 && port <= 65_535)) {
      throw new InvalidArgumentError(`"${address}" is not host:port, as in ${BOOTSTRAP_DEFAULT}.`)
    }
  }
  return addresses
}
