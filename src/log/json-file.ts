import { NaruError } from '../base/errors.ts'
import { type Disk, writeFileAtomically } from '../ports/disk.ts'
import { crc32c } from '../records/crc32c.ts'

/**
 * A small file of facts: one JSON object that people can read, `version` first, and last `crc32c` (8 hex digits) over
 * the object as `JSON.stringify` gives it without that field. A turned bit inside a string would parse; it must not
 * pass for another cluster or another reason.
 */
export type JsonFields = Readonly<Record<string, string | number | null>>

export async function writeJsonFile(
  disk: Disk,
  path: string,
  file: { readonly version: number; readonly fields: JsonFields },
): Promise<void> {
  const object = { version: file.version, ...file.fields }
  const content = JSON.stringify({ ...object, crc32c: checksum(object) }, undefined, 2)
  await writeFileAtomically(disk, path, Buffer.from(`${content}\n`))
}

/**
 * The fields of the file, undefined where there is none. Throws DATA_DIRECTORY_DAMAGED for anything but a whole file
 * of this kind and DATA_DIRECTORY_VERSION for one of another version.
 */
export async function readJsonFile(
  disk: Disk,
  path: string,
  version: number,
): Promise<JsonFields | undefined> {
  const content = await disk.readFile(path)
  if (!content) return undefined
  const parsed = parseObject(content.toString('utf8'))
  if (!parsed) throw damaged(path, 'it is not a JSON object')
  const { crc32c: found, ...object } = parsed
  if (found !== checksum(object))
    throw damaged(path, 'its checksum is wrong (it was damaged, or edited by hand)')
  const { version: foundVersion, ...fields } = object
  if (foundVersion !== version)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `${path} has version ${String(foundVersion)}; this release of Naru reads version ${version}`,
      { details: { file: path } },
    )
  return fields as JsonFields
}

export function damaged(path: string, what: string): NaruError {
  return new NaruError('DATA_DIRECTORY_DAMAGED', `${path} is damaged: ${what}`, { details: { file: path } })
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}

function checksum(object: object): string {
  return crc32c(Buffer.from(JSON.stringify(object)))
    .toString(16)
    .padStart(8, '0')
}
