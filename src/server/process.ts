import { isatty } from 'node:tty'
import type { Logger } from 'pino'
import pino from 'pino'
import type { NaruError } from '../base/errors.ts'
import { Node } from './node.ts'
import type { Settings } from './settings.ts'

/** Exit codes of a node that ends by itself: one for each kind of cause, so that scripts can tell. */
const EXIT_BUG = 70
const EXIT_DISK_FAILED = 74
const EXIT_LEFT_ALONE = 75
const EXIT_REFUSED = 78
/** Lines that wait while the disk below the log is full; what comes then is dropped. */
const LOG_PENDING_BYTES_MAX = 1024 * 1024
/** Beyond the drain, for the sync of the files. */
const LEFT_ALONE_STOP_MS = 10_000

/**
 * Runs a node in this process until SIGTERM or SIGINT, then stops it in order. A second signal, of either kind, ends it at once.
 * A broken invariant or a failed disk ends the process: state that may be wrong serves nobody. A process that was
 * started with a channel to its parent (`naru dev`) also stops when that channel closes: nobody is left to stop it.
 */
export async function runNode(settings: Settings): Promise<void> {
  const logger = openLog(settings)
  const ending = tellHowItEnds(logger)
  const die = (err: unknown) => {
    ending.isTold = true
    logger.fatal(
      { err },
      'an unexpected error: the node stops at once. This is a bug of Naru, please report it',
    )
    process.exit(EXIT_BUG)
  }
  process.on('uncaughtException', die)
  process.on('unhandledRejection', die)
  // From here on, so that a signal that comes during the start or right after it is an orderly stop, too.
  const stopped = Promise.race([
    stopSignal(logger),
    parentGone(settings['drain.timeout.ms'] + LEFT_ALONE_STOP_MS),
  ])
  const node = new Node({
    settings,
    logger,
    onFailed: error => {
      ending.isTold = true
      logger.fatal({ reason: error.reason }, `${error.message} The node stops.`)
      process.exit(exitCodeOf(error))
    },
  })
  const started = node.start()
  // Why a start failed is told by who asked for it.
  started.catch(() => {
    ending.isTold = true
  })
  // A start may have to wait for others; a stop that comes meanwhile makes it fail.
  const isUp = await Promise.race([started.then(() => true), stopped.then(() => false)])
  if (isUp) logger.info({ ...node.addresses, dataDirectory: settings['data.dir'] }, 'the node serves')
  const cause = await stopped
  logger.info({ cause }, 'the node stops in order')
  await node.stop()
  ending.isTold = true
  logger.info({}, 'the node has stopped')
}

/** Standard error, written at once, so that a last line is never lost. Want of room there must not end a node. */
function openLog(settings: Settings): Logger {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: LOG_PENDING_BYTES_MAX })
  // It keeps what it could not write, and tries again with the next line.
  destination.on('error', () => {})
  return pino({ level: settings['log.level'], base: { node: settings['node.id'] } }, destination)
}

/** Whatever ends the process without a word of its own (an event loop with nothing left to do, say) gets one here. */
function tellHowItEnds(logger: Logger): { isTold: boolean } {
  const ending = { isTold: false }
  process.once('exit', code => {
    if (!ending.isTold) logger.fatal({ code }, 'the process of the node ends before the node has stopped')
  })
  return ending
}

/** A failure of this node's own disk or code, or a cluster that has no place for it. */
function exitCodeOf({ reason }: NaruError): number {
  if (reason === 'INTERNAL') return EXIT_BUG
  return reason === 'STORAGE_OFFLINE' || reason === 'CORRUPT_DATA' ? EXIT_DISK_FAILED : EXIT_REFUSED
}

function stopSignal(logger: Logger): Promise<NodeJS.Signals> {
  return new Promise(resolve => {
    let isStopping = false
    const stopOn = (signal: NodeJS.Signals, code: number) =>
      process.on(signal, () => {
        if (isStopping) process.exit(code)
        isStopping = true
        resolve(signal)
      })
    stopOn('SIGTERM', 143)
    stopOn('SIGINT', 130)
    // Node.js undoes what nohup asked for, so a hang-up would end a node that was to outlive its terminal.
    if ([0, 1, 2].some(isatty)) stopOn('SIGHUP', 129)
    else process.on('SIGHUP', signal => logger.info({ signal }, 'there is nothing to do on this signal'))
  })
}

const PARENT_GONE = 'the parent process is gone'

/** Never resolves in a process that was started without a channel to its parent. */
function parentGone(stopTimeoutMs: number): Promise<typeof PARENT_GONE> {
  return new Promise(resolve => {
    if (process.send === undefined) return
    const onGone = () => {
      resolve(PARENT_GONE)
      // Nobody is there to notice a start or a stop that hangs.
      setTimeout(() => process.exit(EXIT_LEFT_ALONE), stopTimeoutMs).unref()
    }
    if (!process.connected) return onGone()
    process.once('disconnect', onGone)
    // Listening must not keep a process alive that has stopped for another reason.
    process.channel?.unref()
  })
}
