import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { NaruNode } from '../../scripts/bench/naru-node.ts'
import type { ExpectedPartition } from './expected-partition.ts'

const SEGMENT_BYTES = 1024 * 1024
/** So often the access log, that its compressed records too are several segments. */
const COPIES = 8
/** The node is killed when about a fifth of these is on the disk. */
const KILLED_RECORDS = 500_000
const KILLED_BYTES_MIN = 10 * SEGMENT_BYTES

const dataFile = (name: string) => fileURLToPath(new URL(`../data/${name}`, import.meta.url))

/**
 * The logs of a real node that real producers wrote to: each compression, large values, and a topic that was being
 * written to when the node was killed: its producer goes on with the next life of the node, and every record must be
 * there once. Stopped in order at the end.
 */
export async function serveLogs(dataDirectory: string): Promise<ExpectedPartition[]> {
  let node = await NaruNode.start({ dataDirectory })
  const expected: ExpectedPartition[] = []
  const directoryOf = (topic: string) => join(dataDirectory, 'topics', `${topic}-0`)
  try {
    const accessLog = await readFile(dataFile('apache_access.log'), 'utf8')
    const manyTimes = `${dataDirectory}.lines`
    await writeFile(manyTimes, accessLog.repeat(COPIES))
    const produce = async (topic: string, file: string, flags: readonly string[]) => {
      await createTopic(node, topic)
      await node.run(['produce', topic, '--file', file, ...flags])
      const endOffset = (await readFile(file, 'utf8')).trimEnd().split('\n').length
      expected.push({ directory: directoryOf(topic), startOffset: 0, endOffset })
    }
    for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd'])
      await produce(`served-${compression}`, manyTimes, ['--key-field', '1', '--compression', compression])
    await produce('served-json', dataFile('nginx_json.log'), [])

    const directory = directoryOf('served-killed')
    await createTopic(node, 'served-killed')
    const load = node.run(['perf', 'produce', 'served-killed', '--records', String(KILLED_RECORDS)])
    const ended = load.catch(() => {})
    while ((await sizeOf(directory)) < KILLED_BYTES_MIN && !(await settled(ended))) {
      // Looked at again at once: a node writes that much in a tenth of a second.
    }
    await node.kill()
    node = await NaruNode.start({ dataDirectory, ports: node.ports })
    await load
    expected.push({ directory, startOffset: 0, endOffset: KILLED_RECORDS })
  } finally {
    await node.stop()
  }
  return expected
}

async function createTopic(node: NaruNode, topic: string): Promise<void> {
  await node.createTopic(topic, 1, [`segment.bytes=${SEGMENT_BYTES}`])
}

/** Whether the promise is settled by now. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  return (await Promise.race([promise.then(() => true), pause()])) === true
}

function pause(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 5))
}

async function sizeOf(directory: string): Promise<number> {
  const names = (await readdir(directory)).filter(name => name.endsWith('.log'))
  const sizes = await Promise.all(names.map(async name => (await stat(join(directory, name))).size))
  return sizes.reduce((sum, one) => sum + one, 0)
}
