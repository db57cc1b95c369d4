import pino from 'pino'
import { Node, type NodeAddresses } from './node.ts'
import type { Settings } from './settings.ts'

/** Exit codes of a node that ends by itself: one for each kind of cause, so that scripts can tell. */
const EXIT_BUG = 70
const EXIT_DISK_FAILED = 74

/**
 * Runs a node in this process until SIGTERM or SIGINT, then stops it in order. A second signal ends it at once.
 * A broken invariant or a failed disk ends the process: state that may be wrong serves nobody.
 */
export async function runNode(
  settings: Settings,
  options: { onReady?: (addresses: NodeAddresses) => void } = {},
): Promise<void> {
  const logger = pino(
    { level: settings['log.level'], base: { node: settings['node.id'] } },
    pino.destination({ dest: 2, sync: true }),
  )
  const die = (err: unknown) => {
    logger.fatal(
      { err },
      'an unexpected error: the node stops at once. This is a bug of Naru, please report it',
    )
    process.exit(EXIT_BUG)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  // From here on, so that a signal that comes during the start or right after it is an orderly stop, too.
  const stopped = stopSignal()
  const node = await Node.start({
    settings,
    logger,
    onFailed: error => {
      logger.fatal({ reason: error.reason }, `${error.message} The node stops.`)
      process.exit(EXIT_DISK_FAILED)
    },
  })
  logger.info({ ...node.addresses, dataDirectory: settings['data.dir'] }, 'the node serves')
  options.onReady?.(node.addresses)
  const signal = await stopped
  logger.info({ signal }, 'the node stops in order')
  await node.stop()
  logger.info({}, 'the node has stopped')
}

function stopSignal(): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.once(signal, () => {
        resolve(signal)
        process.once(signal, () => process.exit(signal === 'SIGTERM' ? 143 : 130))
      })
    }
  })
}
