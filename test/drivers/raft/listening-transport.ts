import type { MessageStream, Transport } from '../../../src/ports/transport.ts'
import { Raft } from '../../../src/wire/generated/internal-services.ts'
import type { RaftHello, RaftMessage } from '../../../src/wire/generated/raft.ts'

/** Shows every Raft message in the moment it leaves. */
export function listeningTransport(
  transport: Transport,
  onSend: (to: string, message: RaftMessage) => void,
): Transport {
  return {
    connect: (address, options) => {
      const channel = transport.connect(address, options)
      return {
        address,
        unary: (path, request, callOptions) => channel.unary(path, request, callOptions),
        close: () => channel.close(),
        stream: (path, callOptions) => {
          const stream = channel.stream(path, callOptions)
          return path === Raft.exchange.path ? listening(stream, onSend) : stream
        },
      }
    },
  }
}

function listening(stream: MessageStream, onSend: (to: string, message: RaftMessage) => void): MessageStream {
  let hello: RaftHello | undefined
  return {
    metadata: stream.metadata,
    write: bytes => {
      const frame = Raft.exchange.request.decode(bytes)
      hello ??= frame.hello
      if (frame.message) onSend(hello?.to ?? '', frame.message)
      return stream.write(bytes)
    },
    end: () => stream.end(),
    fail: error => stream.fail(error),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    setHandlers: handlers => stream.setHandlers(handlers),
  }
}
