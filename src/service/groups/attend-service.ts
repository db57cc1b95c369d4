import { NaruError } from '../../base/errors.ts'
import type { MessageStream } from '../../ports/transport.ts'
import { Coordination } from '../../wire/generated/internal-services.ts'
import { Groups } from '../../wire/methods.ts'
import { type HandlerEntry, refuse, telling } from '../handlers.ts'
import { wrongNode } from '../leader-forwarding.ts'
import type { ReadMemory } from '../read-memory.ts'
import { invalidRequest } from '../request-checks.ts'
import type { ServiceNode } from '../service-node.ts'
import { AttendEntry, type AttendParts } from './attend-entry.ts'
import { AttendSession } from './attend-session.ts'

/** Groups.Attend. A node that stops ends it: the member comes back at another one, and keeps what it has. */
export function attendHandler(parts: AttendParts): HandlerEntry {
  return telling(Groups.attend, (stream, context) => {
    new AttendEntry(parts, stream, context)
  })
}

/** The members of other nodes' clients, in groups that this node coordinates; on the peers' port. */
export function forwardedAttend(node: ServiceNode, memory: ReadMemory): HandlerEntry {
  return telling(Coordination.attend, stream => {
    const error = wrongNode(node.controller, stream)
    if (error === undefined) serve(node, memory, stream)
    else refuse(stream, error)
  })
}

function serve(node: ServiceNode, memory: ReadMemory, stream: MessageStream): void {
  let session: AttendSession | undefined
  stream.setHandlers({
    onMessage: message => {
      const { frame, member, address } = Coordination.attend.request.decode(message)
      if (session !== undefined && frame !== undefined) session.send(frame)
      else if (session !== undefined) session.heard()
      else session = join({ frame, member, address })
    },
    onDrain: () => session?.drained(),
    onClose: () => session?.close(),
  })

  function join(first: { frame: Buffer | undefined; member: string; address: string }): AttendSession {
    const { member, address } = first
    const asked = first.frame && Groups.attend.request.decode(first.frame).join
    if (asked === undefined) throw invalidRequest('the first frame of the stream must be join')
    const coordinator = node.groups.of(asked.group)
    const opened = new AttendSession(node, memory, {
      outlet: stream,
      coordinator,
      join: asked,
      member,
      address,
    })
    opened.joined.catch((thrown: unknown) => stream.fail(NaruError.from(thrown)))
    return opened
  }
}
