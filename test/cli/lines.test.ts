import { PassThrough, Writable } from 'node:stream'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { keyedLine } from '../../src/cli/line-key.ts'
import { LINE_BYTES_MAX, LineSplitter } from '../../src/cli/line-splitter.ts'
import { LineWriter } from '../../src/cli/line-writer.ts'

function linesOf(chunks: readonly Buffer[]): string[] {
  const splitter = new LineSplitter()
  const lines = chunks.flatMap(chunk => [...splitter.split(chunk)])
  return [...lines, ...splitter.end()].map(line => line.toString('latin1'))
}

describe('LineSplitter', () => {
  it('gives the same lines however the input is cut into chunks', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom('a', 'b', '\n', '\r') }),
        fc.integer({ min: 1, max: 7 }),
        (text, size) => {
          const chunks = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
            Buffer.from(text.slice(i * size, (i + 1) * size)),
          )
          const expected = text.split('\n')
          if (expected.at(-1) === '') expected.pop()
          expect(linesOf(chunks)).toEqual(expected)
        },
      ),
    )
  })

  it('counts a last line without its end, and empty lines between', () => {
    expect(linesOf([Buffer.from('a\n\nb')])).toEqual(['a', '', 'b'])
    expect(linesOf([Buffer.from('a\n')])).toEqual(['a'])
    expect(linesOf([])).toEqual([])
  })

  it('refuses a line without end before it fills the memory, and names it', () => {
    const splitter = new LineSplitter()
    const chunk = Buffer.alloc(LINE_BYTES_MAX, 'a')
    expect([...splitter.split(Buffer.from('x\n')), ...splitter.split(chunk)]).toHaveLength(1)
    expect(() => [...splitter.split(Buffer.from('a'))]).toThrow('line 2 is longer than 8388608 bytes')
  })
})

describe('keyedLine', () => {
  const line = Buffer.from('  10.0.0.1 - \tGET /x')

  it('takes the n-th field as awk does and keeps the line whole', () => {
    const keyed = keyedLine(line, { kind: 'field', number: 1 }, 1)
    expect([keyed.key?.toString(), keyed.value]).toEqual(['10.0.0.1', line])
    expect(keyedLine(line, { kind: 'field', number: 4 }, 1).key?.toString()).toBe('/x')
  })

  it('cuts at the first separator', () => {
    const keyed = keyedLine(Buffer.from('k::v::w'), { kind: 'separator', separator: Buffer.from('::') }, 1)
    expect([keyed.key?.toString(), keyed.value.toString()]).toEqual(['k', 'v::w'])
  })

  it('refuses a line without the key, by its number', () => {
    expect(() => keyedLine(line, { kind: 'field', number: 5 }, 17)).toThrow('line 17 has no field 5')
    expect(() => keyedLine(line, { kind: 'separator', separator: Buffer.from(':') }, 17)).toThrow(
      'line 17 has no ":"',
    )
  })
})

describe('LineWriter', () => {
  it('waits for a stream that is full', async () => {
    const stream = new PassThrough({ highWaterMark: 1 })
    const writer = new LineWriter(stream)
    writer.add(Buffer.from('a'))
    let isDone = false
    const flushed = writer.flush().then(() => {
      isDone = true
    })
    await new Promise(resolve => setImmediate(resolve))
    expect(isDone).toBe(false)
    expect(stream.read().toString()).toBe('a\n')
    await flushed
  })

  it('takes a reader that went away as the end, not as an error', async () => {
    const stream = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error(), { code: 'EPIPE' })),
    })
    const writer = new LineWriter(stream)
    writer.add(Buffer.from('a'))
    await writer.flush()
    await new Promise(resolve => setImmediate(resolve))
    expect(writer.isClosed).toBe(true)
    writer.add(Buffer.from('b'))
    await writer.flush()
  })

  it('reports any other failure', async () => {
    const stream = new Writable({ write: (_chunk, _encoding, done) => done(new Error('disk full')) })
    const writer = new LineWriter(stream)
    writer.add(Buffer.from('a'))
    await expect(writer.flush()).rejects.toThrow('disk full')
  })
})
