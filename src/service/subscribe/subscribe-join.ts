import type { MemberSettings } from '../../client/consumer/consumer-settings.ts'
import {
  CLIENT_FRAME_BYTES_DEFAULT,
  CLIENT_FRAME_BYTES_MAX,
  CLIENT_FRAME_BYTES_MIN,
} from '../../wire/limits.ts'
import type { RecordFormat, SubscribeJoin } from '../../wire/messages.ts'
import { checkPosition } from '../positions.ts'
import { ReadCredit } from '../read-credit.ts'
import { integerWithin, invalidRequest } from '../request-checks.ts'

/** How a client paces itself. */
export type Pace =
  /** One Records per Next. */
  | 'next'
  /** As fast as the stream takes them; those of a frame are done when the next one is sent. */
  | 'auto'
  /** Against credit; commits come from the client. */
  | 'credit'

export interface JoinedOptions {
  readonly member: MemberSettings & { readonly creditBytesMax: number }
  readonly pace: Pace
  readonly credit: ReadCredit
  readonly format: RecordFormat
  readonly frameBytes: number
  readonly frameRecords: number
}

const FRAME_RECORDS_DEFAULT = 500
const FRAME_RECORDS_MAX = 10_000
/** Bytes that wait in the node per leader that a member reads from: what one frame takes, and no less than this. */
const CREDIT_BYTES_MIN = 256 * 1024

/** Names and topics are checked by the coordinator. */
export function joinedOptions(join: SubscribeJoin): JoinedOptions {
  checkPosition(join.start, 'start')
  if (join.start?.at === 'COMMITTED')
    throw invalidRequest(
      'start: POSITION_AT_COMMITTED is where every group goes on; say where to start without a commit',
    )
  if (join.autoNext && join.credit !== undefined)
    throw invalidRequest('auto_next and credit exclude each other: keep one')
  const frameBytes = integerWithin(join.maxFrameBytes, {
    name: 'max_frame_bytes',
    min: CLIENT_FRAME_BYTES_MIN,
    max: CLIENT_FRAME_BYTES_MAX,
    default: CLIENT_FRAME_BYTES_DEFAULT,
  })
  return {
    member: {
      group: join.group,
      topics: join.topics,
      topicPattern: join.topicPattern,
      member: join.member,
      start: join.start ?? { at: 'EARLIEST' },
      assignor: join.assignor,
      sessionTimeoutMs: join.sessionTimeoutMs,
      clientId: join.clientId,
      creditBytesMax: Math.max(CREDIT_BYTES_MIN, frameBytes),
    },
    pace: join.autoNext ? 'auto' : join.credit === undefined ? 'next' : 'credit',
    credit: join.credit === undefined ? ReadCredit.unlimited() : ReadCredit.of(join.credit),
    format: join.format,
    frameBytes,
    frameRecords: integerWithin(join.maxFrameRecords, {
      name: 'max_frame_records',
      min: 1,
      max: FRAME_RECORDS_MAX,
      default: FRAME_RECORDS_DEFAULT,
    }),
  }
}
