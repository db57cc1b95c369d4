/**
 * How many offsets a second one client commits in batches, and how long the description of a group with 1,000 partitions
 * takes. Client and node share one process here, which is less than two have.
 *
 *     tsx scripts/proof/group-commits.ts   (after npm run build)
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from '../../src/server/client.ts'
import { Node } from '../../src/server/node.ts'
import { resolveSettings } from '../../src/server/settings.ts'

const PARTITIONS = 1_000
const BATCHES = 200
const COMMITS_PER_SECOND_MIN = 20_000
const DESCRIBE_MS_MAX = 200

const directory = await mkdtemp(join(tmpdir(), 'naru-groups-'))
const given = {
  'data.dir': directory,
  'client.port': 0,
  'http.port': 0,
  'peer.port': 0,
  'disk.free.min': 0,
}
const source = new Map(Object.entries(given).map(([key, value]) => [key, { value, givenAs: key }]))
const node = new Node({
  settings: resolveSettings([source]).settings,
  logger: { debug() {}, info() {}, warn() {}, error() {} },
  onFailed: error => console.error(error.message),
})
await node.start()
let isKept = false
try {
  await using client = await connect(node.addresses.client)
  await client.admin().createTopics([{ name: 'logs', partitions: PARTITIONS }])
  const groups = client.groups()
  const offsets = Array.from({ length: PARTITIONS }, (_, partition) => ({
    topic: 'logs',
    partition,
    nextOffset: 0,
  }))
  await groups.commitOffsets('g', offsets)
  const { seconds, cpuSeconds } = await timed(async () => {
    for (let batch = 0; batch < BATCHES; batch++) await groups.commitOffsets('g', offsets)
  })
  const commits = BATCHES * PARTITIONS
  console.log(
    `${commits} offsets in batches of ${PARTITIONS}: ${Math.round(commits / seconds)} a second, ${((cpuSeconds / commits) * 1e6).toFixed(1)} us of CPU each`,
  )
  const describes: number[] = []
  for (let time = 0; time < 20; time++) {
    const { seconds: took } = await timed(async () => {
      const { offsets: found } = await groups.describe('g')
      if (found.length !== PARTITIONS) throw new Error(`${found.length} partitions described`)
    })
    describes.push(took * 1_000)
  }
  const [median, slowest] = [describes.sort((a, b) => a - b)[10] ?? 0, describes.at(-1) ?? 0]
  console.log(
    `description of ${PARTITIONS} partitions: median ${median.toFixed(1)} ms, slowest ${slowest.toFixed(1)} ms`,
  )
  isKept = commits / seconds >= COMMITS_PER_SECOND_MIN && slowest <= DESCRIBE_MS_MAX
} finally {
  await node.stop()
  await rm(directory, { recursive: true })
}
process.exitCode = isKept ? 0 : 1

async function timed(work: () => Promise<void>): Promise<{ seconds: number; cpuSeconds: number }> {
  const cpu = process.cpuUsage()
  const startMs = performance.now()
  await work()
  const { user, system } = process.cpuUsage(cpu)
  return { seconds: (performance.now() - startMs) / 1_000, cpuSeconds: (user + system) / 1e6 }
}
