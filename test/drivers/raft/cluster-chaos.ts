import type { ClusterMember, RaftClusterOptions } from './raft-cluster.ts'
import { RaftCluster } from './raft-cluster.ts'

export interface ChaosOptions extends Omit<RaftClusterOptions, 'voters'> {
  readonly voters?: number
  readonly durationMs?: number
}

/**
 * One seed of trouble: kills, power cuts in the middle of any change of a disk, cut and one-way links, broken
 * connections, slow links, snapshots by the dozen; then everything heals and must converge. Each seed draws how much of
 * each it gets, so that some runs are calm and others hardly have a leader.
 */
export async function runChaos(options: ChaosOptions): Promise<RaftCluster> {
  const { seed, durationMs = 900 } = options
  const cluster = await RaftCluster.start({
    ...options,
    voters: options.voters ?? [1, 3, 3, 3, 5][seed % 5] ?? 3,
  })
  await new Chaos(cluster).run(durationMs)
  await cluster.converge()
  await cluster.close()
  return cluster
}

type Harm = 'kill' | 'pause' | 'powerCut' | 'cutAtChange' | 'partition' | 'oneWay' | 'reset' | 'slow' | 'all'

class Chaos {
  readonly #cluster: RaftCluster
  readonly #chance: Record<Harm, number>
  readonly #proposeMs: number

  constructor(cluster: RaftCluster) {
    this.#cluster = cluster
    const upTo = (max: number) => (cluster.prng.chance(0.3) ? 0 : cluster.prng.fraction() * max)
    this.#proposeMs = 2 + cluster.prng.fraction() * 10
    this.#chance = {
      kill: upTo(0.2),
      pause: upTo(0.15),
      powerCut: upTo(0.2),
      cutAtChange: upTo(0.4),
      partition: upTo(0.2),
      oneWay: upTo(0.2),
      reset: upTo(0.2),
      slow: upTo(0.1),
      all: upTo(0.06),
    }
  }

  async run(durationMs: number): Promise<void> {
    const { scheduler } = this.#cluster
    const endMs = scheduler.nowMs + durationMs
    this.#keepWorking(endMs)
    while (scheduler.nowMs < endMs) {
      await scheduler.runFor(20 + this.#cluster.prng.fraction() * 80)
      this.#harm()
    }
  }

  #keepWorking(endMs: number): void {
    const { scheduler, prng, members } = this.#cluster
    const work = () => {
      this.#cluster.propose(prng.pick([8, 8, 100]))?.catch(() => {})
      if (prng.chance(0.3)) this.#cluster.read(prng.pick(members))
      if (scheduler.nowMs < endMs) scheduler.schedule(this.#proposeMs, work, { label: 'work' })
    }
    scheduler.schedule(this.#proposeMs, work, { label: 'work' })
  }

  #harm(): void {
    const cluster = this.#cluster
    const { prng, network, members } = cluster
    const hit = (what: Harm) => prng.chance(this.#chance[what])
    const one = () => prng.pick(members)
    for (const member of members) if (member.isDown && prng.chance(0.5)) cluster.boot(member)
    if (hit('kill')) this.#unlessDown(one(), member => cluster.kill(member))
    if (hit('pause')) this.#unlessDown(one(), member => this.#pause(member))
    if (hit('powerCut')) this.#unlessDown(one(), member => cluster.powerCut(member))
    if (hit('cutAtChange'))
      this.#unlessDown(one(), member =>
        cluster.powerCutAtChange(member, 1 + Math.floor(prng.fraction() * 20)),
      )
    // The whole room loses its power: what was acknowledged must be on the disks.
    if (hit('all')) for (const member of members) this.#unlessDown(member, () => cluster.powerCut(member))
    if (prng.chance(0.3)) network.heal()
    if (hit('partition')) {
      const left = members.filter(() => prng.chance(0.5))
      cluster.partition(
        left,
        members.filter(member => !left.includes(member)),
      )
    }
    if (hit('oneWay')) network.cut(one().host, one().host)
    if (hit('reset')) network.reset(one().host, one().host)
    if (hit('slow')) network.slow(one().host, one().host, prng.fraction() * 150)
  }

  /** Long enough, sometimes, for the others to elect and commit: it wakes up as one of the past. */
  #pause({ machine }: ClusterMember): void {
    const { incarnation, scheduler } = machine
    incarnation.pause()
    scheduler.schedule(this.#cluster.prng.fraction() * 400, () => incarnation.resume(), { label: 'resume' })
  }

  #unlessDown(member: ClusterMember, harm: (member: ClusterMember) => void): void {
    if (!member.isDown) harm(member)
  }
}
