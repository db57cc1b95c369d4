// One member of a group as a process of its own: says on standard output what it is given, until it is told to stop.
// Usage: node member.mjs BOOTSTRAP GROUP TOPIC MEMBER
import { connect } from '../../../dist/server/client.js'

const [bootstrap, group, topic, member] = process.argv.slice(2)
const client = await connect(bootstrap.split(','))
const say = (what, partitions) => {
  for (const { partition } of partitions) console.log(`${what} ${partition} ${Date.now()}`)
}
const consumer = client.consumer({
  group,
  topics: [topic],
  member,
  onAssigned: partitions => say('assigned', partitions),
  onRevoked: partitions => say('revoked', partitions),
  onLost: partitions => say('lost', partitions),
})
process.on('SIGTERM', () => consumer.close({ waitMs: 5_000 }))
for await (const { partition, offset } of consumer) console.log(`record ${partition} ${Date.now()} ${offset}`)
await client.close()
console.log(`left 0 ${Date.now()}`)
