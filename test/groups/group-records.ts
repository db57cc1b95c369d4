import { unreachable } from '../../src/base/assert.ts'
import type { GroupImage } from '../../src/groups/group-image.ts'
import type { GroupRecord } from '../../src/groups/group-record.ts'
import type { GroupsImage } from '../../src/groups/groups-image.ts'
import type { TimelineMap } from '../../src/machine/timeline-map.ts'

/** Equal exactly for records of which the newer replaces the older: what compaction and the stored view key by. */
export function groupRecordKey(record: GroupRecord): string {
  const { type, group } = record
  switch (type) {
    case 'group':
      return JSON.stringify([type, group])
    case 'topic':
      return JSON.stringify([type, group, record.topicId])
    case 'member':
    case 'target':
    case 'assignment':
      return JSON.stringify([type, group, record.member])
    case 'offset':
      return JSON.stringify([type, group, record.topicId, record.partition])
    default:
      return unreachable(type, 'group record')
  }
}

/** Records that make these groups from nothing. Equal images give equal records in equal order. */
export function recordsOf(image: GroupsImage): GroupRecord[] {
  return image.names().flatMap(name => [...recordsOfGroup(image.get(name) as GroupImage)])
}

function* recordsOfGroup(group: GroupImage): Iterable<GroupRecord> {
  const head = { version: 0, group: group.name } as const
  if (group.header !== null) yield { type: 'group', ...head, value: group.header }
  for (const [topicId, value] of sorted(group.topics)) yield { type: 'topic', ...head, topicId, value }
  for (const [member, value] of sorted(group.members)) yield { type: 'member', ...head, member, value }
  for (const [member, value] of sorted(group.targets)) yield { type: 'target', ...head, member, value }
  for (const [member, value] of sorted(group.assignments))
    yield { type: 'assignment', ...head, member, value }
  for (const topicId of [...group.offsetTopics.keys()].sort()) {
    const offsets = [...group.offsetsOf(topicId)].sort(([a], [b]) => a - b)
    for (const [partition, value] of offsets) yield { type: 'offset', ...head, topicId, partition, value }
  }
}

function sorted<V>(map: TimelineMap<string, V>): [string, V][] {
  return [...map.entries()].sort(([a], [b]) => (a < b ? -1 : 1))
}
