import type protobuf from 'protobufjs/minimal.js'
import type { MessageInit } from './codec.ts'
import { checkedInteger, INT32_MAX } from './field-values.ts'
import type * as wire from './generated/group-record.ts'
import {
  coldMessage,
  type Draft,
  HotCodec,
  type HotMessage,
  readNested,
  writeInt32,
  writeInt64,
  writeNested,
  writeText,
} from './hot-codec.ts'
import type { StrictReader } from './strict-reader.ts'

/**
 * Records of `__groups`: one for each committed offset, so they come by the hundred thousand when a coordinator takes over.
 * Keys and values have a oneof of the same names under the same numbers; only offsets are worth code of their own.
 */
const offsetKey: HotMessage<wire.GroupOffsetKey> = {
  read(reader, end, earlier) {
    const key: Draft<wire.GroupOffsetKey> = earlier ?? { topicId: '', partition: 0 }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) key.topicId = reader.string('GroupOffsetKey.topicId')
      else if (tag === 16) key.partition = reader.int32()
      else reader.skip(tag, 'GroupOffsetKey', 2)
    }
    return key
  },
  write(writer, key) {
    writeText(writer, 10, { path: 'GroupOffsetKey.topicId', value: key.topicId })
    writeInt32(writer, 16, { path: 'GroupOffsetKey.partition', value: key.partition })
  },
}

const offsetValue: HotMessage<wire.GroupOffsetValue> = {
  read(reader, end, earlier) {
    const value: Draft<wire.GroupOffsetValue> = earlier ?? { nextOffset: 0, metadata: '', committedAtMs: 0 }
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) value.nextOffset = reader.int64('GroupOffsetValue.nextOffset')
      else if (tag === 16) value.leaderEpoch = reader.int32()
      else if (tag === 26) value.metadata = reader.string('GroupOffsetValue.metadata')
      else if (tag === 32) value.committedAtMs = reader.int64('GroupOffsetValue.committedAtMs')
      else reader.skip(tag, 'GroupOffsetValue', 4)
    }
    return value
  },
  write(writer, value) {
    writeInt64(writer, 8, { path: 'GroupOffsetValue.nextOffset', value: value.nextOffset })
    if (value.leaderEpoch !== undefined)
      writer.uint32(16).int32(checkedInteger(value.leaderEpoch, 'GroupOffsetValue.leaderEpoch', INT32_MAX))
    writeText(writer, 26, { path: 'GroupOffsetValue.metadata', value: value.metadata })
    writeInt64(writer, 32, { path: 'GroupOffsetValue.committedAtMs', value: value.committedAtMs })
  },
}

/** A member of the oneof that keys and values have alike. Its place in the list is its number less FIRST_KIND. */
type Kind = readonly [name: string, message: HotMessage<unknown>]

const FIRST_KIND = 2
const LENGTH = 2

const keyKinds: readonly Kind[] = [
  ['header', coldMessage('naru.internal.v1.GroupHeaderKey')],
  ['topic', coldMessage('naru.internal.v1.GroupTopicKey')],
  ['member', coldMessage('naru.internal.v1.GroupMemberKey')],
  ['target', coldMessage('naru.internal.v1.GroupMemberKey')],
  ['assignment', coldMessage('naru.internal.v1.GroupMemberKey')],
  ['offset', offsetKey as HotMessage<unknown>],
]

const valueKinds: readonly Kind[] = [
  ['header', coldMessage('naru.internal.v1.GroupHeaderValue')],
  ['topic', coldMessage('naru.internal.v1.GroupTopicValue')],
  ['member', coldMessage('naru.internal.v1.GroupMemberValue')],
  ['target', coldMessage('naru.internal.v1.GroupTargetValue')],
  ['assignment', coldMessage('naru.internal.v1.GroupAssignmentValue')],
  ['offset', offsetValue as HotMessage<unknown>],
]

export const groupRecordKey = new HotCodec<wire.GroupRecordKey>('naru.internal.v1.GroupRecordKey', {
  read(reader, end) {
    const oneof = new OneofReader(keyKinds)
    let group = ''
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 10) group = reader.string('GroupRecordKey.group')
      else if (!oneof.read(reader, tag)) reader.skip(tag, 'GroupRecordKey', 7)
    }
    return oneof.name === undefined ? { group } : { group, [oneof.name]: oneof.value }
  },
  write(writer, key) {
    writeText(writer, 10, { path: 'GroupRecordKey.group', value: key.group })
    writeOneof(writer, keyKinds, key)
  },
})

export const groupRecordValue = new HotCodec<wire.GroupRecordValue>('naru.internal.v1.GroupRecordValue', {
  read(reader, end) {
    const oneof = new OneofReader(valueKinds)
    let version = 0
    while (reader.hasMore(end)) {
      const tag = reader.tag()
      if (tag === 8) version = reader.int32()
      else if (!oneof.read(reader, tag)) reader.skip(tag, 'GroupRecordValue', 7)
    }
    return oneof.name === undefined ? { version } : { version, [oneof.name]: oneof.value }
  },
  write(writer, value) {
    writeInt32(writer, 8, { path: 'GroupRecordValue.version', value: value.version })
    writeOneof(writer, valueKinds, value)
  },
})

/** The last member in the bytes is the one; parts of it are merged. */
class OneofReader {
  readonly #kinds: readonly Kind[]
  name: string | undefined
  value: unknown

  constructor(kinds: readonly Kind[]) {
    this.#kinds = kinds
  }

  /** False: the tag is none of its members'. */
  read(reader: StrictReader, tag: number): boolean {
    const kind = (tag & 7) === LENGTH ? this.#kinds[(tag >>> 3) - FIRST_KIND] : undefined
    if (kind === undefined) return false
    const [name, message] = kind
    this.value = readNested(reader, name, message, this.name === name ? this.value : undefined)
    this.name = name
    return true
  }
}

function writeOneof(writer: protobuf.Writer, kinds: readonly Kind[], from: object): void {
  const values = from as Readonly<Record<string, MessageInit<unknown> | undefined>>
  for (const [index, [name, message]] of kinds.entries()) {
    const value = values[name]
    if (value !== undefined) writeNested(writer, ((index + FIRST_KIND) << 3) | LENGTH, { message, value })
  }
}
