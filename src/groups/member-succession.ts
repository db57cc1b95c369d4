import { joinOvertaken, memberFenced } from './group-errors.ts'
import type { MemberInfo, MemberInstance } from './group-record.ts'
import type { MemberName } from './group-result.ts'

/** Enough for a process that starts again and again while the one before it is cut off. */
const REPLACED_MAX = 4

/**
 * Who may take a member over from whom. Joins arrive in any order: one that waited in the connection of a node that was cut
 * off comes when its process has long joined by another node, or was replaced. So it is not the arrival that counts:
 * - of two joins of one process the later one holds, which the process has numbered;
 * - a process that was replaced under its name stays replaced.
 *
 * Returns the ids that are replaced from now on; throws MEMBER_FENCED. Nothing changes for the member then.
 */
export function succeed(
  before: MemberInfo | undefined,
  { instance, ...name }: MemberName & { readonly instance: MemberInstance },
): readonly string[] {
  if (before === undefined) return []
  const { instance: last, replaced } = before
  if (instance.id === last?.id) {
    if (isOlder(instance, last)) throw joinOvertaken(name, { attempt: instance.attempt, last: last.attempt })
    return replaced
  }
  if (replaced.includes(instance.id)) throw memberFenced(name)
  return last === null ? replaced : [...replaced, last.id].slice(-REPLACED_MAX)
}

function isOlder(one: MemberInstance, other: MemberInstance): boolean {
  return one.attempt < other.attempt || (one.attempt === other.attempt && one.round < other.round)
}
