import type { Uuid } from '../base/brands.ts'
import { NaruError } from '../base/errors.ts'
import { type Disk, writeFileAtomically } from '../ports/disk.ts'
import { crc32c } from '../records/crc32c.ts'

/** File name of it in a partition's directory, as in Kafka. */
export const PARTITION_METADATA = 'partition.metadata'

const VERSION = 0

/** Without the third line it is Kafka's own. */
const FORMAT = /^(version: (\d{1,9})\ntopic_id: ([A-Za-z0-9_-]{22})\n?)(?:crc32c: ([0-9a-f]{8}))?$/

/**
 * Which topic a partition directory belongs to. It ties the bytes to one topic for ever: a topic made again under the
 * same name has another id and never finds them.
 *
 *     version: 0
 *     topic_id: WD3xNCkvQaWDX-VAeIT9Ww
 *     crc32c: 5e2f0a91
 *
 * The first two lines are Kafka's file, whose readers stop there. The third, CRC-32C over what stands before it in 8 hex
 * digits, tells another topic's directory from this topic's damaged one: the one may go, the other never.
 */
export async function writePartitionMetadata(disk: Disk, directory: string, topicId: Uuid): Promise<void> {
  const content = `version: ${VERSION}\ntopic_id: ${topicId}\n`
  const checked = `${content}crc32c: ${checksum(content)}`
  await writeFileAtomically(disk, `${directory}/${PARTITION_METADATA}`, Buffer.from(checked))
}

/** Undefined where there is none; a damaged one is an error. */
export async function readPartitionMetadata(disk: Disk, directory: string): Promise<Uuid | undefined> {
  const path = `${directory}/${PARTITION_METADATA}`
  return topicIdIn(await disk.readFile(path), path)
}

/** The same of a directory that was read. */
export async function topicIdAmong(
  files: { read(name: string): Promise<Buffer | undefined> },
  directory: string,
): Promise<Uuid | undefined> {
  return topicIdIn(await files.read(PARTITION_METADATA), `${directory}/${PARTITION_METADATA}`)
}

function topicIdIn(content: Buffer | undefined, path: string): Uuid | undefined {
  if (!content) return undefined
  const [, lines, versionText, topicId, crc] = FORMAT.exec(content.toString('latin1')) ?? []
  const details = { file: path }
  if (
    versionText === undefined ||
    topicId === undefined ||
    (crc !== undefined && crc !== checksum(lines ?? ''))
  )
    throw new NaruError(
      'DATA_DIRECTORY_DAMAGED',
      `${path} is damaged: it does not say for certain which topic the records beside it belong to ` +
        '(restore it from a backup; naru topics describe shows the id of the topic)',
      { details },
    )
  if (Number(versionText) !== VERSION)
    throw new NaruError(
      'DATA_DIRECTORY_VERSION',
      `${path} has version ${versionText}; this release of Naru reads ${VERSION}`,
      { details },
    )
  return topicId
}

function checksum(lines: string): string {
  return crc32c(Buffer.from(lines)).toString(16).padStart(8, '0')
}
