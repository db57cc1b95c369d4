import { expect, it } from 'vitest'
import { CorruptRaftData } from '../../../src/drivers/raft/corrupt-raft-data.ts'
import { readSnapshotFile, writeSnapshotFile } from '../../../src/drivers/raft/snapshot-file.ts'
import { writeFileAtomically } from '../../../src/ports/disk.ts'
import { crc32c } from '../../../src/records/crc32c.ts'
import { SimMachine } from '../../harness/sim-machine.ts'

const PATH = 'received.snapshot'
const SNAPSHOT = {
  mark: { index: 4, term: 7, membership: { voters: ['1@a'], learners: [] } },
  records: [Buffer.from('one'), Buffer.alloc(300_000, 2)],
}

it('is damaged, whatever byte of it turns and wherever it is cut', async () => {
  const machine = new SimMachine(1)
  await machine.run(async disk => {
    await writeSnapshotFile(disk, PATH, SNAPSHOT)
    expect(await readSnapshotFile(disk, PATH)).toEqual(SNAPSHOT)
    const whole = machine.image.readFile(PATH)
    for (let at = 0; at < whole.length; at += at < 150 ? 1 : 9973) {
      const turned = Buffer.from(whole)
      turned[at] = (turned[at] as number) ^ 0x10
      for (const bytes of [turned, whole.subarray(0, at)]) {
        await writeFileAtomically(disk, PATH, bytes)
        await expect(readSnapshotFile(disk, PATH)).rejects.toBeInstanceOf(CorruptRaftData)
      }
    }
  })
})

it('is damaged where its header makes no sense, though the checksum of that is right', async () => {
  const machine = new SimMachine(1)
  await machine.run(async disk => {
    for (const header of ['', '{', 'null', '7', '"text"', '[]', '{"index":4,"term":7}', '{"index":"4"}']) {
      const start = Buffer.alloc(12)
      start.write('NRSN', 'latin1')
      start.writeUInt32BE(1, 4)
      start.writeUInt32BE(header.length, 8)
      const crc = Buffer.alloc(4)
      crc.writeUInt32BE(crc32c(Buffer.concat([start, Buffer.from(header)])))
      await writeFileAtomically(disk, PATH, Buffer.concat([start, Buffer.from(header), crc]))
      await expect(readSnapshotFile(disk, PATH), header).rejects.toBeInstanceOf(CorruptRaftData)
    }
  })
})
