// A client from the .proto files alone, without the SDK: store two records, read the topic to its end.
// Usage: node examples/thin-client.mjs [host:port]
import { fileURLToPath } from 'node:url'
import { credentials, loadPackageDefinition } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'

const proto = fileURLToPath(new URL('../proto', import.meta.url))
// `defaults`: empty lists come as such. `longs`: offsets are 64-bit.
const options = { includeDirs: [proto], defaults: true, longs: String, enums: String }
const files = ['naru/v1/producer.proto', 'naru/v1/consumer.proto']
const { naru } = loadPackageDefinition(loadSync(files, options))
const address = process.argv[2] ?? '127.0.0.1:7450'
const producer = new naru.v1.Producer(address, credentials.createInsecure())
const consumer = new naru.v1.Consumer(address, credentials.createInsecure())

const records = ['hello from a stub', 'and again'].map(text => ({ value: Buffer.from(text) }))
producer.Produce({ topic: 'stubs', partition: 0, records }, (error, answer) => {
  if (error) throw error
  for (const result of answer.results) console.log(`partition ${result.partition} offset ${result.offset}`)

  // One frame and a half-close are enough: the stream ends when every partition has reached its stop.
  const stream = consumer.Read()
  stream.on('data', frame => {
    for (const { records } of frame.records) for (const { value } of records) console.log(value.toString())
  })
  stream.on('end', () => [producer, consumer].map(client => client.close()))
  stream.end({ add: [{ topic: 'stubs', stop: { at: 'STOP_AT_CURRENT_END' } }] })
})
