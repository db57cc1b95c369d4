import type { AnomalyList } from './anomalies.ts'
import { endOf, type Operation } from './history.ts'
import { checkOwnership } from './ownership-checks.ts'
import type { VersionOrder } from './version-order.ts'

export interface GroupView {
  readonly partition: string
  readonly group: string
  /** Of this group in this partition, by invocation. */
  readonly operations: readonly Operation[]
  readonly order: VersionOrder
  readonly anomalies: AnomalyList
}

/**
 * What a consumer group does with one partition: G1 and G5 to G8. Its members' operations name the group: `assign` when the
 * member was given the partition, `poll` for what it was given to process, `commit` of a position (the offset that is next),
 * and `committed`, which asks for it; `own` and `stored` are the coordinator's record.
 */
export function checkGroups(
  partition: string,
  operations: readonly Operation[],
  order: VersionOrder,
  anomalies: AnomalyList,
): void {
  const byGroup = new Map<string, Operation[]>()
  for (const one of operations) {
    if (one.group === undefined) continue
    const own = byGroup.get(one.group)
    if (own === undefined) byGroup.set(one.group, [one])
    else own.push(one)
  }
  for (const [group, own] of byGroup) {
    const view = { partition, group, operations: own, order, anomalies }
    checkOwners(view)
    checkCommitted(view)
    checkPositions(view, operations)
    checkSkipped(view)
    checkOwnership(view)
  }
}

/** G5: who has lost a partition to another member commits nothing any more. */
function checkOwners({ partition, group, operations, anomalies }: GroupView): void {
  const assigns = operations.filter(one => one.op === 'assign' && one.outcome === 'ok')
  let at = 0
  let owner: Operation | undefined
  for (const commit of operations.filter(one => one.op === 'commit' && one.outcome === 'ok')) {
    for (let next = assigns[at]; next && endOf(next) < commit.invokedMs; next = assigns[++at])
      if (owner === undefined || endOf(next) >= endOf(owner)) owner = next
    if (owner === undefined || owner.process === commit.process) continue
    // It may have got the partition back meanwhile, and not have told yet.
    const isBack = assigns.some(
      one =>
        one.process === commit.process && endOf(one) >= commit.invokedMs && one.invokedMs <= endOf(commit),
    )
    if (isBack) continue
    const what = `${commit.process} committed ${commit.position} for ${group}, and ${owner.process} had the partition`
    anomalies.add('fenced-commit', partition, what, [owner, commit])
  }
}

/**
 * G5: what is committed is what was committed last. A commit counts as overwritten when another one that was
 * acknowledged began after its end; of unknown outcome it may come at any time.
 */
function checkCommitted({ partition, group, operations, anomalies }: GroupView): void {
  const commits = operations.filter(one => isCommit(one) && one.outcome !== 'fail')
  for (const asked of operations) {
    if (asked.op !== 'committed' || asked.outcome !== 'ok') continue
    let last: Operation | undefined
    for (const one of commits)
      if (one.outcome === 'ok' && endOf(one) < asked.invokedMs)
        if (last === undefined || one.invokedMs > last.invokedMs) last = one
    const lastBegun = last?.invokedMs ?? Number.NEGATIVE_INFINITY
    const isPossible = commits.some(
      one =>
        one.position === asked.position &&
        one.invokedMs <= endOf(asked) &&
        (one.outcome === 'info' || endOf(one) >= lastBegun),
    )
    if (isPossible || (last === undefined && asked.position === undefined)) continue
    const what = `${group} was told ${asked.position ?? 'of no commit'}, and ${last?.position ?? 'nothing'} was committed last`
    anomalies.add('lost-commit', partition, what, [last, asked])
  }
}

/** G7: nothing is committed that is not there; G8: and nothing that the member was not given. */
function checkPositions(
  { partition, group, operations, order, anomalies }: GroupView,
  all: readonly Operation[],
): void {
  const drained = all.filter(one => one.op === 'drain' && one.outcome === 'ok')
  const end = Math.max(-1, ...drained.map(one => one.endOffset ?? -1))
  const given = new Map<string, { position: number; operation: Operation }>()
  for (const one of operations) {
    if (one.outcome === 'ok' && one.op === 'assign')
      given.set(one.process, { position: one.startOffset ?? Number.POSITIVE_INFINITY, operation: one })
    else if (one.outcome === 'ok' && one.op === 'poll') {
      const last = one.offsets.at(-1)
      if (last !== undefined) given.set(one.process, { position: last + 1, operation: one })
    } else if (isCommit(one) && one.outcome === 'ok' && one.position !== undefined) {
      const writer = order.writers.get(order.at(one.position - 1)?.value ?? '')
      const isLater = writer !== undefined && writer.invokedMs > endOf(one)
      if ((end >= 0 && one.position > end) || isLater) {
        const what = `${one.process} committed ${one.position} for ${group}, where nothing was yet`
        anomalies.add('commit-beyond-end', partition, what, [one, writer])
      }
      const has = given.get(one.process)
      if (has !== undefined && one.position > has.position) {
        const what = `${one.process} committed ${one.position} for ${group}, and was given what is before ${has.position}`
        anomalies.add('commit-ahead', partition, what, [has.operation, one])
      }
    }
  }
}

/** G6: what lies before a committed position was given to some member, or before the group's beginning. */
function checkSkipped({ partition, group, operations, order, anomalies }: GroupView): void {
  const polls = operations.filter(one => one.op === 'poll' && one.outcome === 'ok')
  const commits = operations.filter(one => isCommit(one) && one.outcome === 'ok')
  const first = operations.find(one => one.op === 'assign' && one.outcome === 'ok')?.startOffset
  let highest: Operation | undefined
  for (const one of [...commits, ...polls]) if (reached(one) > reached(highest)) highest = one
  if (first === undefined || highest === undefined) return
  const given = new Set(polls.flatMap(one => one.offsets))
  const missing = order.offsets.filter(
    offset => offset >= first && offset < reached(highest) && !given.has(offset),
  )
  const [one] = missing
  if (one === undefined) return
  const sighting = order.at(one)
  const what = `${missing.length} records from offset ${one} on (${sighting?.value}) were given to no member of ${group}`
  anomalies.add('skipped-record', partition, what, [order.writers.get(sighting?.value ?? ''), highest])
}

function reached(one: Operation | undefined): number {
  if (one === undefined) return -1
  return one.position ?? (one.offsets.at(-1) ?? -1) + 1
}

function isCommit({ op }: Operation): boolean {
  return op === 'commit' || op === 'stored'
}
