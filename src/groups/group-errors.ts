import { NaruError } from '../base/errors.ts'
import type { MemberName } from './group-result.ts'

export function unknownGroup(group: string): NaruError {
  return new NaruError(
    'UNKNOWN_GROUP',
    `group "${group}" does not exist (it begins with its first member or commit: naru consume --group ${group} TOPIC)`,
    { details: { group } },
  )
}

export function unknownMember(group: string, member: string): NaruError {
  return new NaruError(
    'UNKNOWN_MEMBER',
    `"${member}" is no member of group "${group}" (any more): it left, or was not heard for its session timeout (join again)`,
    { details: { group, member } },
  )
}

export function memberFenced({ group, member }: MemberName): NaruError {
  return new NaruError(
    'MEMBER_FENCED',
    `another stream speaks for member "${member}" of group "${group}" now (give each process a member name of its own, or none)`,
    { details: { group, member } },
  )
}

export function joinOvertaken(
  { group, member }: MemberName,
  of: { readonly attempt: number; readonly last: number },
): NaruError {
  return new NaruError(
    'MEMBER_FENCED',
    `attempt ${of.attempt} of member "${member}" to join group "${group}" comes after its attempt ${of.last} (count up with each join of an instance)`,
    { details: { group, member } },
  )
}

export function groupNotEmpty(group: string, what: string, memberCount: number): NaruError {
  return new NaruError(
    'GROUP_NOT_EMPTY',
    `${what} of group "${group}" is refused while it has members, now ${memberCount} (stop them first)`,
    { details: { group, members: String(memberCount) } },
  )
}

export function notOwned(facts: {
  group: string
  member: string
  topic: string
  partition: number
  owner: string | undefined
}): NaruError {
  const { group, member, topic, partition, owner } = facts
  const now =
    owner === member
      ? 'it has it again since a later epoch than this one'
      : owner === undefined
        ? 'nobody has it now'
        : `"${owner}" has it now`
  return new NaruError(
    'PARTITION_NOT_OWNED',
    `partition ${partition} of topic "${topic}" is not member "${member}"'s of group "${group}" (any more): ${now} (drop its records: whoever has it next goes on from the last commit)`,
    { details: { group, member, topic, partition: String(partition) } },
  )
}
