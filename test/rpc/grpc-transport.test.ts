import { GrpcServer } from '../../src/rpc/grpc-server.ts'
import { GrpcTransport } from '../../src/rpc/grpc-transport.ts'
import { transportSuite } from '../suites/transport.suite.ts'

const silent = { info: () => {}, warn: () => {}, error: () => {} }

transportSuite('gRPC', async (handlers, { receiveMessageBytesMax }) => {
  const server = new GrpcServer({ handlers, logger: silent, limits: { receiveMessageBytesMax } })
  const port = await server.listen({ host: '127.0.0.1', port: 0 })
  const transport = new GrpcTransport()
  return { connect: options => transport.connect(`127.0.0.1:${port}`, options), close: () => server.close() }
})
