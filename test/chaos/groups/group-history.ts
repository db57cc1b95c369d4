/** What a member said, in the order in which it said it; `atMs` by the clock of the machine that all run on. */
export interface MemberEvent {
  readonly member: string
  readonly what: 'assigned' | 'revoked' | 'lost' | 'record' | 'left'
  readonly partition: number
  readonly atMs: number
  /** Of a record. */
  readonly offset?: number
}

export interface GroupVerdict {
  /** What is wrong, in words; empty: nothing. */
  readonly findings: readonly string[]
  readonly recordCount: number
  /** Given out a second time. */
  readonly repeatedCount: number
  /** Longest pause of each partition between two records. */
  readonly pausesMs: readonly number[]
}

/**
 * Holds what members were given to what a group promises: every record at least once, each partition in order (offsets
 * go back only where the partition changed hands), and nothing to a member after another one was given the partition,
 * unless it was assigned to it anew.
 */
export function checkGroup(
  events: readonly MemberEvent[],
  stored: ReadonlyMap<number, number>,
): GroupVerdict {
  const findings: string[] = []
  const pausesMs: number[] = []
  let recordCount = 0
  let repeatedCount = 0
  const inTime = [...events].sort((a, b) => a.atMs - b.atMs)
  for (const [partition, end] of stored) {
    const own = inTime.filter(event => event.partition === partition)
    const { found, next, repeated, records, longestMs } = checkPartition(own)
    findings.push(...found.map(text => `partition ${partition}: ${text}`))
    if (next < end) findings.push(`partition ${partition}: offsets ${next} to ${end} were given to nobody`)
    recordCount += records
    repeatedCount += repeated
    pausesMs.push(longestMs)
  }
  return { findings, recordCount, repeatedCount, pausesMs }
}

function checkPartition(events: readonly MemberEvent[]) {
  const found: string[] = []
  /** Who was assigned it and has not seen another one at work since. */
  const entitled = new Set<string>()
  const lastOffset = new Map<string, number>()
  let next = 0
  let repeated = 0
  let records = 0
  let longestMs = 0
  let lastMs: number | undefined
  for (const { what, member, offset = 0, atMs } of events) {
    if (what === 'assigned') {
      entitled.add(member)
      lastOffset.delete(member)
    }
    if (what === 'lost') entitled.delete(member)
    if (what !== 'record') continue
    records++
    if (!entitled.has(member)) found.push(`${member} was given ${offset}, which was another one's by then`)
    for (const other of entitled) if (other !== member) entitled.delete(other)
    const before = lastOffset.get(member)
    if (before !== undefined && offset <= before) found.push(`${member} was given ${offset} after ${before}`)
    if (offset > next) found.push(`${member} was given ${offset} when ${next} had been given to nobody`)
    if (offset < next) repeated++
    lastOffset.set(member, offset)
    next = Math.max(next, offset + 1)
    if (lastMs !== undefined) longestMs = Math.max(longestMs, atMs - lastMs)
    lastMs = atMs
  }
  return { found, next, repeated, records, longestMs }
}
