import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { InProcessTransport } from '../../src/ports/in-process-transport.ts'
import { SystemClock } from '../../src/ports/system-clock.ts'
import type { ServiceHandlers } from '../../src/ports/transport.ts'
import { healthHandlers } from '../../src/rpc/health-service.ts'
import { HttpServer, statusRoutes } from '../../src/rpc/http-server.ts'
import { reflectionHandlers } from '../../src/rpc/reflection-service.ts'
import { Health, ServerReflection } from '../../src/wire/methods.ts'
import { failureOf, until } from '../harness/recorded-stream.ts'

const closing: Array<() => unknown> = []

afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

function channelTo(handlers: ServiceHandlers) {
  const clock = new SystemClock()
  closing.push(() => clock.close())
  return new InProcessTransport({ handlers, clock, onFailure: () => {} }).connect('here')
}

class Source {
  serving = new Map<string, boolean>([['', true]])
  readonly listeners = new Set<() => void>()
  isServing = (service: string) => this.serving.get(service)
  onChange = (listener: () => void) => {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  set(service: string, isServing: boolean): void {
    this.serving.set(service, isServing)
    for (const listener of this.listeners) listener()
  }
}

describe('health', () => {
  it('checks the node and its services', async () => {
    const source = new Source()
    source.set('naru.v1.Producer', false)
    const channel = channelTo(healthHandlers(source))
    const check = async (service: string) =>
      Health.check.response.decode(
        await channel.unary(Health.check.path, Health.check.request.encode({ service })),
      ).status
    expect(await check('')).toBe('SERVING')
    expect(await check('naru.v1.Producer')).toBe('NOT_SERVING')
    expect((await failureOf(check('naru.v1.Nothing'))).reason).toBe('UNKNOWN_SERVICE')
  })

  it('watches changes, also of a service that is not there yet, until the watcher goes', async () => {
    const source = new Source()
    const stream = channelTo(healthHandlers(source)).stream(Health.watch.path)
    const seen: string[] = []
    stream.setHandlers({ onMessage: m => void seen.push(Health.watch.response.decode(m).status) })
    stream.write(Health.watch.request.encode({ service: 'naru.v1.Groups' }))
    stream.end()
    await until(() => seen.length === 1, 'the first status')
    source.set('naru.v1.Groups', true)
    source.set('naru.v1.Groups', true)
    source.set('naru.v1.Groups', false)
    await until(() => seen.length === 3, 'two changes')
    expect(seen).toEqual(['SERVICE_UNKNOWN', 'SERVING', 'NOT_SERVING'])
    stream.fail(new Error('enough'))
    await until(() => source.listeners.size === 0, 'nobody listens any more')
  })
})

describe('reflection', () => {
  const descriptorSet = readFileSync(new URL('../data/reflection.binpb', import.meta.url))
  const { path, request, response } = ServerReflection.serverReflectionInfo
  const services = new Set(['grpc.health.v1.Health'])
  type Request = Parameters<typeof request.encode>[0]

  async function ask(question: Request, at = path) {
    const stream = channelTo(reflectionHandlers({ descriptorSet, services })).stream(at)
    const answer = new Promise<Buffer>((resolve, reject) => {
      stream.setHandlers({ onMessage: resolve, onClose: error => reject(error) })
    })
    stream.write(request.encode(question))
    stream.end()
    return response.decode(await answer)
  }

  it('lists what this port serves, by both names of the service', async () => {
    const expected = [{ name: 'grpc.health.v1.Health' }]
    expect((await ask({ listServices: '' })).listServicesResponse?.service).toEqual(expected)
    const alpha = await ask({ listServices: '' }, path.replace('.v1.', '.v1alpha.'))
    expect(alpha.listServicesResponse?.service).toEqual(expected)
  })

  it('finds files by symbol and name, with all that they import', async () => {
    const bySymbol = await ask({ fileContainingSymbol: 'google.rpc.Status' })
    const files = bySymbol.fileDescriptorResponse?.fileDescriptorProto.map(String) ?? []
    expect(files.some(file => file.includes('google/rpc/status.proto'))).toBe(true)
    expect(files.some(file => file.includes('google/protobuf/any.proto'))).toBe(true)
    const byName = await ask({ fileByFilename: 'grpc/health/v1/health.proto' })
    expect(byName.fileDescriptorResponse?.fileDescriptorProto.length).toBe(1)
    const method = await ask({ fileContainingSymbol: 'grpc.health.v1.Health.Check' })
    expect(method.fileDescriptorResponse).toEqual(byName.fileDescriptorResponse)
  })

  it('answers what is not there and goes on', async () => {
    const missing = await ask({ fileContainingSymbol: 'no.such.Thing', host: 'h' })
    expect(missing.errorResponse?.errorCode).toBe(5)
    expect(missing.validHost).toBe('h')
    expect(missing.originalRequest?.fileContainingSymbol).toBe('no.such.Thing')
    expect((await ask({ fileByFilename: 'no.proto' })).errorResponse?.errorCode).toBe(5)
    expect((await ask({})).errorResponse?.errorCode).toBe(12)
  })
})

describe('HTTP', () => {
  it('says what is healthy and ready, and what is missing', async () => {
    let unready: string | undefined = 'partition "logs" 3 is not in sync yet'
    const routes = statusRoutes({ unhealthyBecause: () => undefined, unreadyBecause: () => unready })
    const server = new HttpServer({ routes })
    closing.push(() => server.close())
    const base = `http://127.0.0.1:${await server.listen({ host: '127.0.0.1', port: 0 })}`
    expect((await fetch(`${base}/healthz`)).status).toBe(200)
    const notReady = await fetch(`${base}/readyz`)
    expect([notReady.status, await notReady.text()]).toEqual([503, 'partition "logs" 3 is not in sync yet\n'])
    unready = undefined
    expect((await fetch(`${base}/readyz?verbose`)).status).toBe(200)
    expect((await fetch(`${base}/readyz`, { method: 'HEAD' })).status).toBe(200)
    expect((await fetch(`${base}/readyz`, { method: 'POST', body: 'x' })).status).toBe(405)
    const lost = await fetch(`${base}/nowhere`)
    expect([lost.status, await lost.text()]).toEqual([404, 'there is: /healthz /readyz\n'])
  })
})
