// One member of a group as a process of its own: says on standard output, a line of JSON each, what it is given and what it
// commits, until it is told to stop or its parent is gone. Usage: node member.mjs TASK, `MemberTask` of member-process.ts.
import { once } from 'node:events'
import { connect } from '../../../dist/server/client.js'

const { addresses, group, topic, member, sessionTimeoutMs, takesBatches, commitsByHand, isHeld } = JSON.parse(
  process.argv[2],
)
/** Of commits by hand: the loop does not wait for them. */
const COMMIT_INTERVAL_MS = 500

/** By the machine's monotonic clock, which all processes share. */
const say = event => console.log(JSON.stringify({ ...event, atMs: Number(process.hrtime.bigint()) / 1e6 }))

process.stdin.on('end', () => process.exit(0)).resume()
if (isHeld) {
  say({ what: 'ready' })
  await once(process.stdin, 'data')
}
/** A life may begin while nothing answers. */
const client = await connect(addresses, { connectTimeoutMs: 120_000 })

/** By partition: behind what is done, and what was committed of it by hand. */
const done = new Map()
const committed = new Map()
let commits = 0

const consumer = client.consumer({
  group,
  topics: [topic],
  member,
  autoCommit: !commitsByHand,
  ...(sessionTimeoutMs && { sessionTimeoutMs }),
  onAssigned: partitions => {
    for (const { partition, nextOffset } of partitions)
      say({ what: 'assigned', partition, position: nextOffset })
  },
  onRevoked: async partitions => {
    for (const { partition } of partitions) {
      say({ what: 'revoked', partition })
      await commit(partition)
      forget(partition)
    }
  },
  onLost: partitions => {
    for (const { partition } of partitions) {
      say({ what: 'lost', partition })
      forget(partition)
    }
  },
})

/** When it is this member's again, others may have been further: what was done before must not be committed then. */
function forget(partition) {
  done.delete(partition)
  committed.delete(partition)
}

async function commit(partition) {
  const position = done.get(partition)
  if (!commitsByHand || position === undefined || position === committed.get(partition)) return
  const number = ++commits
  say({ what: 'commits', partition, position, commit: number })
  try {
    await consumer.commit([{ topic, partition, nextOffset: position }])
    committed.set(partition, position)
    say({ what: 'committed', partition, commit: number })
  } catch ({ outcome, message }) {
    say({ what: 'not-committed', partition, commit: number, outcome, error: message })
  }
}

function take(partition, records) {
  const offsets = records.map(({ offset }) => offset)
  const values = records.map(({ value }) => value.toString().trimEnd())
  say({ what: 'records', partition, offsets, values })
  done.set(partition, offsets.at(-1) + 1)
}

async function commitAll() {
  for (const partition of done.keys()) await commit(partition)
}

function commitSoon() {
  setTimeout(() => commitAll().then(commitSoon), COMMIT_INTERVAL_MS).unref()
}

commitSoon()
process.on('SIGTERM', async () => {
  await commitAll()
  await consumer.close({ waitMs: 5_000 })
})
try {
  if (takesBatches) for await (const { partition, records } of consumer.batches()) take(partition, records)
  else for await (const record of consumer) take(record.partition, [record])
} catch (error) {
  say({ what: 'failed', error: `${error.reason}: ${error.message}` })
  process.exit(1)
}
await client.close()
say({ what: 'left' })
process.exit(0)
