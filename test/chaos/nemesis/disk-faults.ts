import { cp, open, readdir, rm, stat, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import type { SeededPrng } from '../../harness/seeded-prng.ts'
import { below, shuffled } from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import type { Fault, FaultName, Heal, Scene } from './fault.ts'
import { replicasElsewhere } from './healing.ts'

const FLIPS = 3
const LATE_MS = 300
const FULL_LEFT_BYTES = 8 * 2 ** 20
/** How old the copy is that is put back. */
const COPY_AGE_MS = 3_000
/** Of a node whose disk does not have what it had. */
const EXIT_DISK_FAILED = 74

export const DISK_FAULTS: readonly Fault[] = [
  damaged('flip-bytes', async (scene, directory) => {
    for (const file of shuffled(await partitionLogs(directory), scene.prng).slice(0, FLIPS))
      await flipByte(file, scene)
  }),
  damaged('truncate-files', async (scene, directory) => {
    for (const file of shuffled(await partitionLogs(directory), scene.prng).slice(0, FLIPS)) {
      const { size } = await stat(file)
      const left = below(size, scene.prng)
      scene.note(`truncated ${shortName(file)} from ${size} to ${left} bytes`)
      await truncate(file, left)
    }
  }),
  damaged('wiped-disk', (_, directory) => emptyDirectory(directory)),
  {
    name: 'old-copy',
    isAlone: true,
    async strike(scene) {
      const { cluster } = scene
      const nodeId = scene.prng.pick(cluster.nodeIds)
      const { dataDirectory } = cluster.place(nodeId)
      const copy = `${dataDirectory}-old`
      scene.note(`old-copy: node ${nodeId}`)
      // Of a node at rest: a copy of files that change would be one of no moment.
      await cluster.nodes.node(nodeId).kill()
      await cp(dataDirectory, copy, { recursive: true })
      await cluster.nodes.node(nodeId).start()
      await pause(COPY_AGE_MS)
      return async () => {
        await cluster.nodes.node(nodeId).kill()
        await replicasElsewhere(scene, nodeId)
        await rm(dataDirectory, { recursive: true })
        await cp(copy, dataDirectory, { recursive: true })
        await rm(copy, { recursive: true })
        await startAnew(scene, nodeId)
      }
    },
  },
  failing('sync-error', scene => setDisk(scene, { fails: 'sync' })),
  failing('write-error', scene => setDisk(scene, { fails: 'write' })),
  failing('slow-sync', scene => setDisk(scene, { lateMs: LATE_MS })),
  {
    name: 'full-disk',
    needs: 'fullDisk',
    async strike(scene) {
      const nodeId = scene.prng.pick(scene.cluster.nodeIds)
      const { image } = scene.cluster.place(nodeId)
      scene.note(`full-disk: node ${nodeId}`)
      await image?.fill(below(FULL_LEFT_BYTES, scene.prng))
      return async () => image?.empty()
    },
  },
  clocked('clock-step', async (scene, nodeIds) => {
    for (const nodeId of nodeIds) {
      const seconds = below(7_200, scene.prng) - 3_600
      scene.note(`clock of node ${nodeId} off by ${seconds} s`)
      await scene.cluster.place(nodeId).setClockOffset(seconds)
    }
    return () => {}
  }),
  clocked('clock-strobe', async (scene, nodeIds) => {
    scene.note(`clocks of nodes ${nodeIds.join(', ')} jump to and fro`)
    const timer = setInterval(() => {
      for (const nodeId of nodeIds)
        scene.cluster
          .place(nodeId)
          .setClockOffset(below(20, scene.prng) - 10)
          .catch(() => {})
    }, 200)
    return () => clearInterval(timer)
  }),
]

/** A voter that the leader tells of what it has lost ends, and is a new member at the next start (rule A4). */
async function startAnew({ cluster, note }: Scene, nodeId: number): Promise<void> {
  const node = cluster.nodes.node(nodeId)
  try {
    await node.start()
  } catch (thrown) {
    if (node.endings.at(-1)?.code !== EXIT_DISK_FAILED) throw thrown
    note(`node ${nodeId} was told what it has lost`)
    await node.start()
  }
}

export async function emptyDirectory(directory: string): Promise<void> {
  for (const name of await readdir(directory))
    await rm(join(directory, name), { recursive: true, force: true })
}

/** Stops a node, waits until all it has is elsewhere, and damages its files before it starts again. */
function damaged(name: FaultName, damage: (scene: Scene, directory: string) => Promise<void>): Fault {
  return {
    name,
    isAlone: true,
    async strike(scene) {
      const { cluster } = scene
      const nodeId = scene.prng.pick(cluster.nodeIds)
      scene.note(`${name}: node ${nodeId}`)
      await cluster.nodes.node(nodeId).kill()
      await replicasElsewhere(scene, nodeId)
      await damage(scene, cluster.place(nodeId).dataDirectory)
      return () => cluster.startAll()
    },
  }
}

function failing(name: FaultName, set: (scene: Scene) => Promise<Heal>): Fault {
  return { name, needs: 'faultyDisk', strike: set }
}

async function setDisk(scene: Scene, fault: Parameters<ReturnType<Scene['cluster']['place']>['setDisk']>[0]) {
  const { cluster, prng } = scene
  const nodeId = prng.pick(cluster.nodeIds)
  scene.note(`disk of node ${nodeId}: ${JSON.stringify(fault)}`)
  const place = cluster.place(nodeId)
  await place.setDisk(fault)
  return () => place.setDisk({})
}

function clocked(
  name: FaultName,
  step: (scene: Scene, nodeIds: readonly number[]) => Promise<() => void>,
): Fault {
  return {
    name,
    needs: 'clock',
    async strike(scene) {
      const { cluster, prng } = scene
      const chosen = shuffled(cluster.nodeIds, prng).slice(0, 1 + below(cluster.nodeIds.length, prng))
      const end = await step(scene, chosen)
      return async () => {
        end()
        for (const nodeId of chosen) await cluster.place(nodeId).setClockOffset(0)
      }
    },
  }
}

/** Segments of partitions that hold something, of a node that is down. */
async function partitionLogs(directory: string): Promise<string[]> {
  const files = await readdir(directory, { recursive: true })
  const logs = files.filter(name => name.endsWith('.log') && !name.includes('raft'))
  const found: string[] = []
  for (const name of logs.sort())
    if ((await stat(join(directory, name))).size > 0) found.push(join(directory, name))
  return found
}

async function flipByte(file: string, { prng, note }: { prng: SeededPrng; note(text: string): void }) {
  const handle = await open(file, 'r+')
  try {
    const { size } = await handle.stat()
    const at = below(size, prng)
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, at)
    byte[0] = (byte[0] as number) ^ (1 << below(8, prng))
    await handle.write(byte, 0, 1, at)
    note(`flipped a bit of byte ${at} of ${size} in ${shortName(file)}`)
  } finally {
    await handle.close()
  }
}

function shortName(file: string): string {
  return file.split('/').slice(-2).join('/')
}
