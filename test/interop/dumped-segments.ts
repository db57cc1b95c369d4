/**
 * Reads what Kafka's DumpLogSegments prints. The tool ends with status 0 whatever it finds and tells its complaints in
 * between, so every line that is not known to be good is a complaint.
 */
export class DumpedSegments {
  readonly complaints: string[] = []
  readonly #mayHaveGaps: (path: string) => boolean
  /** By file, in the order of the dump. */
  readonly files = new Map<string, DumpedFile>()
  #file = ''
  /** A file whose list of non-consecutive offsets comes next. */
  #listed: string | undefined

  /** Of a compacted log offsets may be missing, and batches may be empty. */
  constructor(options: { mayHaveGaps?: (path: string) => boolean } = {}) {
    this.#mayHaveGaps = options.mayHaveGaps ?? (() => false)
  }

  takeLine(line: string): void {
    if (line === '' || this.#takeHeading(line) || this.#takeNonConsecutive(line)) return
    const file = this.files.get(this.#file)
    if (!file) {
      this.complaints.push(line)
      return
    }
    if (line.startsWith('baseOffset: ')) takeBatch(file, line, this.complaints)
    else if (line.startsWith('| offset: ')) this.#takeRecord(file, line)
    else if (ENTRY.test(line)) file.entries++
    else this.complaints.push(SUMMARY.test(line) ? line : `${this.#file}: ${line}`)
  }

  #takeHeading(line: string): boolean {
    const path = /^Dumping (.+)$/.exec(line)?.[1]
    if (path !== undefined) {
      this.#file = path
      this.#listed = undefined
      this.files.set(path, {
        batches: 0,
        records: 0,
        entries: 0,
        nextRecord: undefined,
        nextOffset: undefined,
      })
      return true
    }
    return /^Log starting offset: \d+$/.test(line)
  }

  /** Of every segment that does not begin at 0 the tool says that its first offset follows -1: nothing is wrong. */
  #takeNonConsecutive(line: string): boolean {
    const path = /^Non-consecutive offsets in (.+)$/.exec(line)?.[1]
    if (path !== undefined) this.#listed = path
    if (path !== undefined) return true
    const [, from, to] = /^ {2}(-?\d+) is followed by (\d+)$/.exec(line) ?? []
    if (from === undefined || this.#listed === undefined) return false
    const base = Number(/(\d{20})\.log$/.exec(this.#listed)?.[1])
    const isGap = from !== '-1' && Number(to) > Number(from)
    if (this.#mayHaveGaps(this.#listed) && (isGap || Number(to) >= base)) return true
    if (from !== '-1' || Number(to) !== base)
      this.complaints.push(`${this.#listed}: offset ${from} is followed by ${to}`)
    return true
  }

  #takeRecord(file: DumpedFile, line: string): void {
    const offset = Number(/^\| offset: (\d+) /.exec(line)?.[1])
    const due = file.nextRecord
    if (due !== undefined && offset !== due && !(offset > due && this.#mayHaveGaps(this.#file)))
      this.complaints.push(`record ${offset} stands where ${due} should be: ${line}`)
    file.records++
    file.nextRecord = offset + 1
  }
}

export interface DumpedFile {
  batches: number
  records: number
  /** Of an index or a producer snapshot. */
  entries: number
  /** After the last record; undefined: there was none. */
  nextRecord: number | undefined
  /** After the last batch; undefined: there was none. */
  nextOffset: number | undefined
}

/** An index is empty where its segment has too little in it for an entry. */
const ENTRY =
  /^(offset: \d+ position: \d+|timestamp: \d+ offset: \d+|producerId: \d+ producerEpoch: \d+ .* timestamp: \d+|.+\.(index|timeindex) (passed sanity check|is empty)\.)$/

/** What the tool says at the end of all files names its file itself. */
const SUMMARY = /^(Found |Mismatches |Exception | {2}Index )/

function takeBatch(file: DumpedFile, line: string, complaints: string[]): void {
  file.batches++
  file.nextOffset = Number(/ lastOffset: (\d+) /.exec(line)?.[1]) + 1
  if (!/ magic: 2 .* crc: \d+ isvalid: true$/.test(line)) complaints.push(line)
}
