import { beforeEach, expect, test } from 'vitest'
import { NaruError } from '../../../src/base/errors.ts'
import { IsrProposals } from '../../../src/drivers/replicas/isr-proposals.ts'
import {
  type PartitionProposal,
  type Proposer,
  REPLICATION_LIMITS,
} from '../../../src/drivers/replicas/replication-options.ts'
import type { IsrProposal, ProposalAnswer } from '../../../src/replication/in-sync-replicas.ts'
import { SimMachine } from '../../harness/sim-machine.ts'

interface Call {
  readonly partitions: number[]
  answer(...answers: readonly ProposalAnswer[]): void
  break(): void
}

let machine: SimMachine
let proposals: IsrProposals
let calls: Call[]

beforeEach(() => {
  machine = new SimMachine(1)
  calls = []
  proposals = new IsrProposals({
    clock: machine.clock,
    limits: REPLICATION_LIMITS,
    alterPartitions: asked =>
      new Promise((resolve, reject) =>
        calls.push({
          partitions: asked.map(({ partition }: PartitionProposal) => partition),
          answer: (...answers) => resolve(answers),
          break: () => reject(new NaruError('NOT_CONTROLLER', 'the session is over')),
        }),
      ),
  })
})

class Leader implements Proposer {
  readonly topicId = 'logs'
  readonly answers: ProposalAnswer[] = []
  readonly partition: number
  proposal: IsrProposal | undefined

  constructor(partition: number) {
    this.partition = partition
  }

  propose(partitionEpoch = 0): void {
    this.proposal = { leaderEpoch: 0, partitionEpoch, isr: [], damaged: [] }
    proposals.propose(this, this.proposal)
  }

  onProposalAnswer(_proposal: IsrProposal, answer: ProposalAnswer): void {
    this.answers.push(answer)
  }
}

function asked(): number[][] {
  return calls.map(call => call.partitions)
}

test('those of one turn go in one call, and those of the next do not wait for its answer', async () => {
  const leaders = [0, 1, 2].map(partition => new Leader(partition))
  leaders[0]?.propose()
  leaders[1]?.propose()
  await machine.scheduler.runFor(1)
  leaders[2]?.propose()
  await machine.scheduler.runFor(1)
  expect(asked()).toEqual([[0, 1], [2]])
  calls[1]?.answer({ kind: 'accepted' })
  calls[0]?.answer({ kind: 'refused', partitionEpoch: 4 }, { kind: 'accepted' })
  await machine.scheduler.runFor(1)
  expect(leaders.map(leader => leader.answers)).toEqual([
    [{ kind: 'refused', partitionEpoch: 4 }],
    [{ kind: 'accepted' }],
    [{ kind: 'accepted' }],
  ])
})

test('a partition has one proposal on its way, and the next one follows its answer', async () => {
  const leader = new Leader(0)
  leader.propose(1)
  await machine.scheduler.runFor(1)
  leader.propose(2)
  await machine.scheduler.runFor(1)
  expect(asked()).toEqual([[0]])
  calls[0]?.answer({ kind: 'refused', partitionEpoch: 2 })
  await machine.scheduler.runFor(1)
  expect(asked()).toEqual([[0], [0]])
})

test('what got no answer is asked again after a pause, unless it has ended', async () => {
  const [stays, ends] = [new Leader(0), new Leader(1)]
  stays.propose()
  ends.propose()
  await machine.scheduler.runFor(1)
  calls[0]?.break()
  await machine.scheduler.runFor(1)
  ends.proposal = undefined
  expect(asked()).toEqual([[0, 1]])
  await machine.scheduler.runFor(REPLICATION_LIMITS.proposalRetryMs)
  expect(asked()).toEqual([[0, 1], [0]])
  expect(ends.answers).toEqual([{ kind: 'unknown' }])
})

test('only so many calls are on their way', async () => {
  for (let partition = 0; partition < 10; partition++) {
    new Leader(partition).propose()
    await machine.scheduler.runFor(1)
  }
  expect(asked()).toEqual([[0], [1], [2], [3]])
  calls[2]?.answer({ kind: 'accepted' })
  await machine.scheduler.runFor(1)
  expect(asked().at(-1)).toEqual([4, 5, 6, 7, 8, 9])
})
