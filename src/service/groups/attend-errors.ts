import { NaruError } from '../../base/errors.ts'
import type { MemberName } from '../../groups/group-result.ts'

/** What ends the stream of a member whose coordinator goes elsewhere: the member keeps what it has if it comes back. */
export function coordinatorMoves({ group, member }: MemberName, cause: NaruError): NaruError {
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `the coordinator of group "${group}" is moving: ${cause.message} (attend again as member "${member}", at any node: it keeps its partitions)`,
    { cause, details: { ...cause.details, group, member } },
  )
}

export function noCoordinator(group: string, of: { waitedMs: number; last: NaruError }): NaruError {
  const { waitedMs, last } = of
  return new NaruError(
    'LEADER_NOT_AVAILABLE',
    `no coordinator of group "${group}" answered within ${Math.round(waitedMs)} ms: ${last.message} (try again)`,
    { cause: last, details: { ...last.details, group } },
  )
}
