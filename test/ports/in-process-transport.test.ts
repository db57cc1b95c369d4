import { InProcessTransport } from '../../src/ports/in-process-transport.ts'
import { SystemClock } from '../../src/ports/system-clock.ts'
import { transportSuite } from '../suites/transport.suite.ts'

transportSuite('the in-process transport', async (handlers, { receiveMessageBytesMax }) => {
  const clock = new SystemClock()
  const transport = new InProcessTransport({ handlers, clock, onFailure: () => {}, receiveMessageBytesMax })
  return { connect: options => transport.connect('this-node', options), close: () => clock.close() }
})
