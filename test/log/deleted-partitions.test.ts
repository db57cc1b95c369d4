import { expect, test } from 'vitest'
import { DeletedPartitions } from '../../src/log/deleted-partitions.ts'
import { writeFileAtomically } from '../../src/ports/disk.ts'
import { SimMachine } from '../harness/sim-machine.ts'

test('directories that are to get the same name at one time get one each, beside what is there', async () => {
  const machine = new SimMachine(1)
  const names = await machine.run(async disk => {
    for (const name of ['a-0', 'b-0', 'c-0']) {
      await disk.makeDirectory(name)
      await writeFileAtomically(disk, `${name}/of`, Buffer.from(name))
    }
    const { clock } = machine
    const deleted = new DeletedPartitions({ disk, clock, topicsDirectory: '.', keepMs: 1_000 })
    await deleted.rename('a-0', 'unfinished-0')
    await Promise.all(['b-0', 'c-0'].map(name => deleted.rename(name, 'unfinished-0')))
    return (await disk.list('.')).map(({ name }) => name)
  })
  expect(names.sort()).toEqual(['unfinished-0.1.deleted', 'unfinished-0.2.deleted', 'unfinished-0.deleted'])
})
