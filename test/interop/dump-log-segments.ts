import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { checkPartitions } from './check-partitions.ts'
import { KafkaTools } from './kafka-tools.ts'
import { writeSampleLogs } from './sample-logs.ts'
import { serveLogs } from './served-logs.ts'

/**
 * npm run interop -- --kafka-libs DIR [--offline] [--keep]
 *
 * Shows Apache Kafka what Naru writes to disk: see check-partitions.ts. `--kafka-libs` is the `libs` folder of a Kafka
 * distribution; Java 17 or newer must be on the path. The logs are written by a node that real producers write to
 * (`npm run build` comes first), and by `src/log` alone, which can make what a node seldom meets; `--offline`: only those.
 */
const { values: flags } = parseArgs({
  options: {
    'kafka-libs': { type: 'string', default: process.env['KAFKA_LIBS'] ?? '' },
    offline: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
})
if (flags['kafka-libs'] === '') {
  console.error('interop: name the libs folder of a Kafka distribution: --kafka-libs DIR (or KAFKA_LIBS)')
  process.exit(2)
}

const directory = await mkdtemp(join(tmpdir(), 'naru-interop-'))
try {
  const partitions = await writeSampleLogs(join(directory, 'data'))
  if (!flags.offline) partitions.push(...(await serveLogs(join(directory, 'served'))))
  const report = await checkPartitions(new KafkaTools(flags['kafka-libs']), partitions, directory)
  const { complaints, ...counts } = report
  console.log(counts)
  for (const complaint of complaints.slice(0, 50)) console.error(`interop: ${complaint}`)
  if (complaints.length > 0) {
    console.error(`interop: Kafka complains ${complaints.length} times`)
    process.exitCode = 1
  } else console.log('interop: Kafka finds nothing wrong')
} finally {
  if (flags.keep) console.log(`interop: kept ${directory}`)
  else await rm(directory, { recursive: true, force: true })
}
