import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { readFormingFile, writeFormingFile } from '../../../src/drivers/raft/forming-file.ts'
import { openFormation } from '../../../src/drivers/raft/node-formation.ts'
import { readQuorumState } from '../../../src/drivers/raft/quorum-state-file.ts'
import { readNodeFile } from '../../../src/log/node-file.ts'
import { type Disk, writeFileAtomically } from '../../../src/ports/disk.ts'
import { SeededPrng } from '../../harness/seeded-prng.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { PeerCluster, type PeerNode } from './peer-cluster.ts'

const FOUNDING = {
  clusterId: 'Kx3vT0cUQ2mSyl0cGm2Fqw',
  author: 0,
  founders: [
    { nodeId: 0, directoryId: 'mE1yVQmKQ2i0a2T5Xx8z9g', address: 'naru-0.naru:7452', isVoter: true },
    { nodeId: 3, directoryId: 'r4nS8pVhT7CzR1q0bWcYdA', address: '[::1]:7452', isVoter: false },
  ],
}
const STATE = {
  nodeId: 3,
  directoryId: 'r4nS8pVhT7CzR1q0bWcYdA',
  clusterId: FOUNDING.clusterId,
  founding: FOUNDING,
}

function machine(): SimMachine {
  return new SimMachine(1)
}

function place(disk: Disk, nodeId = 3) {
  return { disk, dataDirectory: 'data', raftDirectory: 'data/raft', nodeId, prng: new SeededPrng(1) }
}

describe('forming.json', () => {
  it('is as every release has written and read it', async () => {
    const pinned = readFileSync(new URL('../../fixtures/formats/v1/forming.json', import.meta.url))
    const { run } = bound(machine())
    await run(async disk => {
      await disk.makeDirectory('data')
      await writeFormingFile(disk, 'data', STATE)
      expect((await disk.readFile('data/forming.json'))?.toString()).toBe(pinned.toString())
      await writeFileAtomically(disk, 'data/forming.json', pinned)
      expect(await readFormingFile(disk, 'data')).toEqual(STATE)
    })
  })

  it('holds a directory without a cluster, and a cluster without its founding', async () => {
    const { run } = bound(machine())
    await run(async disk => {
      await disk.makeDirectory('data')
      expect(await readFormingFile(disk, 'data')).toBeUndefined()
      for (const clusterId of [undefined, 'X']) {
        const state = { nodeId: 3, directoryId: 'd', clusterId, founding: undefined }
        await writeFormingFile(disk, 'data', state)
        expect(await readFormingFile(disk, 'data')).toEqual(state)
      }
    })
  })

  it('is refused when a bit of it has turned', async () => {
    const { run } = bound(machine())
    await run(async disk => {
      await disk.makeDirectory('data')
      await writeFormingFile(disk, 'data', STATE)
      const content = (await disk.readFile('data/forming.json')) as Buffer
      content[60] = (content[60] as number) ^ 1
      await writeFileAtomically(disk, 'data/forming.json', content)
      await expect(readFormingFile(disk, 'data')).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
      await expect(openFormation(place(disk))).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
    })
  })
})

describe('a data directory', () => {
  it('has its id on the disk before anybody learns of it', async () => {
    const sim = machine()
    const { run } = bound(sim)
    const first = await run(async disk => {
      await disk.makeDirectory('data')
      await disk.syncDirectory('.')
      return (await openFormation(place(disk))).directoryId
    })
    sim.powerCut()
    const again = await run(async disk => (await openFormation(place(disk))).directoryId)
    expect(again).toBe(first)
  })

  it('that was begun as another node is refused', async () => {
    const { run } = bound(machine())
    await run(async disk => {
      await disk.makeDirectory('data')
      await openFormation(place(disk, 3))
      await expect(openFormation(place(disk, 4))).rejects.toThrow('belongs to node 3, but node.id is 4')
    })
  })

  it.each(['data/raft', 'data/topics'])(
    'with files in %s and nothing that says whose is refused',
    async used => {
      const { run } = bound(machine())
      await run(async disk => {
        await disk.makeDirectory(used)
        await writeFileAtomically(disk, `${used}/file`, Buffer.from('x'))
        await expect(openFormation(place(disk))).rejects.toMatchObject({ reason: 'DATA_DIRECTORY_DAMAGED' })
      })
    },
  )

  it('whose node.json is lost keeps its place in the quorum, vote and all', async () => {
    const cluster = PeerCluster.of(3)
    cluster.startAll()
    await cluster.untilFormed()
    const [node] = cluster.nodes.filter(other => other !== cluster.leader) as [PeerNode]
    const identity = node.formed?.identity
    const read = () => node.machine.run(disk => readQuorumState(disk, 'data/raft'))
    // It may know of the leader before its disk does.
    while ((await read())?.hardState.term === 0) await cluster.scheduler.step()
    cluster.kill(node)
    const before = await read()
    expect(before?.hardState.term).toBeGreaterThan(0)
    await node.machine.run(disk => disk.remove('data/node.json'))
    cluster.start(node)
    await cluster.until(() => node.quorum !== undefined)
    const after = await node.machine.run(disk => readQuorumState(disk, 'data/raft'))
    expect(after?.hardState.term).toBeGreaterThanOrEqual(before?.hardState.term as number)
    expect(await node.machine.run(disk => readNodeFile(disk, 'data'))).toEqual(identity)
    await cluster.close()
  })
})

describe('a node that is told to stop while it waits for others', () => {
  it('stops waiting, and writes nothing more', async () => {
    const cluster = PeerCluster.of(3)
    const [one, two, three] = cluster.nodes as [PeerNode, PeerNode, PeerNode]
    cluster.start(one)
    cluster.start(two)
    await cluster.scheduler.runFor(1000)
    const { network } = one
    await cluster.scheduler.finish(network?.close() as Promise<void>)
    await cluster.until(() => one.error !== undefined)
    expect(one.error?.reason).toBe('NODE_DRAINING')
    const { changes } = one.machine.image
    cluster.start(three)
    await cluster.scheduler.runFor(2000)
    expect(one.machine.image.changes).toBe(changes)
    expect(two.formed).toBeUndefined()
    cluster.kill(one)
    cluster.start(one)
    await cluster.untilFormed()
    await cluster.close()
  })

  it('has nothing on its way to the disk when the stop is over, wherever it was', async () => {
    let stoppedInTheMiddle = 0
    for (let atMs = 1; atMs < 90; atMs += 2) {
      const cluster = PeerCluster.of(3, atMs)
      cluster.startAll()
      const [one] = cluster.nodes as [PeerNode]
      await cluster.scheduler.runFor(atMs)
      if (one.formed) break
      await cluster.scheduler.finish(one.network?.close() as Promise<void>)
      const { changes } = one.machine.image
      if (changes > 0) stoppedInTheMiddle++
      await cluster.scheduler.runFor(500)
      expect(one.machine.image.changes).toBe(changes)
      cluster.kill(one)
      cluster.start(one)
      await cluster.untilFormed()
      await cluster.close()
    }
    expect(stoppedInTheMiddle).toBeGreaterThan(5)
  })
})

function bound(sim: SimMachine) {
  return { run: <T>(work: (disk: Disk) => Promise<T>) => sim.run(work) }
}
