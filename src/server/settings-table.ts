/**
 * Every setting of a node, once: key, type, default, limits, meaning. The type of `Settings`, the flags of
 * `naru server`, the names of the `NARU_*` variables and docs/settings.md all follow from these rows. At most
 * 40 rows: a setting is a question that somebody must be able to answer; what no one would, is a constant.
 * Names are Kafka's where Kafka has the thing. Sizes are in bytes, times in milliseconds.
 */
const MIB = 1024 * 1024
const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
/** All of them must be there to make a cluster; more nodes than that join it later. */
const PEERS_MAX = 100

export const SETTINGS = {
  'node.id': integer(
    0,
    { min: 0, max: 2 ** 31 - 1 },
    'Number of this node, different from all others of its cluster.',
  ),
  'data.dir': text(
    './data',
    'Directory of everything that the node keeps. One process at a time may use it.',
  ),
  'listen.address': text(
    '127.0.0.1',
    'Address that the ports are bound to. `0.0.0.0` or `::` for all networks; then set `advertised.address` too.',
  ),
  'client.port': port(7450, 'Port of the gRPC API.'),
  'http.port': port(7451, 'Port of `/healthz` and `/readyz`.'),
  'peer.port': port(7452, 'Port of the gRPC calls between nodes.'),
  'advertised.address': text(
    '',
    `Host name or address that clients and other nodes reach this node at. Empty: \`listen.address\`. \`\${NAME}\` is replaced by the environment variable NAME, as in \`\${HOSTNAME}.naru\`.`,
  ),
  'cluster.peers': addresses(
    "Peers' addresses (`host:port`, the port being `peer.port`) of the nodes that make the cluster, separated by commas: the same list on each, this node included. The cluster is made once all of them are there, and never again; nodes that come later join through the ones listed, so keep enough of them right. Empty: this node is a cluster of its own.",
  ),
  rack: text('', 'Failure domain of the node (a zone, a rack, a machine): replicas are spread over racks.'),

  'auto.create.topics.enable': flag(
    true,
    'Whether producing to a topic that does not exist creates it, with a warning in the log and the answer. Reading never creates one.',
  ),
  'num.partitions': integer(
    3,
    { min: 1, max: 10_000 },
    'Partitions of a topic whose creator names no count.',
  ),
  'default.replication.factor': integer(
    3,
    { min: 1, max: 9 },
    'Replicas of a topic whose creator names no number; never more than the cluster has nodes.',
  ),
  'log.retention.ms': integer(
    7 * DAY_MS,
    { min: -1 },
    'How long records are kept at least, for topics that do not set `retention.ms`. -1: for ever.',
  ),
  'log.retention.bytes': integer(
    -1,
    { min: -1 },
    'How many bytes a partition keeps at least, for topics that do not set `retention.bytes`. -1: no limit.',
  ),
  'log.segment.bytes': integer(
    256 * MIB,
    { min: MIB, max: 1024 * MIB },
    'Size at which a segment file is closed and the next begins, for topics that do not set `segment.bytes`.',
  ),
  'log.roll.ms': integer(
    7 * DAY_MS,
    { min: 60_000 },
    'Age at which a segment file is closed even when small, for topics that do not set `segment.ms`.',
  ),
  'message.max.bytes': integer(
    MIB,
    { min: 1024, max: 8 * MIB },
    'Largest record batch accepted, for topics that do not set `max.message.bytes`.',
  ),
  'log.retention.check.interval.ms': integer(
    300_000,
    { min: 1000, max: DAY_MS },
    'How often the node looks for segments to delete.',
  ),
  'producer.id.expiration.ms': integer(
    DAY_MS,
    { min: 60_000 },
    'How long a partition remembers a producer that sends nothing, to drop its repeated batches.',
  ),

  'disk.free.min': integer(
    512 * MIB,
    { min: 0 },
    'Free bytes of the disk below which records are refused, while reading and deleting go on; they are accepted again by themselves when there is room.',
  ),
  'syncs.in.flight.max': integer(
    8,
    { min: 1, max: 15 },
    'File syncs that run at the same time. Below the 16 threads that the `naru` launcher asks for, so that reads never wait behind syncs alone.',
  ),
  'open.files.max': integer(
    8192,
    { min: 64, max: 1_000_000 },
    'Closed segments whose files stay open for reading; the least recently used is closed first. Keep it well below `ulimit -n`.',
  ),
  'append.pending.bytes.max': integer(
    64 * MIB,
    { min: 16 * MIB, max: 1024 * MIB },
    'Bytes of one partition that may wait to be written; more are held back at the sender.',
  ),
  'tail.bytes.max': integer(
    64 * MIB,
    { min: 0, max: 4096 * MIB },
    'Newest bytes of all partitions together that are kept in memory for readers at the end.',
  ),
  'scrub.bytes.per.second': integer(
    4 * MIB,
    { min: 0, max: 1024 * MIB },
    'How fast old segments are read again to find damage before a reader does. 0: never.',
  ),
  'log.cleaner.backoff.ms': integer(
    15_000,
    { min: 100, max: HOUR_MS },
    'How often the node looks for partitions of compacted topics that are to be compacted.',
  ),
  'log.cleaner.io.max.bytes.per.second': integer(
    32 * MIB,
    { min: MIB, max: 4096 * MIB },
    'How fast compaction reads and writes, together.',
  ),
  'log.cleaner.dedupe.buffer.size': integer(
    32 * MIB,
    { min: 64 * 1024, max: 1024 * MIB },
    'Memory for the keys of the partition that is being compacted, 24 bytes for each; more keys take several passes.',
  ),

  'group.min.session.timeout.ms': integer(
    1_000,
    { min: 1_000, max: 10_000 },
    'The shortest session timeout that a member of a group may ask for; members that do not ask have 10,000. Set it and the next three alike on all nodes.',
  ),
  'group.max.session.timeout.ms': integer(
    30 * 60_000,
    { min: 10_000, max: DAY_MS },
    'The longest one. A member that is gone without a word keeps its partitions from others for so long.',
  ),
  'group.release.timeout.ms': integer(
    60_000,
    { min: 1_000, max: DAY_MS },
    'How long a member may finish what it has of a partition that is to go to another member, before it is taken.',
  ),
  'offsets.retention.ms': integer(
    7 * DAY_MS,
    { min: 60_000 },
    'How long the offsets of a group without members are kept.',
  ),

  'connections.max': integer(10_000, { min: 1, max: 100_000 }, 'Client connections open at once.'),
  'connections.per.address.max': integer(
    1000,
    { min: 1, max: 100_000 },
    'Client connections open at once from one network address.',
  ),
  'streams.per.connection.max': integer(
    1000,
    { min: 1, max: 100_000 },
    'Calls and streams open at once on one connection.',
  ),
  'request.bytes.in.flight.max': integer(
    256 * MIB,
    { min: 32 * MIB, max: 16_384 * MIB },
    'Bytes of requests that the node holds at once; beyond, calls are refused with OVERLOADED.',
  ),
  'connection.request.bytes.in.flight.max': integer(
    64 * MIB,
    { min: 16 * MIB, max: 16_384 * MIB },
    'The same for one connection.',
  ),
  'reader.stall.timeout.ms': integer(
    60_000,
    { min: 1000, max: HOUR_MS },
    'How long a client may take nothing of what waits for it before its stream is ended with READER_TOO_SLOW.',
  ),
  'drain.timeout.ms': integer(
    25_000,
    { min: 0, max: HOUR_MS },
    'How long an orderly stop waits for calls under way. Keep it below the grace period of what stops the process.',
  ),
  'log.level': choice(
    'info',
    ['trace', 'debug', 'info', 'warn', 'error', 'silent'],
    'How much the node tells about itself on standard error.',
  ),
} as const satisfies Record<string, SettingRow>

export type SettingKey = keyof typeof SETTINGS
export const SETTING_KEYS = Object.keys(SETTINGS) as SettingKey[]

export type SettingRow = IntegerRow | TextRow | AddressesRow | FlagRow | ChoiceRow<string>

interface IntegerRow {
  readonly type: 'integer'
  readonly default: number
  readonly min: number
  readonly max: number
  readonly doc: string
}
interface TextRow {
  readonly type: 'text'
  readonly default: string
  readonly doc: string
}
/** `host:port` each; sorted, none twice. */
interface AddressesRow {
  readonly type: 'addresses'
  readonly default: readonly string[]
  readonly max: number
  readonly doc: string
}
interface FlagRow {
  readonly type: 'boolean'
  readonly default: boolean
  readonly doc: string
}
interface ChoiceRow<Value extends string> {
  readonly type: 'choice'
  readonly default: Value
  readonly choices: readonly Value[]
  readonly doc: string
}

function integer(preset: number, limits: { min: number; max?: number }, doc: string): IntegerRow {
  return { type: 'integer', default: preset, max: Number.MAX_SAFE_INTEGER, ...limits, doc }
}

function port(preset: number, doc: string): IntegerRow {
  return integer(preset, { min: 0, max: 65_535 }, `${doc} 0: any free one.`)
}

function text(preset: string, doc: string): TextRow {
  return { type: 'text', default: preset, doc }
}

function addresses(doc: string): AddressesRow {
  return { type: 'addresses', default: [], max: PEERS_MAX, doc }
}

function flag(preset: boolean, doc: string): FlagRow {
  return { type: 'boolean', default: preset, doc }
}

function choice<const Value extends string>(
  preset: NoInfer<Value>,
  choices: readonly Value[],
  doc: string,
): ChoiceRow<Value> {
  return { type: 'choice', default: preset, choices, doc }
}
