/** What the random lives of partitions run: a planted bug is this with a passage exchanged. */
export { Controller, formCluster } from '../../src/metadata/controller.ts'
export { MetadataImage } from '../../src/metadata/metadata-image.ts'
