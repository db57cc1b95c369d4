import { NaruError } from '../base/errors.ts'
import { type Disk, writeFileAtomically } from '../ports/disk.ts'
import { crc32c } from '../records/crc32c.ts'
import { SharedWork } from './shared-work.ts'

/**
 * Text checkpoint in Kafka's manner: the version, the number of entries, then one entry per line, and a last line
 * `crc32c <8 hex digits>` over all before it, which Kafka's files lack: a turned bit in a digit would pass for another
 * offset.
 * Replaced atomically. A missing file is undefined; a damaged one is an error and never "empty": an empty list of
 * recovery points or high watermarks would be taken for the truth.
 */
export interface CheckpointFormat<Entry> {
  readonly version: number
  encode(entry: Entry): string
  /** Undefined if the line is not an entry. */
  decode(line: string): Entry | undefined
}

export class CheckpointFile<Entry> {
  readonly #disk: Disk
  readonly #path: string
  readonly #format: CheckpointFormat<Entry>
  readonly #writing: SharedWork
  #entries: () => Iterable<Entry> = () => []

  constructor(disk: Disk, path: string, format: CheckpointFormat<Entry>) {
    this.#disk = disk
    this.#path = path
    this.#format = format
    this.#writing = new SharedWork(() =>
      writeFileAtomically(disk, path, encodeCheckpoint(this.#entries(), format)),
    )
  }

  async read(): Promise<readonly Entry[] | undefined> {
    return this.decode(await this.#disk.readFile(this.#path))
  }

  /** Of what the file holds, for who has read it. */
  decode(content: Buffer | undefined): readonly Entry[] | undefined {
    return content && decodeCheckpoint(content, this.#path, this.#format)
  }

  /**
   * Resolves once the entries as they are now, or later ones, are durable. Writes run one after the other (they share a
   * temporary name); those that wait share the next, for which the entries are asked when it begins.
   */
  write(entries: () => Iterable<Entry>): Promise<void> {
    this.#entries = entries
    return this.#writing.run()
  }
}

export function encodeCheckpoint<Entry>(entries: Iterable<Entry>, format: CheckpointFormat<Entry>): Buffer {
  const lines = Array.from(entries, entry => format.encode(entry))
  const text = [format.version, lines.length, ...lines, ''].join('\n')
  return Buffer.from(`${text}${checkLine(text)}\n`)
}

export function decodeCheckpoint<Entry>(
  content: Buffer,
  path: string,
  format: CheckpointFormat<Entry>,
): readonly Entry[] {
  const refuse = (what: string) =>
    new NaruError(
      'DATA_DIRECTORY_DAMAGED',
      `checkpoint ${path} is damaged: ${what}. Remove the file and start again; docs/operating.md says what that costs`,
      { details: { file: path } },
    )
  const text = content.toString('utf8')
  if (!text.endsWith('\n')) throw refuse('its end is missing')
  const lines = text.slice(0, -1).split('\n')
  const version = wholeNumber(lines[0])
  if (version === undefined) throw refuse('it does not start with a version')
  if (version !== format.version)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `checkpoint ${path} has version ${version}; this release of Naru reads ${format.version}`,
      { details: { file: path } },
    )
  const check = lines.pop()
  if (check !== checkLine(`${lines.join('\n')}\n`)) throw refuse('its checksum is wrong')
  const count = wholeNumber(lines[1])
  if (count === undefined || lines.length - 2 !== count)
    throw refuse(`it should hold ${lines[1] ?? 'a number of'} entries and holds ${lines.length - 2}`)
  return lines.slice(2).map((line, index) => {
    const entry = format.decode(line)
    if (entry === undefined) throw refuse(`line ${index + 3} is not an entry: ${line.slice(0, 300)}`)
    return entry
  })
}

/** Digits only, and no further than integers are exact. */
export function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : undefined
}

function checkLine(covered: string): string {
  return `crc32c ${crc32c(Buffer.from(covered)).toString(16).padStart(8, '0')}`
}
