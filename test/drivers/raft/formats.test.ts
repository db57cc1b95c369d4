import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import {
  decodeMetadataChange,
  decodeMetadataRecord,
  encodeMetadataChange,
  encodeMetadataRecord,
} from '../../../src/drivers/controller/metadata-record-codec.ts'
import { readQuorumState, writeQuorumState } from '../../../src/drivers/raft/quorum-state-file.ts'
import { RaftLogFiles } from '../../../src/drivers/raft/raft-log-files.ts'
import {
  readSnapshotFile,
  snapshotFileName,
  writeSnapshotFile,
} from '../../../src/drivers/raft/snapshot-file.ts'
import type { MetadataRecord } from '../../../src/metadata/metadata-record.ts'
import type { Clock } from '../../../src/ports/clock.ts'
import { type Disk, writeFileAtomically } from '../../../src/ports/disk.ts'
import { encodeMembership } from '../../../src/raft/membership.ts'
import type { LogEntry } from '../../../src/raft/messages.ts'
import { SimMachine } from '../../harness/sim-machine.ts'
import { resourcesOf } from './raft-cluster.ts'

/** Written once, read for ever: see the README there. */
const FIXTURES = new URL('../../fixtures/formats/v1/raft/', import.meta.url)

const MEMBERSHIP = { voters: ['1@x1Gv1NXbKRFWLZlSIvJVPm', '2@qLw0nR5mT9eUuKc2D8hYzA'], learners: ['3@abc'] }
const QUORUM_STATE = {
  memberId: '1@x1Gv1NXbKRFWLZlSIvJVPm',
  hardState: { term: 7, votedFor: '2@qLw0nR5mT9eUuKc2D8hYzA' },
  voters: MEMBERSHIP.voters,
}
const RECORDS: MetadataRecord[] = [
  { type: 'featureLevel', version: 0, level: 1 },
  { type: 'cluster', version: 0, clusterId: 'Nk018hRAQFytWskYqtQduw' },
  { type: 'topic', version: 0, topicId: 'A'.repeat(22), name: 'logs', settings: { 'retention.ms': '1' } },
  {
    type: 'partition',
    version: 0,
    topicId: 'A'.repeat(22),
    partition: 0,
    replicas: [1, 2],
    isr: [2],
    elr: [],
    leader: 2,
    leaderEpoch: 3,
    partitionEpoch: 5,
    lastUncleanEpoch: null,
  },
]
const MARK = { index: 4, term: 7, membership: MEMBERSHIP }
const SNAPSHOT_NAME = snapshotFileName(MARK)
const SEGMENT_NAME = '00000000000000000000.log'

function entries(): LogEntry[] {
  return [
    { index: 1, term: 6, kind: 'noop', data: new Uint8Array(0) },
    { index: 2, term: 6, kind: 'config', data: encodeMembership(MEMBERSHIP) },
    { index: 3, term: 7, kind: 'command', data: encodeMetadataChange(RECORDS) },
  ]
}

function fixture(name: string): Buffer {
  return readFileSync(new URL(name, FIXTURES))
}

/** The fixtures as the files of a fresh directory. */
async function place(disk: Disk): Promise<void> {
  await disk.makeDirectory('raft')
  for (const name of ['quorum-state', 'log-state', SEGMENT_NAME, SNAPSHOT_NAME])
    await writeFileAtomically(disk, `raft/${name}`, fixture(name))
}

async function openFiles(machine: SimMachine, disk: Disk): Promise<RaftLogFiles> {
  const { clock } = machine
  // Whatever the simulated disk takes: the time stands in the batches.
  const fixed: Clock = {
    monotonicMs: () => clock.monotonicMs(),
    wallMs: () => 1_700_000_000_000,
    setTimer: (delayMs, callback) => clock.setTimer(delayMs, callback),
    setTick: (periodMs, callback) => clock.setTick(periodMs, callback),
    afterTurn: callback => clock.afterTurn(callback),
  }
  const resources = resourcesOf(disk, fixed)
  return (await RaftLogFiles.open({ resources, directory: 'raft', onEvent() {} })).files
}

it('the files of raft/ are read as they were written by the first release', async () => {
  const machine = new SimMachine(1)
  await machine.run(async disk => {
    await place(disk)
    expect(await readQuorumState(disk, 'raft')).toEqual(QUORUM_STATE)
    const snapshot = await readSnapshotFile(disk, `raft/${SNAPSHOT_NAME}`)
    expect(snapshot.mark).toEqual(MARK)
    expect(snapshot.records.map(decodeMetadataRecord)).toEqual(RECORDS)
    const files = await openFiles(machine, disk)
    const found = await files.readAll()
    expect(found.map(({ data, ...rest }) => ({ ...rest, data: Buffer.from(data) }))).toEqual(
      entries().map(entry => ({ ...entry, data: Buffer.from(entry.data) })),
    )
    expect(decodeMetadataChange(found[2]?.data ?? Buffer.alloc(0))).toEqual(RECORDS)
    await files.close()
  })
})

it('the same content gives the same bytes', async () => {
  const machine = new SimMachine(1)
  await machine.run(async disk => {
    await disk.makeDirectory('raft')
    await writeQuorumState(disk, 'raft', QUORUM_STATE)
    const records = RECORDS.map(encodeMetadataRecord)
    await writeSnapshotFile(disk, `raft/${SNAPSHOT_NAME}`, { mark: MARK, records })
    const files = await openFiles(machine, disk)
    await files.write(entries())
    await files.checkpoint()
    await files.close()
  })
  for (const name of ['quorum-state', 'log-state', SEGMENT_NAME, SNAPSHOT_NAME])
    expect(machine.image.readFile(`raft/${name}`).toString('hex'), name).toBe(fixture(name).toString('hex'))
})
