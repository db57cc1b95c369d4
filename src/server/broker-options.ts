import type { NaruError } from '../base/errors.ts'
import type { Logger } from '../base/logger.ts'
import type { RaftDriverOptions } from '../drivers/raft/raft-driver.ts'
import type { LogDirectoryLimits } from '../log/log-directory-options.ts'
import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import type { KeyValueStore } from '../ports/key-value-store.ts'
import type { Prng } from '../ports/prng.ts'
import type { Transport } from '../ports/transport.ts'
import type { Settings } from './settings.ts'

/** Opens or makes a key-value store; `anew`: what is there goes first, damaged or not. */
export type OpenStore = (directory: string, options: { readonly anew: boolean }) => Promise<KeyValueStore>

export interface BrokerPorts {
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly transport: Transport
  readonly openStore: OpenStore
}

export interface BrokerOptions extends BrokerPorts {
  readonly settings: Settings
  readonly logger: Logger
  /** Only a restart can help this node: its disk failed, or the cluster refuses it. Called once. */
  readonly onFailed: (error: NaruError) => void
  /** Other than the defaults where a simulation is to see in seconds what else takes days. */
  readonly raftLimits?: RaftDriverOptions['limits']
  readonly logLimits?: Partial<LogDirectoryLimits>
}

/** As `host:port`, where others reach this node. */
export interface BrokerAddresses {
  readonly client: string
  readonly peer: string
}
