import type { MessageStream, ServiceHandler } from '../ports/transport.ts'
import type { MessageInit } from '../wire/codec.ts'
import { DescriptorSet } from '../wire/descriptor-set.ts'
import type { ServerReflectionRequest, ServerReflectionResponse } from '../wire/messages.ts'
import { ServerReflection } from '../wire/methods.ts'

type Answer = MessageInit<ServerReflectionResponse>

const { path, request: requests, response: responses } = ServerReflection.serverReflectionInfo

/** Same messages under another name, which older tools ask for first. */
const ALPHA_PATH = '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo'

const NOT_FOUND = 5
const UNIMPLEMENTED = 12

/**
 * gRPC reflection, by which grpcurl and its kin call a node without any .proto. Serves the descriptor set that
 * the build wrote; `services` is what this port serves, and only that is listed.
 */
export function reflectionHandlers(options: {
  descriptorSet: Uint8Array
  services: ReadonlySet<string>
}): Map<string, ServiceHandler> {
  const index = new DescriptorSet(options.descriptorSet)
  const handler: ServiceHandler = {
    kind: 'stream',
    handle: stream =>
      serve(stream, request => ({
        validHost: request.host,
        originalRequest: request,
        ...answer(index, options.services, request),
      })),
  }
  return new Map([
    [path, handler],
    [ALPHA_PATH, handler],
  ])
}

/** One answer per request, in order; a client that does not read its answers is not read either. */
function serve(stream: MessageStream, answerOf: (request: ServerReflectionRequest) => Answer): void {
  stream.setHandlers({
    onMessage: message => {
      if (!stream.write(responses.encode(answerOf(requests.decode(message))))) stream.pause()
    },
    onDrain: () => stream.resume(),
    onEnd: () => stream.end(),
  })
}

function answer(
  index: DescriptorSet,
  services: ReadonlySet<string>,
  request: ServerReflectionRequest,
): Answer {
  if (request.fileByFilename !== undefined) {
    return filesAnswer(index.fileByName(request.fileByFilename), `file ${request.fileByFilename}`)
  }
  if (request.fileContainingSymbol !== undefined) {
    return filesAnswer(
      index.fileBySymbol(request.fileContainingSymbol),
      `symbol ${request.fileContainingSymbol}`,
    )
  }
  if (request.listServices !== undefined) {
    const service = index.services.filter(name => services.has(name)).map(name => ({ name }))
    return { listServicesResponse: { service } }
  }
  if (request.allExtensionNumbersOfType !== undefined) {
    const baseTypeName = request.allExtensionNumbersOfType
    return index.fileBySymbol(baseTypeName) === undefined
      ? failure(NOT_FOUND, `no type ${baseTypeName}`)
      : { allExtensionNumbersResponse: { baseTypeName, extensionNumber: [] } }
  }
  if (request.fileContainingExtension !== undefined) return failure(NOT_FOUND, 'no type here has extensions')
  return failure(UNIMPLEMENTED, 'the request asks for nothing that this node knows')
}

function filesAnswer(files: readonly Buffer[] | undefined, what: string): Answer {
  return files
    ? { fileDescriptorResponse: { fileDescriptorProto: files } }
    : failure(NOT_FOUND, `this node knows no ${what}`)
}

function failure(errorCode: number, errorMessage: string): Answer {
  return { errorResponse: { errorCode, errorMessage } }
}
