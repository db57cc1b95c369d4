import type {
  OpenReplication,
  PartitionAck,
  PartitionData,
  PartitionDiverged,
  PartitionFollow,
  PartitionRefused,
  ReplicateRequest,
  ReplicateResponse,
  ReplicationPeer,
} from './generated/replication.ts'
import {
  coldMessage,
  type Draft,
  HotCodec,
  type HotMessage,
  readNested,
  writeInt64,
  writeNested,
  writeOptionalInt64,
} from './hot-codec.ts'

/** The frames of Replicate: records to followers, and their acknowledgements. */
const open = coldMessage<OpenReplication>('naru.internal.v1.OpenReplication')
const peer = coldMessage<ReplicationPeer>('naru.internal.v1.ReplicationPeer')
const follow = coldMessage<PartitionFollow>('naru.internal.v1.PartitionFollow')
const diverged = coldMessage<PartitionDiverged>('naru.internal.v1.PartitionDiverged')
const refused = coldMessage<PartitionRefused>('naru.internal.v1.PartitionRefused')

const ack: HotMessage<PartitionAck> = {
  read(reader, end) {
    const one: Draft<PartitionAck> = { number: 0, endOffset: 0 }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) one.number = reader.int64('PartitionAck.number')
      else if (tag === 16) one.endOffset = reader.int64('PartitionAck.endOffset')
      else reader.skip(tag, 'PartitionAck', 2)
    }
    return one
  },
  write(writer, one) {
    writeInt64(writer, 8, { path: 'PartitionAck.number', value: one.number })
    writeInt64(writer, 16, { path: 'PartitionAck.endOffset', value: one.endOffset })
  },
}

const data: HotMessage<PartitionData> = {
  read(reader, end) {
    const part: Draft<PartitionData> = {
      number: 0,
      from: 0,
      batches: [],
      highWatermark: 0,
      logStartOffset: 0,
    }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) part.number = reader.int64('PartitionData.number')
      else if (tag === 16) part.from = reader.int64('PartitionData.from')
      else if (tag === 26) {
        reader.countPart('PartitionData.batches')
        part.batches.push(reader.bytes())
      } else if (tag === 32) part.highWatermark = reader.int64('PartitionData.highWatermark')
      else if (tag === 40) part.logStartOffset = reader.int64('PartitionData.logStartOffset')
      else if (tag === 48) part.removedTombstonesEnd = reader.int64('PartitionData.removedTombstonesEnd')
      else if (tag === 56) part.removals = reader.int64('PartitionData.removals')
      else reader.skip(tag, 'PartitionData', 7)
    }
    return part
  },
  write(writer, part) {
    writeInt64(writer, 8, { path: 'PartitionData.number', value: part.number })
    writeInt64(writer, 16, { path: 'PartitionData.from', value: part.from })
    for (const batch of part.batches ?? []) writer.uint32(26).bytes(batch)
    writeInt64(writer, 32, { path: 'PartitionData.highWatermark', value: part.highWatermark })
    writeInt64(writer, 40, { path: 'PartitionData.logStartOffset', value: part.logStartOffset })
    const { removedTombstonesEnd, removals } = part
    writeOptionalInt64(writer, 48, {
      path: 'PartitionData.removedTombstonesEnd',
      value: removedTombstonesEnd,
    })
    writeOptionalInt64(writer, 56, { path: 'PartitionData.removals', value: removals })
  },
}

export const replicateRequest = new HotCodec<ReplicateRequest>('naru.internal.v1.ReplicateRequest', {
  read(reader, end) {
    const frame: Draft<ReplicateRequest> = { follows: [], acks: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) frame.open = readNested(reader, 'ReplicateRequest.open', open, frame.open)
      else if (tag === 18) frame.follows.push(readNested(reader, 'ReplicateRequest.follows', follow))
      else if (tag === 26) frame.acks.push(readNested(reader, 'ReplicateRequest.acks', ack))
      else reader.skip(tag, 'ReplicateRequest', 3)
    }
    return frame
  },
  write(writer, frame) {
    if (frame.open) writeNested(writer, 10, { message: open, value: frame.open })
    for (const value of frame.follows ?? []) writeNested(writer, 18, { message: follow, value })
    for (const value of frame.acks ?? []) writeNested(writer, 26, { message: ack, value })
  },
})

export const replicateResponse = new HotCodec<ReplicateResponse>('naru.internal.v1.ReplicateResponse', {
  read(reader, end) {
    const frame: Draft<ReplicateResponse> = { data: [], diverged: [], refused: [] }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) frame.opened = readNested(reader, 'ReplicateResponse.opened', peer, frame.opened)
      else if (tag === 18) frame.data.push(readNested(reader, 'ReplicateResponse.data', data))
      else if (tag === 26) frame.diverged.push(readNested(reader, 'ReplicateResponse.diverged', diverged))
      else if (tag === 34) frame.refused.push(readNested(reader, 'ReplicateResponse.refused', refused))
      else reader.skip(tag, 'ReplicateResponse', 4)
    }
    return frame
  },
  write(writer, frame) {
    if (frame.opened) writeNested(writer, 10, { message: peer, value: frame.opened })
    for (const value of frame.data ?? []) writeNested(writer, 18, { message: data, value })
    for (const value of frame.diverged ?? []) writeNested(writer, 26, { message: diverged, value })
    for (const value of frame.refused ?? []) writeNested(writer, 34, { message: refused, value })
  },
})
