import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { CheckpointFile, decodeCheckpoint, encodeCheckpoint } from '../../src/log/checkpoint-file.ts'
import { LEADER_EPOCH_FORMAT, leaderEpochCheckpoint } from '../../src/log/leader-epoch-checkpoint.ts'
import { OFFSET_FORMAT, type OffsetEntry, offsetCheckpoint } from '../../src/log/offset-checkpoint.ts'
import { crc32c } from '../../src/records/crc32c.ts'
import { SimMachine } from '../harness/sim-machine.ts'

const SAMPLES = new URL('../data/kafka-batches/', import.meta.url)
const FIXTURES = new URL('../fixtures/formats/v1/', import.meta.url)

const OFFSETS: OffsetEntry[] = [
  { topic: 'logs', partition: 0, offset: 0 },
  { topic: 'logs', partition: 12, offset: 9_007_199_254_740_991 },
  { topic: 'a.b-c_d', partition: 3, offset: 42 },
]
const EPOCHS = [
  { epoch: 0, startOffset: 0 },
  { epoch: 3, startOffset: 120 },
]

describe('leader-epoch-checkpoint', () => {
  it('of Kafka is not believed: nothing shows whether a bit of it was turned', () => {
    const theirs = new URL('none/leader-epoch-checkpoint', SAMPLES)
    for (const url of [theirs, new URL('leader-epoch-checkpoint-version-0', FIXTURES)])
      expect(() => decodeCheckpoint(readFileSync(url), 'x', LEADER_EPOCH_FORMAT)).toThrow(/has version 0/)
  })

  it('has the bytes of format version 1', () => {
    const fixture = readFileSync(new URL('leader-epoch-checkpoint', FIXTURES))
    expect(encodeCheckpoint(EPOCHS, LEADER_EPOCH_FORMAT).toString()).toBe(fixture.toString())
    expect(decodeCheckpoint(fixture, 'x', LEADER_EPOCH_FORMAT)).toEqual(EPOCHS)
  })
})

/** With a right checksum, so that what else is wrong is found. */
function checked(text: string): Buffer {
  return Buffer.from(`${text}crc32c ${crc32c(Buffer.from(text)).toString(16).padStart(8, '0')}\n`)
}

it('misses lines that the count promises, and finds those beyond it', () => {
  for (const bad of ['1\n2\n0 0\n', '1\n0\n0 0\n', '1\n1\n0 0\n\n', '1\n1\n0 0 0\n', '1\n1\n0 -1\n'])
    expect(() => decodeCheckpoint(checked(bad), 'x', LEADER_EPOCH_FORMAT)).toThrow(
      /^checkpoint x is damaged: .*\. Remove the file and start again; docs\/operating\.md/,
    )
})

describe('offset checkpoint', () => {
  const good = encodeCheckpoint(OFFSETS, OFFSET_FORMAT)

  it('has the bytes of format version 1', () => {
    const fixture = readFileSync(new URL('recovery-point', FIXTURES))
    expect(good.toString()).toBe(fixture.toString())
    expect(decodeCheckpoint(fixture, 'x', OFFSET_FORMAT)).toEqual(OFFSETS)
  })

  it('tells nothing from an empty list and from damage', () => {
    expect(decodeCheckpoint(encodeCheckpoint([], OFFSET_FORMAT), 'x', OFFSET_FORMAT)).toEqual([])
    for (const bad of ['', '\n', '1\n', '1\n0\n', '0\n0\n', 'null', '1\n2\nlogs 0 0\n'])
      expect(() => decodeCheckpoint(Buffer.from(bad), 'data/recovery-point', OFFSET_FORMAT)).toThrow(
        expect.objectContaining({ message: expect.stringContaining('data/recovery-point') }),
      )
  })

  it('finds any turned bit and any cut', () => {
    for (let position = 0; position < good.length; position++) {
      const bad = Buffer.from(good)
      bad[position] = (bad[position] as number) ^ (1 << (position % 7))
      expect(() => decodeCheckpoint(bad, 'x', OFFSET_FORMAT)).toThrow(/checkpoint x/)
    }
    for (let length = 0; length < good.length; length++)
      expect(() => decodeCheckpoint(good.subarray(0, length), 'x', OFFSET_FORMAT)).toThrow(/damaged/)
  })

  it('names a version that it does not read', () => {
    expect(() => decodeCheckpoint(Buffer.from('9\n0\ncrc32c 00000000\n'), 'x', OFFSET_FORMAT)).toThrow(
      expect.objectContaining({ reason: 'DATA_DIRECTORY_VERSION' }),
    )
  })
})

describe('as a file', () => {
  it('is undefined where it was never written, and is there after a power cut', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      expect(await offsetCheckpoint(disk, '.', 'high-watermark').read()).toBeUndefined()
      await offsetCheckpoint(disk, '.', 'high-watermark').write(() => OFFSETS)
      await leaderEpochCheckpoint(disk, '.').write(() => EPOCHS)
    })
    machine.powerCut()
    await machine.run(async disk => {
      expect(await offsetCheckpoint(disk, '.', 'high-watermark').read()).toEqual(OFFSETS)
      expect(await leaderEpochCheckpoint(disk, '.').read()).toEqual(EPOCHS)
    })
  })

  it('is the old or the new list whenever the power goes', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const machine = new SimMachine(seed)
      await machine.run(disk =>
        offsetCheckpoint(disk, '.', 'recovery-point').write(() => OFFSETS.slice(0, 1)),
      )
      machine.crashAtChange(machine.image.changes + 1 + (seed % 6))
      void offsetCheckpoint(machine.disk, '.', 'recovery-point').write(() => OFFSETS)
      await machine.scheduler.runFor(1000)
      machine.powerCut()
      const read = await machine.run(disk => offsetCheckpoint(disk, '.', 'recovery-point').read())
      expect([1, 3]).toContain(read?.length)
    }
  })

  it('writes the newest of those that wait once, and answers all of them', async () => {
    const machine = new SimMachine(1)
    let renames = 0
    machine.image.onOperation = operation => {
      if (operation.kind === 'rename') renames++
      return undefined
    }
    await machine.run(async disk => {
      const file = new CheckpointFile(disk, 'f', OFFSET_FORMAT)
      const writes = Array.from({ length: 10 }, (_, offset) =>
        file.write(() => [{ topic: 't', partition: 0, offset }]),
      )
      await Promise.all(writes)
      expect(await file.read()).toEqual([{ topic: 't', partition: 0, offset: 9 }])
    })
    expect(renames).toBeLessThanOrEqual(2)
  })

  it('reports a failed write to its caller and writes the next one', async () => {
    const machine = new SimMachine(1)
    await machine.run(async disk => {
      const file = new CheckpointFile(disk, 'f', OFFSET_FORMAT)
      machine.image.syncErrorProbability = 1
      await expect(file.write(() => OFFSETS)).rejects.toMatchObject({ code: 'EIO' })
      machine.image.syncErrorProbability = 0
      await file.write(() => OFFSETS)
      expect(await file.read()).toEqual(OFFSETS)
    })
  })
})
