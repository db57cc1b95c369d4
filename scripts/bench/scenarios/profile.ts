import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BenchRun } from '../bench-run.ts'
import { type CpuProfile, selfTimes } from '../cpu-profile.ts'
import { NaruNode, profileArgs } from '../naru-node.ts'
import { RECORD_SIZES } from './throughput.ts'

const PARTITIONS = 6
const TOP = 15

/** Where the processor time of node, producer and reader goes, per record size. The figures of these runs mean nothing. */
export async function profile(run: BenchRun, profilesDirectory: string): Promise<string> {
  const parts: string[] = []
  for (const { recordBytes, variant } of RECORD_SIZES) {
    const directory = join(profilesDirectory, String(recordBytes))
    await mkdir(directory, { recursive: true })
    run.say(`profile: ${variant}, ${run.options.seconds} s`)
    const node = await NaruNode.start({
      dataDirectory: run.place(`profile-${recordBytes}`),
      profileDirectory: directory,
    })
    try {
      await node.createTopic('load', PARTITIONS)
      const load = ['--seconds', String(run.options.seconds), '--record-bytes', String(recordBytes)]
      console.log(
        `  ${(await node.run(['perf', 'produce', 'load', ...load], profileArgs(directory, 'producer'))).trim()}`,
      )
      console.log(
        `  ${(await node.run(['perf', 'consume', 'load'], profileArgs(directory, 'reader'))).trim()}`,
      )
    } finally {
      await node.stop()
    }
    for (const name of ['node', 'producer', 'reader'])
      parts.push(await topTable(join(directory, `${name}.cpuprofile`), `${name}, ${variant}`))
  }
  return parts.join('\n')
}

async function topTable(file: string, title: string): Promise<string> {
  const times = selfTimes(JSON.parse(await readFile(file, 'utf8')) as CpuProfile)
  const rows = times
    .slice(0, TOP)
    .map(one => `| ${one.percent.toFixed(1)} % | ${one.ms.toFixed(0)} | ${one.name} |`)
  return [`### ${title}`, '', '| of its time | ms | function |', '|---|---|---|', ...rows, ''].join('\n')
}
