import { openSync, writeSync } from 'node:fs'
import { connect } from '../../../src/server/client.ts'
import type { ClientTask } from './crashing-client.ts'
import { HistoryRecorder } from './history-recorder.ts'
import { machineMs } from './machine-clock.ts'
import { NumberedProducers } from './numbered-producers.ts'
import { FollowingReader } from './readers.ts'

/** Writes to all partitions of a topic and reads them until it is killed; each event is in the file before it counts. */
const task = JSON.parse(process.argv[2] ?? '') as ClientTask
const { addresses, topic, partitions, prefix, firstId, originMs } = task
const file = openSync(task.file, 'w')

// The parent is gone: nobody would kill this process any more.
process.stdin.on('end', () => process.exit(0)).resume()

let hasAnswer = false
const history = new HistoryRecorder({
  firstId,
  now: () => machineMs() - originMs,
  onEvent: event => {
    writeSync(file, `${JSON.stringify(event)}\n`)
    if (event.type !== 'ok' || hasAnswer) return
    hasAnswer = true
    process.stdout.write('at work\n')
  },
})
/** A life may begin while nothing answers. */
const connectTimeoutMs = 120_000
const client = await connect([...addresses], { connectTimeoutMs })
new NumberedProducers({ client, history, topic, partitions, prefix, slowness: 10 })
await FollowingReader.start(addresses[0] ?? '', {
  history,
  topic,
  partitions,
  prefix,
  nodeId: 1,
  connectTimeoutMs,
})
