/**
 * Known mistakes of the controller, planted into a copy of the metadata's sources to see that the random lives of
 * partitions find them. The production code holds no switch for them.
 */
import { build } from 'vite'
import type { MetadataCode } from './partition-simulation.ts'

export interface PartitionMutant {
  readonly name: string
  readonly found: RegExp
  /** File of `src/metadata`, passage (found exactly once), replacement. */
  readonly edits: readonly (readonly [file: string, passage: string, replacement: string])[]
}

export const PARTITION_MUTANTS: readonly PartitionMutant[] = [
  {
    name: 'stale change of the ISR accepted',
    found: /^P6: .*partition epoch/,
    edits: [
      [
        'isr-control.ts',
        'if (change.partitionEpoch !== partitionEpoch) return `the partition epoch is ${partitionEpoch}`',
        '',
      ],
    ],
  },
  {
    name: 'a fenced or draining node enters the ISR',
    found: /^P[69]: /,
    edits: [['isr-control.ts', 'if (!isMember && !isActive(node))', 'if (false)']],
  },
  {
    name: 'stale node epoch accepted',
    found: /^P6: .*another process/,
    edits: [
      ['isr-control.ts', 'nodeEpoch !== undefined ? node?.nodeEpoch !== nodeEpoch : !isMember', 'false'],
    ],
  },
  {
    name: 'ELR is kept when the minimum is lowered',
    found: /^P[23]: /,
    edits: [
      [
        'settings-control.ts',
        'const elr = electable(state.elr, { isr: state.isr, minInsyncReplicas })',
        'const elr = state.elr',
      ],
    ],
  },
  {
    name: 'ELR is kept when the ISR has its minimum again',
    found: /^P[23]: /,
    edits: [
      ['partition-election.ts', 'return of.isr.length >= of.minInsyncReplicas ? [] : elr', 'return elr'],
    ],
  },
  {
    name: 'page caches are forgotten as soon as the topic syncs first',
    found: /^P2: /,
    edits: [['settings-control.ts', '...this.#noLongerCached(topic, next),', '']],
  },
  {
    name: 'a damaged replica stays electable',
    found: /^P2: /,
    edits: [
      [
        'isr-control.ts',
        'removeFromIsr(before, { isRemoved, keepsRecords: false }, factsThen)',
        'removeFromIsr(before, { isRemoved, keepsRecords: true }, factsThen)',
      ],
    ],
  },
  {
    name: 'wiped replica kept in the ISR',
    // Before it can be elected it is in the ISR while it is fenced.
    found: /^P[29]: /,
    edits: [
      [
        'node-control.ts',
        'const left = this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false)',
        'const left = isSameDirectory || !before ? this.#leave([nodeId], isSameDirectory ? heldBy(before, request) : () => false) : []',
      ],
    ],
  },
  {
    name: 'a lost disk keeps its place in the ELR',
    found: /^P2: /,
    edits: [['node-control.ts', 'isSameDirectory ? heldBy(before, request) : () => false', '() => true']],
  },
  {
    name: 'a move lets go of members that are needed',
    found: /^P(2|3|9|10): |in the ISR|replicas/,
    edits: [
      [
        'partition-reassignment.ts',
        'if (isShrunk && (isr.length === 0 || isr.length < minInsyncReplicas)) return undefined',
        '',
      ],
      [
        'partition-reassignment.ts',
        'if (state.leader !== null && !replicas.includes(state.leader)) return undefined',
        'if (!isr.includes(state.leader!)) return { ...rest, replicas, isr: [replicas[0]!], elr: [], leader: replicas[0]! }',
      ],
    ],
  },
  {
    name: 'a move takes the leadership from a node that lives',
    found: /^P10: /,
    edits: [
      [
        'partition-reassignment.ts',
        'if (state.leader !== null && !replicas.includes(state.leader)) return undefined',
        '',
      ],
      [
        'partition-reassignment.ts',
        'return { ...rest, replicas, isr,',
        'const leader = isr.includes(state.leader!) ? state.leader : isr[0]!\n  return { ...rest, leader, replicas, isr,',
      ],
    ],
  },
]

export async function loadPartitionMutant(mutant: PartitionMutant): Promise<MetadataCode> {
  const unused = new Set(mutant.edits)
  const plugin = {
    name: 'mutant',
    enforce: 'pre' as const,
    transform(code: string, id: string) {
      let mutated = code
      for (const edit of mutant.edits) {
        const [file, passage, replacement] = edit
        if (!id.endsWith(`/src/metadata/${file}`)) continue
        if (mutated.split(passage).length !== 2) throw new Error(`${file} does not hold once: ${passage}`)
        mutated = mutated.replace(passage, () => replacement)
        unused.delete(edit)
      }
      return mutated
    },
  }
  const result = await build({
    configFile: false,
    logLevel: 'silent',
    plugins: [plugin],
    build: {
      write: false,
      minify: false,
      ssr: new URL('metadata-code.ts', import.meta.url).pathname,
      rollupOptions: { output: { format: 'es' } },
    },
  })
  if (unused.size > 0) throw new Error(`mutant "${mutant.name}" was not applied`)
  const [bundle] = Array.isArray(result) ? result : [result]
  if (bundle === undefined || !('output' in bundle)) throw new Error('no bundle')
  const { code } = bundle.output[0]
  return import(`data:text/javascript;base64,${Buffer.from(code).toString('base64')}`)
}
