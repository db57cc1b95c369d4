import type { Logger } from '../base/logger.ts'
import { ControllerDriver } from '../drivers/controller/controller-driver.ts'
import { openRaft } from '../drivers/raft/open-raft-storage.ts'
import type { RaftDriverOptions } from '../drivers/raft/raft-driver.ts'
import type { NodeIdentity } from '../log/node-file.ts'
import type { LogResources } from '../log/partition-log.ts'
import type { Clock } from '../ports/clock.ts'
import type { Disk } from '../ports/disk.ts'
import type { Prng } from '../ports/prng.ts'
import type { Transport } from '../ports/transport.ts'
import type { RaftEvent } from '../raft/raft-output.ts'
import type { Faults } from './faults.ts'

export interface OpenQuorumOptions {
  readonly identity: NodeIdentity
  readonly campaignAtOnce: boolean
  readonly directory: string
  /** Under which the data directory took part last. */
  readonly registeredEpoch: () => number
  readonly resources: LogResources
  readonly addressOf: RaftDriverOptions['addressOf']
  readonly raftLimits?: RaftDriverOptions['limits']
  readonly disk: Disk
  readonly clock: Clock
  readonly prng: Prng
  readonly transport: Transport
  readonly logger: Logger
  readonly faults: Faults
}

/** Opens a formatted `raft/`; from then on this node takes part in the quorum, and its image follows the metadata. */
export async function openQuorum(options: OpenQuorumOptions): Promise<ControllerDriver> {
  const { identity, directory, resources, logger, faults, disk, clock, prng, transport } = options
  const { clusterId, nodeId, directoryId } = identity
  const opened = await openRaft({
    resources,
    directory,
    nodeId,
    prng,
    onEvent: event => faults.onLogEvent(event),
  })
  const { damage, storage } = opened
  if (damage !== undefined)
    logger.error(
      { damage, memberId: storage.self, aside: `${directory}.damaged` },
      'the metadata log was damaged and is put aside: this node starts over as a new member of the quorum',
    )
  const { addressOf, campaignAtOnce, raftLimits } = options
  const limits = raftLimits && { limits: raftLimits }
  const ownDirectory = () => ({ directoryId, epoch: options.registeredEpoch() })
  const quorum = new ControllerDriver({
    raft: {
      clusterId,
      opened,
      disk,
      clock,
      prng,
      transport,
      addressOf,
      campaignAtOnce,
      ownDirectory,
      ...limits,
    },
    onFailed: error => faults.fail(error),
    onEvent: event => reportRaftEvent(logger, event),
  })
  if (!quorum.failure) return quorum
  await quorum.close()
  throw quorum.failure
}

/** What the quorum tells its node, as lines for the operator. */
function reportRaftEvent(logger: Logger, event: RaftEvent): void {
  switch (event.type) {
    case 'role-changed': {
      const { role, term, leader, reason } = event
      const isNews = role === 'leader' || leader !== undefined
      logger[isNews ? 'info' : 'debug']({ role, term, leader, reason }, 'the role in the metadata quorum')
      break
    }
    case 'membership-changed':
      logger.info({ index: event.index, ...event.membership }, 'the members of the metadata quorum')
      break
    case 'stall-detected':
      logger.warn(
        { stalledMs: Math.round(event.stalledMs) },
        'this process stood still: its event loop was blocked, or the machine was busy or paused',
      )
      break
    case 'transfer-ended':
      logger.info({ to: event.to, reason: event.reason }, 'the hand-over of the metadata leadership is over')
      break
    case 'message-ignored':
      logger.debug({ from: event.from, kind: event.kind, reason: event.reason }, 'a message was ignored')
      break
    case 'log-lost':
    case 'truncated':
    case 'leader-ready':
    case 'reads-aborted':
      break
  }
}
