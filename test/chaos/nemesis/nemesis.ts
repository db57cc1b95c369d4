import { below, shuffled } from '../machine/links.ts'
import { pause } from '../workload/numbered-producers.ts'
import type { Fault, FaultName, Heal, Scene } from './fault.ts'
import { allInSync, healAll } from './healing.ts'

export interface NemesisOptions {
  readonly faults: readonly Fault[]
  readonly durationMs: number
  /** A period may have as many. */
  readonly togetherMax: number
  /** How long faults last: between these. */
  readonly periodMs?: readonly [number, number] | undefined
  /** It goes on until each fault has struck. */
  readonly isEachOnce?: boolean
}

const PERIOD_MS: readonly [number, number] = [3_000, 9_000]
/** Periods in which nothing goes wrong: what was broken off must go on. */
const QUIET_SHARE = 1 / 5

/**
 * Draws faults period after period: a random subset, healed at each switch. So the cluster is never dead for good, and
 * faults meet that nobody would have put together. Everything is in sync before and after each period, for a fault of one
 * node is promised to be survived where the others are whole. Returns how often each fault struck.
 */
export async function harass(scene: Scene, options: NemesisOptions): Promise<Map<FaultName, number>> {
  const { prng, note } = scene
  const { durationMs, togetherMax, isEachOnce = false } = options
  const possible = options.faults.filter(
    ({ needs }) => needs === undefined || scene.cluster.world.can.has(needs),
  )
  const counts = new Map<FaultName, number>()
  const endMs = performance.now() + durationMs
  // A round has each of its kinds once before any comes again.
  let drawn: Fault[] = []
  const isOver = () => performance.now() >= endMs && !(isEachOnce && counts.size < possible.length)
  while (!isOver() && possible.length > 0) {
    await allInSync(scene)
    const [least, most] = options.periodMs ?? PERIOD_MS
    const lengthMs = least + (most - least) * prng.fraction()
    if (prng.chance(QUIET_SHARE)) {
      await pause(least)
      continue
    }
    if (drawn.length === 0) drawn = shuffled(possible, prng)
    const together = drawn[0]?.isAlone ? 1 : 1 + below(togetherMax, prng)
    const chosen = drawn.filter((one, at) => at === 0 || (at < together && !one.isAlone))
    drawn = drawn.filter(one => !chosen.includes(one))
    note(`- ${chosen.map(one => one.name).join(' + ')} for ${(lengthMs / 1000).toFixed(1)} s`)
    scene.unrest.begin()
    const heals: Heal[] = []
    try {
      for (const fault of chosen) {
        const heal = await struck(fault, scene)
        if (heal === undefined) continue
        heals.unshift(heal)
        counts.set(fault.name, (counts.get(fault.name) ?? 0) + 1)
      }
      await pause(lengthMs)
    } finally {
      await scene.cluster.world.network.setLinks(new Map())
      for (const heal of heals) await heal()
      // Not before: whose disk still fails ends again.
      await scene.cluster.startAll()
    }
  }
  await healAll(scene)
  await allInSync(scene)
  return counts
}

/** Undefined: another fault had left nothing to strike. */
async function struck(fault: Fault, scene: Scene): Promise<Heal | undefined> {
  try {
    return await fault.strike(scene)
  } catch (thrown) {
    scene.note(`    ${fault.name} came to nothing: ${(thrown as Error).message}`)
    return undefined
  }
}
