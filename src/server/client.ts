import { connectClient } from '../client/client.ts'
import type { Client, ClientOptions } from '../client/index.ts'
import { SystemClock } from '../ports/system-clock.ts'
import { SystemPrng } from '../ports/system-prng.ts'
import { initCompression } from '../records/compression.ts'
import { GrpcTransport } from '../rpc/grpc-transport.ts'

/** The package's main export: the SDK with the machine's own clock, randomness and gRPC. */
export * from '../client/index.ts'

/**
 * Connects to the cluster that these nodes (`host:port`; one is enough, several may fail in turn) belong to.
 *
 *     await using client = await connect('127.0.0.1:7450')
 *     await using producer = client.producer()
 *     await producer.send({ topic: 'logs', value: 'hello' })
 */
export async function connect(
  bootstrap: string | readonly string[],
  options: ClientOptions = {},
): Promise<Client> {
  await initCompression()
  // Timers of the clock do not keep the process alive; a client that waits to try again must.
  const alive = setInterval(() => {}, ALIVE_INTERVAL_MS)
  const ports = { transport: new GrpcTransport(), clock: new SystemClock(), prng: new SystemPrng() }
  try {
    return await connectClient(bootstrap, options, { ...ports, onClose: () => clearInterval(alive) })
  } catch (error) {
    clearInterval(alive)
    throw error
  }
}

const ALIVE_INTERVAL_MS = 3_600_000
