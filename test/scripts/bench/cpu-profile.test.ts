import { expect, it } from 'vitest'
import { selfTimes } from '../../../scripts/bench/cpu-profile.ts'

const node = (id: number, functionName: string, url = '') => ({
  id,
  callFrame: { functionName, url, lineNumber: 9 },
})

it('a profile tells the time of each function itself, of what was not idle', () => {
  const times = selfTimes({
    nodes: [
      node(1, '(root)'),
      node(2, '(idle)'),
      node(3, 'encode', 'file:///somewhere/dist/records/batch-builder.js'),
      // The same function called from elsewhere.
      node(4, 'encode', 'file:///somewhere/dist/records/batch-builder.js'),
      node(5, '', 'file:///somewhere/node_modules/@grpc/grpc-js/build/src/call.js'),
    ],
    // The first delta is the wait before the first look; each look lasts until the next.
    samples: [2, 3, 4, 5, 2],
    timeDeltas: [100, 6000, 1000, 2000, 1000],
  })
  expect(times).toEqual([
    { name: 'encode records/batch-builder.js:10', ms: 3, percent: 75 },
    { name: '(anonymous) node_modules/@grpc/grpc-js/build/src/call.js:10', ms: 1, percent: 25 },
  ])
})
