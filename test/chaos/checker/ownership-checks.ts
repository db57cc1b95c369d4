import type { GroupView } from './group-checks.ts'
import { endOf, type Operation } from './history.ts'

/**
 * What members of a group did with one partition, against what its coordinators wrote of it: `own` and `stored`. A history
 * without these has nothing to compare.
 *
 * The record is read after it was written, so all that it says may be later than it was: what is found is certain.
 */
export function checkOwnership(view: GroupView): void {
  if (!view.operations.some(({ op }) => op === 'own')) return
  checkGiven(view)
  checkStored(view)
}

/** G1: records go to the owner. G5: and to none what was committed before the partition became its own. */
function checkGiven({ partition, group, operations, anomalies }: GroupView): void {
  const periods = new Map<string, Operation[]>()
  for (const one of operations)
    if (one.op === 'own') periods.set(one.process, [...(periods.get(one.process) ?? []), one])
  /** Ended, and one more was given out: what was in hand at that very moment. */
  const excused = new Set<Operation>()
  const toldMs = new Map<string, number>()
  for (const poll of operations) {
    if (poll.op === 'assign') toldMs.set(poll.process, poll.invokedMs)
    const [first] = poll.offsets
    if (poll.op !== 'poll' || first === undefined) continue
    const own = periods.get(poll.process) ?? []
    const present = own.filter(one => endOf(one) >= poll.invokedMs)
    const past = own.findLast(one => endOf(one) < poll.invokedMs)
    const what = `${poll.process} of ${group} was given offset ${first}`
    if (present.length === 0) {
      if (past === undefined || excused.has(past))
        anomalies.add('unowned-record', partition, what, [past, poll])
      else excused.add(past)
      continue
    }
    const start = Math.min(...present.map(one => one.position ?? 0))
    if (first >= start) continue
    // By the record its next time may have begun already: it has not been told of that before it comes back.
    const isInHand = past && !excused.has(past) && (toldMs.get(poll.process) ?? 0) < endOf(past)
    if (isInHand) excused.add(past)
    else
      anomalies.add('committed-again', partition, `${what}, and ${start} was committed when its time began`, [
        ...present,
        poll,
      ])
  }
}

/** G5: what is told to be committed is in the record, which never goes back. G8: what it holds was given to somebody. */
function checkStored({ partition, group, operations, anomalies }: GroupView): void {
  let last: Operation | undefined
  /** Everything before was given to somebody, or lies before the group's beginning. */
  let upTo = 0
  const beyond = new Set<number>()
  const stored = new Set<number>()
  for (const one of operations) {
    if (one.op === 'poll') for (const offset of one.offsets) if (offset >= upTo) beyond.add(offset)
    while (beyond.delete(upTo)) upTo++
    const { position } = one
    if (one.op !== 'stored' || position === undefined) continue
    stored.add(position)
    const what = `${group} has committed ${position}`
    if (last === undefined) upTo = Math.max(upTo, position)
    else if (position < (last.position ?? 0))
      anomalies.add('lost-commit', partition, `${what}, after ${last.position}`, [last, one])
    while (beyond.delete(upTo)) upTo++
    if (position > upTo)
      anomalies.add('commit-ahead', partition, `${what}, and ${upTo} was given to nobody`, [one])
    last = one
  }
  for (const one of operations)
    if (one.op === 'commit' && one.outcome === 'ok' && !stored.has(one.position ?? -1)) {
      const what = `${one.process} of ${group} committed ${one.position}, which no coordinator wrote`
      anomalies.add('lost-commit', partition, what, [one])
    }
}
