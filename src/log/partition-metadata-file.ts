import type { Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { type Disk, readWholeFile, writeFileAtomically } from '../ports/disk.ts'

/** File name of it in a partition's directory, as in Kafka. */
const PARTITION_METADATA = 'partition.metadata'

const VERSION = 0

/**
 * Which topic a partition directory belongs to, exactly in Kafka's format (two lines, no newline at the end). It ties
 * the bytes to one topic for ever: a topic made again under the same name has another id and never finds them.
 */
export async function writePartitionMetadata(disk: Disk, directory: string, topicId: Uuid): Promise<void> {
  const content = `version: ${VERSION}\ntopic_id: ${topicId}`
  await writeFileAtomically(disk, `${directory}/${PARTITION_METADATA}`, Buffer.from(content))
}

/** Undefined where there is none; a damaged one is an error. */
export async function readPartitionMetadata(disk: Disk, directory: string): Promise<Uuid | undefined> {
  const path = `${directory}/${PARTITION_METADATA}`
  const content = await readWholeFile(disk, path)
  if (!content) return undefined
  const [, versionText, topicId] =
    /^version: (\d{1,9})\ntopic_id: ([A-Za-z0-9_-]{22})\n?$/.exec(content.toString('latin1')) ?? []
  const details = { file: path }
  if (versionText === undefined || topicId === undefined)
    throw new NaruError('DATA_DIRECTORY_DAMAGED', `${path} does not name the topic it belongs to`, {
      details,
    })
  if (Number(versionText) !== VERSION)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `${path} has version ${versionText}; this release of Naru reads ${VERSION}`,
      { details },
    )
  return topicId
}
