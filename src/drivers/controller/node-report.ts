import { NaruError } from '../../base/errors.ts'
import { codecOf } from '../../wire/codecs.ts'
import type { NodeReport } from '../../wire/generated/controller.ts'

export type { NodeReport }

const codec = codecOf<NodeReport>('naru.internal.v1.NodeReport')

export function encodeNodeReport(report: NodeReport): Buffer {
  return codec.encode(report)
}

/** What a member last told of itself (`MemberStatus.attachment`); undefined: nothing, or nothing that makes sense. */
export function decodeNodeReport(attachment: Uint8Array | undefined): NodeReport | undefined {
  if (attachment === undefined) return undefined
  try {
    return codec.decode(attachment)
  } catch (thrown) {
    if (!(thrown instanceof NaruError)) throw thrown
    return undefined
  }
}
