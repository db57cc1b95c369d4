import { existsSync, readFileSync } from 'node:fs'

const ROW = /^\| (.*) \|$/

/**
 * The rows of the table in a report, by what stands in their first cells (`keyCells`, as it stands there): a report that takes
 * hours need not be made in one piece, and what is not found out again keeps its row.
 */
export function keptRows(path: string, of: { head: string; keyCells: number }): Map<string, string> {
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : []
  const rows = lines.slice(lines.indexOf(of.head) + 2).filter(line => ROW.test(line))
  return new Map(rows.map(row => [row.split(' | ').slice(0, of.keyCells).join(' | '), row]))
}
