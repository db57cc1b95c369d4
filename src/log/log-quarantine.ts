import { type Disk, readWholeFile, writeFileAtomically } from '../ports/disk.ts'
import type { Defect } from './segment-scan.ts'

const FILE_NAME = 'quarantine.json'

export interface QuarantineMark extends Defect {
  readonly wallMs: number
}

export async function writeQuarantine(disk: Disk, directory: string, mark: QuarantineMark): Promise<void> {
  await writeFileAtomically(disk, `${directory}/${FILE_NAME}`, Buffer.from(`${JSON.stringify(mark)}\n`))
}

export async function readQuarantine(disk: Disk, directory: string): Promise<QuarantineMark | undefined> {
  const bytes = await readWholeFile(disk, `${directory}/${FILE_NAME}`)
  return bytes && (JSON.parse(bytes.toString('utf8')) as QuarantineMark)
}

export async function removeQuarantine(disk: Disk, directory: string): Promise<void> {
  const path = `${directory}/${FILE_NAME}`
  if (!(await disk.stat(path))) return
  await disk.remove(path)
  await disk.syncDirectory(directory)
}
