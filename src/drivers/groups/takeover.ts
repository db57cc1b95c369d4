import { assert } from '../../base/assert.ts'
import type { Offset } from '../../base/brands.ts'
import type { GroupRecord } from '../../groups/group-record.ts'
import { GroupsImage } from '../../groups/groups-image.ts'
import type { MachineRuntime } from '../../machine/machine-runtime.ts'
import { type Clock, turn } from '../../ports/clock.ts'
import type { PartitionLeader } from '../replicas/partition-leader.ts'
import { storedBatches } from './group-batches.ts'
import { decodeGroupRecord } from './group-record-codec.ts'
import type { PartitionView } from './partition-view.ts'

/** Read, decoded and replayed in one turn of the event loop. */
const CHUNK_BYTES = 128 * 1024

export interface LoadedGroups {
  readonly image: GroupsImage
  readonly runtime: MachineRuntime<GroupRecord>
}

/**
 * The groups of a partition as its log makes them up to its end (D1): what lies below the end of the view from there, the
 * rest from the log, what is not committed yet so that it can be rolled back. Nobody appends meanwhile.
 */
export async function loadGroups(options: {
  readonly leader: PartitionLeader
  readonly view: PartitionView
  readonly clock: Clock
  readonly makeRuntime: (image: GroupsImage, endIndex: Offset) => MachineRuntime<GroupRecord>
}): Promise<LoadedGroups> {
  const { leader, clock } = options
  const { logEndOffset } = leader
  const { image, endOffset } = await fromView(options)
  const runtime = options.makeRuntime(image, endOffset)
  for (let from = endOffset; from < logEndOffset; ) {
    const slice = await leader.readAll({ from, maxBytes: CHUNK_BYTES })
    assert(slice.nextOffset > from, 'the log holds what lies before its end')
    for (const { records, endOffset: endIndex } of storedBatches(slice)) {
      const part = { records: records.map(({ key, value }) => decodeGroupRecord(key, value)), endIndex }
      if (endIndex <= leader.highWatermark) runtime.loadCommitted(part)
      else runtime.load(part)
    }
    from = slice.nextOffset
    runtime.onCommitted(Math.min(leader.highWatermark, from))
    await turn(clock)
  }
  return { image, runtime }
}

/** Where the view cannot be used, nothing: the log has it all. */
async function fromView({
  leader,
  view,
}: {
  readonly leader: PartitionLeader
  readonly view: PartitionView
}): Promise<{ image: GroupsImage; endOffset: Offset }> {
  const image = new GroupsImage()
  const endOffset = await view.load(({ key, value }) => image.replay(decodeGroupRecord(key, value)))
  if (endOffset !== undefined) return { image, endOffset }
  return { image: new GroupsImage(), endOffset: leader.logStartOffset }
}
