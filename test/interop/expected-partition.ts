/** What Kafka's tools must find in a partition's directory. */
export interface ExpectedPartition {
  readonly directory: string
  readonly startOffset: number
  readonly endOffset: number
  readonly topicId?: string
  /** As `epoch@start offset`; undefined: not known, only that there are some. */
  readonly epochs?: readonly string[]
  /** Of a compacted log: the records that are left, of all from the start to the end. */
  readonly recordCount?: number
}
