import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { takeCleanShutdown, writeCleanShutdown } from '../../src/log/clean-shutdown-file.ts'
import { readNodeFile, writeNodeFile } from '../../src/log/node-file.ts'
import { readPartitionMetadata, writePartitionMetadata } from '../../src/log/partition-metadata-file.ts'
import { readQuarantine, removeQuarantine, writeQuarantine } from '../../src/log/quarantine-file.ts'
import { type Disk, writeFileAtomically } from '../../src/ports/disk.ts'
import { SimMachine } from '../harness/sim-machine.ts'

const SAMPLES = new URL('../data/kafka-batches/', import.meta.url)
const FIXTURES = new URL('../fixtures/formats/v1/', import.meta.url)

const IDENTITY = { clusterId: 'Nk018hRAQFytWskYqtQduw', nodeId: 2, directoryId: 'x1Gv1NXbKRFWLZlSIvJVPm' }
const MARK = {
  reason: 'the checksum of the batch is wrong',
  file: '00000000000000000000.log',
  position: 4096,
  offset: 120,
  wallMs: 1_700_000_000_000,
}

function fixture(name: string): Buffer {
  return readFileSync(new URL(name, FIXTURES))
}

async function damage(disk: Disk, path: string, change: (text: string) => string): Promise<void> {
  const text = (await disk.readFile(path))?.toString() ?? ''
  const changed = change(text)
  expect(changed).not.toBe(text)
  await writeFileAtomically(disk, path, Buffer.from(changed))
}

describe('node.json', () => {
  it('is undefined in a new directory, and says the same after a power cut', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      expect(await readNodeFile(disk, '.')).toBeUndefined()
      await writeNodeFile(disk, '.', IDENTITY)
    })
    machine.powerCut()
    expect(await machine.run(disk => readNodeFile(disk, '.'))).toEqual(IDENTITY)
    expect(machine.image.readFile('node.json').toString()).toBe(fixture('node.json').toString())
  })

  it.each([
    ['a changed letter of the cluster id', (text: string) => text.replace('Nk018', 'Nk019')],
    ['another node id', (text: string) => text.replace('"nodeId": 2', '"nodeId": 3')],
    ['a cut', (text: string) => text.slice(0, 40)],
    ['nothing in it', () => ''],
    ['another kind of content', () => '[]\n'],
  ])('with %s is damaged, never unformatted', async (_, change) => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeNodeFile(disk, 'data', IDENTITY).catch(() => disk.makeDirectory('data'))
      await writeNodeFile(disk, 'data', IDENTITY)
      await damage(disk, 'data/node.json', change)
      await expect(readNodeFile(disk, 'data')).rejects.toMatchObject({
        reason: 'DATA_DIRECTORY_DAMAGED',
        message: expect.stringContaining('data/node.json'),
      })
    })
  })

  it('of a later release is refused by its version', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeFileAtomically(disk, 'node.json', fixture('node-version-2.json'))
      await expect(readNodeFile(disk, '.')).rejects.toMatchObject({
        reason: 'DATA_DIRECTORY_VERSION',
        message: expect.stringContaining('version 2'),
      })
    })
  })
})

describe('clean-shutdown', () => {
  it('is taken once, with its node epoch', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeCleanShutdown(disk, '.', { nodeEpoch: 17 })
      expect((await disk.readFile('clean-shutdown'))?.toString()).toBe(fixture('clean-shutdown').toString())
      expect(await takeCleanShutdown(disk, '.')).toEqual({ nodeEpoch: 17 })
      expect(await takeCleanShutdown(disk, '.')).toBeUndefined()
    })
  })

  it('does not come back after a power cut once it was taken', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const machine = new SimMachine(seed)
      await machine.run(disk => writeCleanShutdown(disk, '.', { nodeEpoch: 17 }))
      machine.powerCut()
      expect(await machine.run(disk => takeCleanShutdown(disk, '.'))).toEqual({ nodeEpoch: 17 })
      machine.powerCut()
      expect(await machine.run(disk => takeCleanShutdown(disk, '.'))).toBeUndefined()
    }
  })

  it('that cannot be read does not count, and is removed', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeCleanShutdown(disk, '.', { nodeEpoch: 17 })
      await damage(disk, 'clean-shutdown', text => text.replace('17', '18'))
      expect(await takeCleanShutdown(disk, '.')).toBeUndefined()
      expect(await disk.stat('clean-shutdown')).toBeUndefined()
    })
  })
})

describe('quarantine.json', () => {
  it('stays over a power cut, and goes durably', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const machine = new SimMachine(seed)
      await machine.run(disk => writeQuarantine(disk, '.', MARK))
      expect(machine.image.readFile('quarantine.json').toString()).toBe(fixture('quarantine.json').toString())
      machine.powerCut()
      expect(await machine.run(disk => readQuarantine(disk, '.'))).toEqual(MARK)
      await machine.run(disk => removeQuarantine(disk, '.'))
      machine.powerCut()
      expect(await machine.run(disk => readQuarantine(disk, '.'))).toBeUndefined()
      await machine.run(disk => removeQuarantine(disk, '.'))
    }
  })

  it('that cannot be read is a quarantine all the same', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeQuarantine(disk, '.', MARK)
      await damage(disk, 'quarantine.json', text => text.replace('checksum', 'shecksum'))
      expect((await readQuarantine(disk, '.'))?.reason).toContain('quarantine.json is damaged')
      await writeFileAtomically(disk, 'quarantine.json', Buffer.alloc(0))
      expect((await readQuarantine(disk, '.'))?.reason).toContain('unknown reason')
    })
  })

  it('may lack what is not known', async () => {
    const machine = new SimMachine(1)
    const mark = { ...MARK, file: undefined, position: undefined, offset: undefined }
    await machine.run(async disk => {
      await writeQuarantine(disk, '.', mark)
      expect(await readQuarantine(disk, '.')).toEqual(mark)
    })
  })
})

describe('partition.metadata', () => {
  it.each(
    readdirSync(SAMPLES, { withFileTypes: true })
      .filter(entry => entry.isDirectory())
      .map(entry => entry.name),
  )('of Kafka (%s) is read, and what is written in its place begins with its bytes', async name => {
    const bytes = readFileSync(new URL(`${name}/partition.metadata`, SAMPLES))
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writeFileAtomically(disk, 'partition.metadata', bytes)
      const topicId = await readPartitionMetadata(disk, '.')
      expect(topicId).toMatch(/^[A-Za-z0-9_-]{22}$/)
      await writePartitionMetadata(disk, '.', topicId as string)
      const written = await disk.readFile('partition.metadata')
      expect(written?.subarray(0, bytes.length)).toEqual(bytes)
      expect(await readPartitionMetadata(disk, '.')).toBe(topicId)
    })
  })

  it('never says another topic than was written, whichever bit of it turns', async () => {
    const topicId = 'WD3xNCkvQaWDX-VAeIT9Ww'
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      await writePartitionMetadata(disk, '.', topicId)
      const written = (await disk.readFile('partition.metadata')) as Buffer
      for (let bit = 0; bit < written.length * 8; bit++) {
        const flipped = Buffer.from(written)
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
        await writeFileAtomically(disk, 'partition.metadata', flipped)
        await expect(readPartitionMetadata(disk, '.')).rejects.toThrow(/partition.metadata/)
      }
    })
  })

  it('is undefined where there is none, and an error where it says nothing', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      expect(await readPartitionMetadata(disk, '.')).toBeUndefined()
      for (const bad of [
        '',
        'version: 0\n',
        'version: 0\ntopic_id: short',
        'topic_id: WD3xNCkvQaWDX-VAeIT9Ww',
      ]) {
        await writeFileAtomically(disk, 'partition.metadata', Buffer.from(bad))
        await expect(readPartitionMetadata(disk, '.')).rejects.toMatchObject({
          reason: 'DATA_DIRECTORY_DAMAGED',
        })
      }
      const later = Buffer.from('version: 1\ntopic_id: WD3xNCkvQaWDX-VAeIT9Ww')
      await writeFileAtomically(disk, 'partition.metadata', later)
      await expect(readPartitionMetadata(disk, '.')).rejects.toMatchObject({
        reason: 'DATA_DIRECTORY_VERSION',
      })
    })
  })
})
