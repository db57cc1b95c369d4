/**
 * Known mistakes of replication, planted to see that the simulation finds them: in a copy of the cores' sources with a
 * passage exchanged, in the driver of the simulation, or in its controller. The production code holds no switch for them.
 */
import { build } from 'vite'
import type { ReplicationSimulationOptions } from './replication-simulation.ts'
import { CORES, type Cores } from './simulated-replica.ts'

export interface ReplicationMutant {
  readonly name: string
  /** What goes wrong with it. */
  readonly harm: string
  /** Exchanges in the sources: file of `src/replication`, passage (found exactly once), replacement. */
  readonly edits?: readonly (readonly [file: string, passage: string, replacement: string])[]
  readonly options?: Partial<ReplicationSimulationOptions>
  /** A seed that found it once, tried first: it saves the search. */
  readonly seed?: number
}

export const MUTANTS: readonly ReplicationMutant[] = [
  {
    name: 'truncate to HW',
    seed: 11,
    harm: 'a follower whose HW lags gives up committed records (KIP-101)',
    edits: [
      [
        'follower-state.ts',
        'const { offset, isPossible } = truncationTarget(this.#log, diverged)',
        'truncationTarget(this.#log, diverged)\n    const offset = this.#log.highWatermark\n    const isPossible = true',
      ],
    ],
  },
  {
    name: 'HW from ISR instead of maximal ISR',
    harm: 'the controller has accepted a member that lacks what is called committed',
    edits: [['leader-state.ts', 'of this.#inSync.maximal) {', 'of this.#inSync.members) {']],
  },
  {
    name: 'no epoch in Follow',
    seed: 159,
    harm: 'a follower truncates to the log of a leader that is deposed (KIP-320)',
    edits: [
      ['leader-state.ts', "if (follow.leaderEpoch < this.leaderEpoch) return refused('FENCED')", ''],
      ['leader-state.ts', "if (follow.leaderEpoch > this.leaderEpoch) return refused('NOT_LEADER')", ''],
      ['leader-state.ts', ' || follow.partitionEpoch < follower.addedEpoch', ''],
    ],
  },
  {
    name: 'ISR expansion without epoch-start check',
    seed: 412,
    harm: "the leader's own HW lags behind what was committed before it",
    edits: [['leader-state.ts', ' || acknowledged < this.epochStartOffset', '']],
  },
  {
    name: 'ISR expansion waiting for HW',
    harm: 'below min.insync.replicas HW cannot move before somebody enters: nobody ever does (C4)',
    edits: [
      [
        'leader-state.ts',
        '    if (!session || acknowledged === undefined) return false\n    if (acknowledged <',
        '    if (!session || acknowledged === undefined || !this.isHighWatermarkCurrent) return false\n    if (acknowledged <',
      ],
    ],
  },
  {
    name: 'proposal rolled back on timeout',
    harm: 'HW moves without the proposed member, and the delayed proposal is accepted (C5)',
    edits: [
      [
        'in-sync-replicas.ts',
        "if (proposal !== this.#proposal || answer.kind !== 'refused') return false",
        "if (proposal !== this.#proposal || answer.kind === 'accepted') return false\n" +
          "    if (answer.kind === 'unknown') {\n      this.#settle()\n      return true\n    }",
      ],
    ],
  },
  {
    name: 'acknowledgement before fsync',
    harm: 'a power cut takes what was acknowledged',
    options: { bugs: { acksBeforeSync: true } },
  },
  {
    name: 'Ack from an older generation',
    harm: 'a sync begun before a truncation acknowledges what came after it',
    options: { bugs: { countsOldSyncs: true } },
  },
  {
    name: 'stale AlterPartition accepted',
    harm: 'a delayed proposal puts a replica back into the ISR that left it since',
    options: { acceptsStale: true },
  },
  {
    name: 'HW before Diverged',
    seed: 17,
    harm: 'records that are not the committed ones come below HW (KAFKA-14704)',
    options: { bugs: { tellsEndsBeforeDivergence: true } },
  },
  {
    name: 'refusal of an overtaken copy ends a proposal',
    harm: 'an earlier copy was accepted, and HW moves without the new member (C5)',
    edits: [['in-sync-replicas.ts', 'if (answer.partitionEpoch > proposal.partitionEpoch) return false', '']],
  },
  {
    name: 'high watermark moves below min.insync.replicas',
    harm: 'who left the ISR is eligible and lacks what was committed since (KIP-966)',
    edits: [['leader-state.ts', '    if (!this.hasMinInsyncReplicas) return NOTHING\n', '']],
  },
  {
    name: 'a damaged follower is reset at once',
    seed: 98,
    harm: 'a proposal that is under way puts it into the ISR with an empty log (B4)',
    edits: [
      [
        'leader-state.ts',
        "reason: mayBeElected ? 'DAMAGED' : 'RESET', logStartOffset }",
        "reason: this.isr.includes(follower.nodeId) ? 'DAMAGED' : 'RESET', logStartOffset }",
      ],
    ],
  },
  {
    name: 'a replica removed and added again counts as the one before',
    seed: 149,
    harm: 'it enters the ISR with the log that goes once it hears of its removal',
    edits: [
      [
        'leader-state.ts',
        'if (!follower || follow.partitionEpoch < follower.addedEpoch) return',
        'if (!follower) return',
      ],
    ],
  },
  {
    name: 'a Follow acknowledges its fetch offset',
    harm: "the follower's disk does not have it yet (C2)",
    edits: [
      [
        'leader-state.ts',
        '      follower.follow(session, follow.number)\n',
        '      follower.follow(session, follow.number)\n      follower.acknowledge(follow.fetchOffset)\n',
      ],
    ],
  },
]

/** The cores of a mutant. Throws if a passage is gone: a mutant that changes nothing would prove nothing. */
export async function loadMutant(mutant: ReplicationMutant): Promise<Cores> {
  const edits = mutant.edits ?? []
  if (edits.length === 0) return CORES
  const unused = new Set(edits)
  const plugin = {
    name: 'mutant',
    enforce: 'pre' as const,
    transform(code: string, id: string) {
      let mutated = code
      for (const edit of edits) {
        const [file, passage, replacement] = edit
        if (!id.endsWith(`/src/replication/${file}`)) continue
        if (mutated.split(passage).length !== 2) throw new Error(`${file} does not hold once: ${passage}`)
        mutated = mutated.replace(passage, () => replacement)
        unused.delete(edit)
      }
      return mutated
    },
  }
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    plugins: [plugin],
    build: {
      write: false,
      minify: false,
      ssr: new URL('cores.ts', import.meta.url).pathname,
      rollupOptions: { output: { format: 'es' } },
    },
  })
  if (unused.size > 0) throw new Error(`mutant "${mutant.name}" was not applied`)
  const [bundle] = Array.isArray(result) ? result : [result]
  if (bundle === undefined || !('output' in bundle)) throw new Error('no bundle')
  const { code } = bundle.output[0]
  return import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)
}
