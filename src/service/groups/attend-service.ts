import { NaruError } from '../../base/errors.ts'
import type { MessageStream } from '../../ports/transport.ts'
import type { CoordinationAttendRequest } from '../../wire/generated/coordination.ts'
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
    if (error !== undefined) {
      refuse(stream, error)
      return
    }
    serve(node, memory, stream)
    // The join waits for that.
    stream.write(Groups.attend.response.encode({}))
  })
}

function serve(node: ServiceNode, memory: ReadMemory, stream: MessageStream): void {
  let session: AttendSession | undefined
  stream.setHandlers({
    onMessage: message => {
      const first = Coordination.attend.request.decode(message)
      const { frame } = first
      if (session !== undefined && frame !== undefined) session.send(frame)
      else if (session !== undefined) session.heard()
      else session = join(first)
    },
    onDrain: () => session?.drained(),
    onClose: () => session?.close(),
  })

  function join({ frame, member, address, ...drawn }: CoordinationAttendRequest): AttendSession {
    const asked = frame && Groups.attend.request.decode(frame).join
    if (asked === undefined) throw invalidRequest('the first frame of the stream must be join')
    const { instance: id = drawn.instance, attempt = 0 } = asked
    const coordinator = node.groups.of(asked.group)
    const opened = new AttendSession(node, memory, {
      outlet: stream,
      coordinator,
      join: asked,
      member,
      address,
      instance: { id, attempt, round: drawn.round },
    })
    opened.joined.catch((thrown: unknown) => stream.fail(NaruError.from(thrown)))
    return opened
  }
}
