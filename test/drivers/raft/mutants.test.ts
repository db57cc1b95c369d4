import { describe, expect, it } from 'vitest'
import type { RaftStorage } from '../../../src/drivers/raft/raft-storage.ts'
import { runChaos } from './cluster-chaos.ts'
import type { Spoilers } from './raft-cluster.ts'

const SEEDS_MAX = 80

/** Known mistakes of a driver, one at a time: the chaos must find each within a few seeds. */
const MUTANTS: { name: string; spoil: Spoilers; finds: RegExp }[] = [
  {
    name: 'the vote is not persisted with its term',
    spoil: { storage: withoutVotes },
    finds: /R1|R2/,
  },
  {
    name: 'acknowledgements leave before the fsync',
    spoil: { storage: withoutWaiting },
    finds: /R2|R5|R10|R14/,
  },
]

describe('a driver with a planted bug is found', () => {
  for (const { name, spoil, finds } of MUTANTS) {
    it(name, async () => {
      expect((await firstFailure(spoil))?.message).toMatch(finds)
    })
  }
})

async function firstFailure(spoil: Spoilers): Promise<Error | undefined> {
  for (let seed = 0; seed < SEEDS_MAX; seed++) {
    try {
      await runChaos({ seed, voters: 3, snapshotAfterEntries: 15, keptEntries: 0, spoil })
    } catch (thrown) {
      return thrown as Error
    }
  }
  return undefined
}

function withoutVotes(storage: RaftStorage): void {
  const persist = storage.persist.bind(storage)
  storage.persist = (request, onDurable, received) => {
    const hardState = request?.hardState && { ...request.hardState, votedFor: undefined }
    persist(request && { ...request, hardState }, onDurable, received)
  }
}

/** Behind a snapshot that is being stored nothing is acknowledged all the same: the driver itself would notice. */
function withoutWaiting(storage: RaftStorage): void {
  const persist = storage.persist.bind(storage)
  let snapshots = 0
  storage.persist = (request, onDurable, received) => {
    if (request?.snapshot) {
      snapshots++
      const onStored = () => {
        snapshots--
        onDurable()
      }
      persist(request, onStored, received)
    } else if (snapshots > 0) persist(request, onDurable, received)
    else {
      persist(request, () => {}, received)
      queueMicrotask(onDurable)
    }
  }
}
