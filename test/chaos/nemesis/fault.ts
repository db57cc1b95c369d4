import type { Admin } from '../../../src/client/index.ts'
import type { SeededPrng } from '../../harness/seeded-prng.ts'
import type { RestlessGroup } from '../groups/restless-group.ts'
import type { ChaosCluster } from '../machine/chaos-cluster.ts'
import type { Capability } from '../machine/world.ts'
import type { LogWorkload } from '../workload/log-workload.ts'
import type { Unrest } from './unrest.ts'

/** What faults act on. */
export interface Scene {
  readonly cluster: ChaosCluster
  readonly admin: Admin
  readonly workload: LogWorkload
  readonly group: RestlessGroup
  readonly prng: SeededPrng
  readonly unrest: Unrest
  /** One line into the story of the round. */
  note(text: string): void
}

/** Takes back what a fault did. Called once, with the network whole. */
export type Heal = () => Promise<void>

/** Something that goes wrong, until it is healed. */
export interface Fault {
  readonly name: FaultName
  readonly needs?: Capability
  /**
   * It begins with every replica in sync, no other fault lasts, and the next one waits until all is in sync again: what it
   * takes away is a minority's, and promised to be survived only as that.
   */
  readonly isAlone?: boolean
  strike(scene: Scene): Promise<Heal>
}

export type FaultName =
  | 'kill-leader'
  | 'kill-controller'
  | 'kill-leader-controller'
  | 'kill-coordinator'
  | 'pause-coordinator'
  | 'pause-leader'
  | 'pause-controller'
  | 'stop-leader'
  | 'kill-minority'
  | 'kill-all'
  | 'restart-storm'
  | 'pause-minority'
  | 'pause-all'
  | 'isolate-one'
  | 'cut-minority'
  | 'mute-one'
  | 'deafen-one'
  | 'bridge'
  | 'ring'
  | 'flapping'
  | 'slow-links'
  | 'lossy-links'
  | 'reset-connections'
  | 'power-cut-one'
  | 'power-cut-all'
  | 'flip-bytes'
  | 'truncate-files'
  | 'old-copy'
  | 'wiped-disk'
  | 'sync-error'
  | 'slow-sync'
  | 'full-disk'
  | 'write-error'
  | 'clock-step'
  | 'clock-strobe'
  | 'reassign'
  | 'drain'
  | 'preferred-leaders'
  | 'voters'
  | 'remove-node'

export const NOTHING_TO_HEAL: Heal = async () => {}
