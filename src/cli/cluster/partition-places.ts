import type { PartitionPlace } from '../../client/index.ts'
import { formatCount } from '../output.ts'

const NAMED_MAX = 5

/** `test-0, test-3 and 12 more`. Of more than are given here `total` is told. */
export function placesText(places: readonly PartitionPlace[], total: number = places.length): string {
  const named = places.slice(0, NAMED_MAX).map(({ topic, partition }) => `${topic}-${partition}`)
  const rest = total - named.length
  return rest > 0 ? `${named.join(', ')} and ${formatCount(rest)} more` : named.join(', ')
}
