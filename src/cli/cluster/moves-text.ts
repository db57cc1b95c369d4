import type { PlannedMove, ReassignmentProgress } from '../../client/index.ts'
import { formatTable } from '../output.ts'

export function plannedText(moves: readonly PlannedMove[]): string {
  const columns = [
    { title: 'PARTITION', value: (one: PlannedMove) => `${one.topic}-${one.partition}` },
    { title: 'FROM', value: (one: PlannedMove) => one.from.join(',') },
    { title: 'TO', value: (one: PlannedMove) => one.to.join(',') },
    { title: 'COPIES TO', value: (one: PlannedMove) => copiesTo(one) },
  ]
  return formatTable(columns, moves)
}

export function underWayText(moves: readonly ReassignmentProgress[]): string {
  const columns = [
    { title: 'PARTITION', value: (one: ReassignmentProgress) => `${one.topic}-${one.partition}` },
    { title: 'TO', value: (one: ReassignmentProgress) => one.replicas.join(',') },
    { title: 'ADDING', value: (one: ReassignmentProgress) => one.addingReplicas.join(',') || '-' },
    { title: 'REMOVING', value: (one: ReassignmentProgress) => one.removingReplicas.join(',') || '-' },
  ]
  return formatTable(columns, moves)
}

function copiesTo({ from, to }: PlannedMove): string {
  const added = to.filter(nodeId => !from.includes(nodeId))
  return added.length === 0 ? 'nobody' : added.join(',')
}
