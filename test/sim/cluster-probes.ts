import { InvariantViolation } from '../../src/base/assert.ts'
import { NaruError } from '../../src/base/errors.ts'
import { ControllerDriver } from '../../src/drivers/controller/controller-driver.ts'
import { RaftStreams } from '../../src/drivers/raft/raft-streams.ts'
import type { RaftMessage } from '../../src/raft/messages.ts'
import type { RaftInput } from '../../src/raft/raft-input.ts'
import { RaftNode } from '../../src/raft/raft-node.ts'
import type { RaftOutput } from '../../src/raft/raft-output.ts'

export interface ClusterProbe {
  /** After each step of any Raft core, before anything is done about it. What it returns is done instead. */
  onStep(node: RaftNode, step: { readonly input: RaftInput; readonly output: RaftOutput }): RaftOutput
  /** A driver hands a message to its connections. */
  onSend(message: RaftMessage): void
  /** A read of the quorum begins; what it returns comes back with the answer. */
  onReadBegins(): number
  onReadAnswered(driver: ControllerDriver, read: { readonly begunAt: number; readonly index: number }): void
  /** Something that is no NaruError met code that makes one of anything: a bug that would look like an answer. */
  onAccident(thrown: unknown): void
}

/**
 * Looks into the nodes of this process from outside, by wrapping methods of their classes: the production code knows
 * nothing of it. One probe at a time; returns how to take it off.
 */
export function attachProbe(probe: ClusterProbe): () => void {
  const { step } = RaftNode.prototype
  const { send } = RaftStreams.prototype
  const { readIndex } = ControllerDriver.prototype
  const { from } = NaruError

  RaftNode.prototype.step = function (input, nowMs) {
    return probe.onStep(this, { input, output: step.call(this, input, nowMs) })
  }
  RaftStreams.prototype.send = function (message) {
    probe.onSend(message)
    send.call(this, message)
  }
  ControllerDriver.prototype.readIndex = async function (timeoutMs) {
    const begunAt = probe.onReadBegins()
    const index = await readIndex.call(this, timeoutMs)
    probe.onReadAnswered(this, { begunAt, index })
    return index
  }
  NaruError.from = thrown => {
    if (!(thrown instanceof NaruError)) probe.onAccident(thrown)
    return from.call(NaruError, thrown)
  }
  const onRejection = (thrown: unknown) => probe.onAccident(thrown)
  process.on('unhandledRejection', onRejection)
  return () => {
    RaftNode.prototype.step = step
    RaftStreams.prototype.send = send
    ControllerDriver.prototype.readIndex = readIndex
    NaruError.from = from
    process.off('unhandledRejection', onRejection)
  }
}

export function isAssertion(thrown: unknown): thrown is InvariantViolation {
  return thrown instanceof InvariantViolation
}
