import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { errorsPage } from '../scripts/gen-docs.ts'
import { NaruError } from '../src/base/errors.ts'
import { TOPIC_SETTING_KEYS } from '../src/metadata/topic-settings.ts'
import type { Channel } from '../src/ports/transport.ts'
import { murmur2, partitionForKey } from '../src/records/murmur2.ts'
import { GrpcTransport } from '../src/rpc/grpc-transport.ts'
import { Node } from '../src/server/node.ts'
import { resolveSettings } from '../src/server/settings.ts'
import { startNode } from '../src/server/testing.ts'
import { Admin, Consumer, Groups, Metadata, Producer } from '../src/wire/methods.ts'
import { exitCodesTable } from './docs/exit-codes-table.ts'
import { headingAnchors, linksOf } from './docs/markdown.ts'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const PAGES = [
  ...readdirSync(ROOT).filter(name => name.endsWith('.md')),
  ...readdirSync(join(ROOT, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.md'))
    .map(name => `docs/${name}`),
]

describe('generated pages', () => {
  it('docs/errors.md follows from the table of errors', () => {
    expect(read('docs/errors.md'), 'run: npm run gen').toBe(errorsPage())
  })

  it('docs/settings.md has the settings of topics, too', () => {
    for (const key of TOPIC_SETTING_KEYS) expect(read('docs/settings.md')).toContain(`\`${key}\``)
  })

  it('docs/cli.md lists the exit codes as they are', () => {
    expect(read('docs/cli.md')).toContain(exitCodesTable())
  })
})

describe('docs/api.md', () => {
  const page = read('docs/api.md')
  const [served, missing] = splitAt(page, 'These are in the protos')

  it('names every call, and whether this release serves it', async () => {
    await using node = await startNode()
    const transport = new GrpcTransport()
    const channel = transport.connect(node.address)
    try {
      for (const service of [Admin, Consumer, Groups, Metadata, Producer]) {
        for (const method of Object.values(service)) {
          const name = method.path.split('/')[2]
          const refusal = await refusalOf(channel, method)
          const isDocumented = (
            refusal?.startsWith(`${method.path}: this release`) ? missing : served
          ).includes(`\`${name}\``)
          expect(isDocumented, `${method.path} (${refusal ?? 'answers'})`).toBe(true)
        }
      }
    } finally {
      channel.close()
    }
  })

  it('has the partitions of keys right', () => {
    const rows = [...page.matchAll(/^\| `([^`]+)` \| (-?\d+) \| (\d) \| (\d) \|$/gm)]
    expect(rows.length).toBeGreaterThan(3)
    for (const [, key = '', hash, ofThree, ofSix] of rows) {
      const bytes = Buffer.from(key)
      expect([murmur2(bytes), partitionForKey(bytes, 3), partitionForKey(bytes, 6)].map(String)).toEqual([
        hash,
        ofThree,
        ofSix,
      ])
    }
  })
})

describe('docs/formats.md', () => {
  it('names every file that a node writes', async () => {
    const dataDirectory = mkdtempSync(join(tmpdir(), 'naru-formats-'))
    try {
      await writeAndDelete(dataDirectory)
      const found = readdirSync(dataDirectory, { recursive: true, withFileTypes: true })
        .filter(entry => entry.isFile() && !entry.parentPath.startsWith(join(dataDirectory, 'state')))
        .map(entry => join(entry.parentPath, entry.name).slice(dataDirectory.length + 1))
      const patterns = found.flatMap(file => file.split('/').map(patternOf))
      expect(patterns).toContain('<topic id>-<partition>.deleted')
      expect(patterns).toContain('<20 digits>.timeindex')
      expect([...new Set(patterns)].filter(pattern => !read('docs/formats.md').includes(pattern))).toEqual([])
    } finally {
      rmSync(dataDirectory, { recursive: true })
    }
  })
})

/** Two topics with a record each, large enough to be indexed, one of them deleted, then an orderly stop. */
async function writeAndDelete(dataDirectory: string): Promise<void> {
  const ports = { 'client.port': 0, 'http.port': 0, 'peer.port': 0 }
  const given = { 'data.dir': dataDirectory, 'disk.free.min': 0, ...ports }
  const source = new Map(Object.entries(given).map(([key, value]) => [key, { value, givenAs: key }]))
  const logger = { debug() {}, info() {}, warn() {}, error() {} }
  const node = new Node({ settings: resolveSettings([source]).settings, logger, onFailed() {} })
  await node.start()
  const channel = new GrpcTransport().connect(node.addresses.client)
  try {
    for (const topic of ['kept', 'gone']) {
      const request = Producer.produce.request.encode({ topic, records: [{ value: Buffer.alloc(5_000) }] })
      await channel.unary(Producer.produce.path, request)
    }
    const request = Admin.deleteTopics.request.encode({ topics: ['gone'] })
    await channel.unary(Admin.deleteTopics.path, request)
  } finally {
    channel.close()
    await node.stop()
  }
}

function patternOf(name: string): string {
  return name
    .replace(/^\d{20}\./, '<20 digits>.')
    .replace(/^\d{20}-\d{10}\./, '<20 digits>-<10 digits>.')
    .replace(/^[\w-]{22}-\d+\.deleted$/, '<topic id>-<partition>.deleted')
    .replace(/^kept-\d+$/, '<topic>-<partition>')
}

describe('docs/sdk.md', () => {
  it.each([
    ['src/client/types.ts', 'ClientOptions'],
    ['src/client/producer/types.ts', 'ProducerOptions'],
    ['src/client/reader/types.ts', 'ReaderOptions'],
  ])('has every option of %s %s', (file, name) => {
    const body = new RegExp(`interface ${name} \\{([\\s\\S]*?)\\n\\}`).exec(read(file))?.[1] ?? ''
    const options = [...body.matchAll(/readonly (\w+)\??:/g)].map(match => match[1])
    expect(options.length).toBeGreaterThan(3)
    const undocumented = options.filter(option => !read('docs/sdk.md').includes(`| \`${option}\` |`))
    expect(undocumented).toEqual([])
  })
})

describe.each(PAGES)('%s', page => {
  it('links only to what is there', () => {
    const broken = linksOf(read(page)).filter(link => !isThere(page, link))
    expect(broken).toEqual([])
  })
})

/** Why the call fails that carries nothing; undefined if it does not. */
async function refusalOf(
  channel: Channel,
  { path, requestStream, responseStream }: { path: string; requestStream: boolean; responseStream: boolean },
): Promise<string | undefined> {
  if (!requestStream && !responseStream) {
    const error = await channel.unary(path, Buffer.alloc(0)).then(
      () => undefined,
      thrown => NaruError.from(thrown),
    )
    return error?.message
  }
  const stream = channel.stream(path)
  return await new Promise(resolve => {
    stream.setHandlers({
      onMessage() {
        resolve(undefined)
        stream.fail(new Error('seen enough'))
      },
      onClose: error => resolve(error?.message),
    })
    if (!requestStream) stream.write(Buffer.alloc(0))
    stream.end()
  })
}

function splitAt(page: string, text: string): [string, string] {
  const at = page.indexOf(text)
  expect(at).toBeGreaterThan(0)
  return [page.slice(0, at), page.slice(at)]
}

function isThere(page: string, link: string): boolean {
  if (/^[a-z]+:/.test(link)) return true
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? page : join(dirname(page), path)
  if (!existsSync(join(ROOT, target))) return false
  return anchor === undefined || headingAnchors(read(target)).has(anchor)
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
