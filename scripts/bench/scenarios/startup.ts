import { rm } from 'node:fs/promises'
import type { BenchRun } from '../bench-run.ts'
import { NaruNode } from '../naru-node.ts'

const PARTITIONS = 6
const RECORD_BYTES = 1024

/**
 * From the start of the process until it is ready: on an empty directory, after an orderly stop, and after a kill with
 * a log that has to be read through. That one is in the page cache here, as it is when only the process died.
 */
export async function startup(run: BenchRun): Promise<void> {
  const { options } = run
  const megabytes = Math.round(options.recoveryBytes / 1e6)
  run.say(`start-up: ${options.repeats} times, with a log of ${megabytes} MB`)
  for (let repeat = 0; repeat < options.repeats; repeat++) {
    const dataDirectory = run.place(`startup-${repeat}`)
    const start = async (variant: string) => {
      const { result, usage } = await run.window(() => NaruNode.start({ dataDirectory }))
      run.add({ what: 'start until ready', system: 'naru', variant, repeat }, 'ms', result.readyMs, usage)
      return result
    }
    const first = await start('empty')
    await first.createTopic('log', PARTITIONS)
    const records = Math.ceil(options.recoveryBytes / RECORD_BYTES)
    const load = ['--records', String(records), '--record-bytes', String(RECORD_BYTES)]
    await first.run(['perf', 'produce', 'log', ...load])
    await first.kill()
    const second = await start(`${megabytes} MB, killed`)
    await second.stop()
    const third = await start(`${megabytes} MB, stopped`)
    await third.stop()
    await rm(dataDirectory, { recursive: true })
  }
}
