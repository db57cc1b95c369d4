/** As V8 writes it (`node --cpu-prof`): a call tree, and which node of it was running at each look. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  }[]
  readonly samples: readonly number[]
  /** Microseconds from one look to the next. */
  readonly timeDeltas: readonly number[]
}

export interface SelfTime {
  readonly name: string
  readonly ms: number
  /** Of the time in which the thread was not idle. */
  readonly percent: number
}

/** Functions by the time spent in themselves, most first; what V8 does for itself is in parentheses. */
export function selfTimes(profile: CpuProfile): SelfTime[] {
  const names = new Map(profile.nodes.map(node => [node.id, frameName(node.callFrame)]))
  const microseconds = new Map<string, number>()
  for (const [at, id] of profile.samples.entries()) {
    const name = names.get(id) ?? '(unknown)'
    // A sample lasts until the next one.
    microseconds.set(name, (microseconds.get(name) ?? 0) + (profile.timeDeltas[at + 1] ?? 0))
  }
  microseconds.delete('(idle)')
  const total = [...microseconds.values()].reduce((sum, one) => sum + one, 0)
  return [...microseconds]
    .map(([name, us]) => ({ name, ms: us / 1000, percent: total === 0 ? 0 : (100 * us) / total }))
    .sort((a, b) => b.ms - a.ms)
}

function frameName(frame: CpuProfile['nodes'][number]['callFrame']): string {
  const name = frame.functionName || '(anonymous)'
  if (frame.url === '') return name
  const place = frame.url
    .replace(/^file:\/\//, '')
    .replace(/^.*\/(node_modules|dist)\//, (_, folder: string) => (folder === 'dist' ? '' : 'node_modules/'))
  return `${name} ${place}:${frame.lineNumber + 1}`
}
