import { NaruError } from '../base/errors.ts'
import { Controller } from '../metadata/controller.ts'
import type { MetadataImage } from '../metadata/metadata-image.ts'
import type { MetadataRecord } from '../metadata/metadata-record.ts'
import type { ServiceNode } from './service-node.ts'

/** What a handler of the controller makes of the newest metadata. */
interface Decision<T> {
  readonly records: readonly MetadataRecord[]
  readonly response: T
}

/**
 * Runs a handler of the controller, on this node. What it answers without changing anything (a topic that does not
 * exist, say) leaves only after a read-index of the same leadership (rule A9): a controller that is deposed and does
 * not know it yet would else deny what its successor has made. A change needs none, its commit proves as much.
 */
export async function changeMetadata<T>(
  node: ServiceNode,
  decide: (controller: Controller, newest: MetadataImage) => Decision<T>,
): Promise<T> {
  const { controller, controllerOptions } = node
  const { term } = controller.status
  let isAnswer = false
  const handler = (newest: MetadataImage) => {
    isAnswer = true
    const decision = decide(new Controller(newest, controllerOptions), newest)
    isAnswer = decision.records.length === 0
    return decision
  }
  let outcome: () => T
  try {
    const response = await controller.submit(handler)
    outcome = () => response
  } catch (thrown) {
    if (!(thrown instanceof NaruError) || thrown.reason === 'NOT_CONTROLLER') throw thrown
    outcome = () => {
      throw thrown
    }
  }
  if (isAnswer) await confirmLeadership(node, term)
  return outcome()
}

async function confirmLeadership({ controller, freshMetadata }: ServiceNode, term: number): Promise<void> {
  await freshMetadata.confirm('whether this node is still the controller')
  if (controller.isLeading && controller.status.term === term) return
  throw new NaruError('NOT_CONTROLLER', 'the controller moved while it answered: try again')
}
