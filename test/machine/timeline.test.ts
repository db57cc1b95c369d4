import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SnapshotRegistry } from '../../src/machine/snapshot-registry.ts'
import { TimelineMap } from '../../src/machine/timeline-map.ts'
import { TimelineValue } from '../../src/machine/timeline-value.ts'

describe('timeline structures', () => {
  it('go back to the snapshot, over sets, deletes and keys that were new', () => {
    const registry = new SnapshotRegistry()
    const map = new TimelineMap<string, number>(registry)
    const value = new TimelineValue(registry, 'a')
    map.set('kept', 1)
    map.set('changed', 2)
    map.set('deleted', 3)
    registry.take(10)
    map.set('changed', 20)
    map.set('changed', 21)
    map.delete('deleted')
    map.set('new', 4)
    map.delete('new')
    map.set('newer', 5)
    value.set('b')
    value.set('c')
    registry.revertTo(10)
    expect(sorted(map)).toEqual([
      ['changed', 2],
      ['deleted', 3],
      ['kept', 1],
    ])
    expect(value.get()).toBe('a')
  })

  it('tell a key with the value undefined from a missing one', () => {
    const registry = new SnapshotRegistry()
    const map = new TimelineMap<string, undefined>(registry)
    map.set('there', undefined)
    registry.take(0)
    map.delete('there')
    map.set('new', undefined)
    registry.revertTo(0)
    expect([...map.keys()]).toEqual(['there'])
  })

  it('refuse to go back beyond what was kept', () => {
    const registry = new SnapshotRegistry()
    registry.take(5)
    registry.take(9)
    registry.forgetBelow(9)
    expect(registry.count).toBe(1)
    expect(() => registry.revertTo(8)).toThrow('no snapshot of 8')
  })

  it('notice a change that belongs to no record', () => {
    const registry = new SnapshotRegistry()
    const value = new TimelineValue(registry, 1)
    registry.take(3)
    value.set(2)
    expect(() => registry.take(3)).toThrow('state changed at 3 without a record')
  })

  it('agree with a naive twin that copies the whole state at each snapshot', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), steps => {
        const registry = new SnapshotRegistry()
        const map = new TimelineMap<number, number>(registry)
        const value = new TimelineValue(registry, 0)
        let twin = { entries: new Map<number, number>(), value: 0 }
        let copies: { index: number; state: typeof twin }[] = []
        const copy = () => ({ entries: new Map(twin.entries), value: twin.value })
        let index = 0
        for (const [kind, key, number] of steps) {
          if (kind === 'set') {
            map.set(key, number)
            twin.entries.set(key, number)
          } else if (kind === 'delete') {
            expect(map.delete(key)).toBe(twin.entries.delete(key))
          } else if (kind === 'clear') {
            map.clear()
            twin.entries.clear()
          } else if (kind === 'value') {
            value.set(number)
            twin.value = number
          } else if (kind === 'take') {
            registry.take(++index)
            copies.push({ index, state: copy() })
          } else if (copies.length > 0) {
            const target = copies[number % copies.length] as (typeof copies)[number]
            if (kind === 'revert') {
              registry.revertTo(target.index)
              copies = copies.filter(one => one.index <= target.index)
              twin = target.state
              target.state = copy()
            } else {
              registry.forgetBelow(target.index)
              copies = copies.filter(one => one.index >= target.index)
            }
          }
          expect(sorted(map)).toEqual([...twin.entries].sort((a, b) => a[0] - b[0]))
          expect(value.get()).toBe(twin.value)
          expect(registry.count).toBe(copies.length)
        }
      }),
      { numRuns: 500 },
    )
  })
})

const step = fc.tuple(
  fc.constantFrom(
    'set',
    'set',
    'set',
    'delete',
    'delete',
    'clear',
    'value',
    'take',
    'take',
    'revert',
    'forget',
  ),
  fc.nat(5),
  fc.nat(99),
)

function sorted<K, V>(map: TimelineMap<K, V>): [K, V][] {
  return [...map.entries()].sort((a, b) => (a[0] < b[0] ? -1 : 1))
}
