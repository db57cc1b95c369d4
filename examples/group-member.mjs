// A member of a consumer group from the .proto files alone: prints its share of a topic, until there is no more.
// Usage: node examples/group-member.mjs [host:port]
import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const proto = fileURLToPath(new URL('../proto', import.meta.url))
const options = { includeDirs: [proto], defaults: true, longs: String, enums: String }
const { naru } = loadPackageDefinition(loadSync('naru/v1/consumer.proto', options))
const address = process.argv[2] ?? '127.0.0.1:7450'
const consumer = new naru.v1.Consumer(address, credentials.createInsecure())

const stream = consumer.Subscribe()
stream.on('data', ({ number, records, revoking, heartbeat }) => {
  for (const one of records?.partitions ?? [])
    for (const { value } of one.records) console.log(value.toString())
  // Done up to this frame: commits its records, gives back what is asked for, and asks for more.
  if (records || revoking) stream.write({ next: { doneFrame: number } })
  // Nothing came for half a second. To half-close is to leave, and to let others have the partitions at once.
  const statuses = heartbeat?.statuses ?? []
  if (statuses.length > 0 && statuses.every(one => one.nextOffset === one.highWatermark)) stream.end()
})
stream.on('end', () => consumer.close())
stream.write({ join: { group: 'stub-readers', topics: ['stubs'] } })
stream.write({ next: {} })
