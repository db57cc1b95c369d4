import type { PlantedBug } from './planted-bugs.ts'

/** Mistakes of log, drivers and controller in what replicas promise, which only whole nodes on their disks show. */
export const REPLICA_MUTANTS: readonly PlantedBug[] = [
  {
    name: 'dedupe window of 1',
    harm: 'a retry of a batch that was stored before the last one is refused, or its records are given up (I2)',
    edits: [
      [
        'log/producer-state.ts',
        'const kept = follows ? batches.slice(1 - PRODUCER_BATCHES) : []',
        'const kept = []',
      ],
    ],
  },
  {
    name: 'duplicate answered before HW',
    harm: 'a retry is acknowledged though its records can still be lost (C7)',
    edits: [
      [
        'drivers/replicas/partition-leader.ts',
        "if (options.acks === 'NONE' || endOffset <= this.#log.highWatermark) options.done(outcome)",
        "if (result.kind === 'duplicate' || options.acks === 'NONE' || endOffset <= this.#log.highWatermark)\n      options.done(outcome)",
      ],
    ],
  },
  {
    name: 'recovery that cuts synced data as a torn tail',
    harm: 'damage is taken for what was never acknowledged, and the replica stays in the ISR without it (B2)',
    edits: [
      ['log/log-recovery.ts', '      defect.offset >= this.#recoveryPoint &&\n', ''],
      ['log/log-recovery.ts', 'if (endOffset < this.#recoveryPoint) {', 'if (false) {'],
    ],
  },
  {
    name: 'wiped replica kept in the ISR, whole nodes',
    harm: 'an empty disk is elected, and everybody truncates to nothing (A1)',
    edits: [
      [
        'metadata/node-control.ts',
        'const left = this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false)',
        'const left = isSameDirectory || !before ? this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false) : []',
      ],
    ],
  },
  {
    name: 'follower acknowledges before its sync',
    harm: 'an acknowledged record is lost when all lose power (B1)',
    edits: [
      [
        'drivers/replicas/partition-follower.ts',
        'return this.#options.isWriteCaching() ? this.#log.writtenEndOffset : this.#log.syncedEndOffset',
        'return this.#log.writtenEndOffset',
      ],
    ],
  },
  {
    name: 'truncate to HW, whole nodes',
    harm: 'a follower whose HW lags gives up committed records (KIP-101)',
    edits: [
      [
        'replication/follower-state.ts',
        'const { offset, isPossible } = truncationTarget(this.#log, diverged)',
        'truncationTarget(this.#log, diverged)\n    const offset = this.#log.highWatermark\n    const isPossible = true',
      ],
    ],
  },
]
