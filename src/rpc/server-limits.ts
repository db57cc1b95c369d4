import type { ServerOptions } from 'node:http2'
import type { ServerOptions as GrpcServerOptions } from '@grpc/grpc-js'
import type { ConnectionLimits } from './connections.ts'

/** What the network may cost this server. Each limit answers its breach; none queues without end. */
export interface GrpcServerLimits extends ConnectionLimits {
  readonly receiveMessageBytesMax: number
  readonly streamWindowBytes: number
  readonly connectionWindowBytes: number
  /** More are refused by HTTP/2 before they exist (REFUSED_STREAM: provably not executed). */
  readonly streamsPerConnectionMax: number
  /** Calls and streams of the whole server: more are shed with OVERLOADED. */
  readonly callsMax: number
  readonly metadataEntriesMax: number
  readonly metadataBytesMax: number
  /** Request bytes in this process that no handler has answered yet. */
  readonly requestBytesMax: number
  /** Answer bytes that one stream may have waiting before its writer must stop. */
  readonly writeBufferBytesMax: number
  /** Answer bytes that wait in the whole server: above it each stream gets one message at a time, and stalls are short. */
  readonly sendBufferBytesMax: number
  /** Above this the calls are cut whose readers have taken nothing for longest. */
  readonly sendBufferBytesHardMax: number
  /** A stream whose reader takes nothing for this long while something waits for it is cut. */
  readonly readerStallTimeoutMs: number
  /** From the first byte of a request message (of a unary call, from its start) to the last. */
  readonly requestTimeoutMs: number
  readonly keepaliveTimeMs: number
  readonly keepaliveTimeoutMs: number
  readonly connectionIdleMs: number
  /** Older connections are told to go (their streams may finish), so that clients spread over the nodes. */
  readonly connectionAgeMs: number | undefined
}

/** Node has two options that its type declarations lack. */
export type Http2Options = ServerOptions & {
  maxSessionInvalidFrames?: number
  maxSessionRejectedStreams?: number
}

const KIB = 1024
const MIB = 1024 * KIB

/** For the clients' port. The peers' port is given larger windows and no limit on age. */
export const GRPC_SERVER_LIMITS: GrpcServerLimits = {
  receiveMessageBytesMax: 16 * MIB,
  streamWindowBytes: 1 * MIB,
  connectionWindowBytes: 4 * MIB,
  streamsPerConnectionMax: 100,
  callsMax: 10_000,
  connectionsMax: 5_000,
  connectionsPerAddressMax: 1_000,
  handshakeTimeoutMs: 10_000,
  metadataEntriesMax: 64,
  metadataBytesMax: 16 * KIB,
  requestBytesPerConnectionMax: 64 * MIB,
  requestBytesMax: 256 * MIB,
  writeBufferBytesMax: 1 * MIB,
  sendBufferBytesMax: 256 * MIB,
  sendBufferBytesHardMax: 512 * MIB,
  readerStallTimeoutMs: 30_000,
  // The largest one over 2.5 Mbit/s.
  requestTimeoutMs: 60_000,
  keepaliveTimeMs: 5_000,
  keepaliveTimeoutMs: 5_000,
  connectionIdleMs: 300_000,
  connectionAgeMs: 600_000,
}

export function libraryOptions(limits: GrpcServerLimits): {
  grpc: GrpcServerOptions
  http2: Http2Options
} {
  return {
    grpc: {
      'grpc.max_receive_message_length': limits.receiveMessageBytesMax,
      'grpc.max_send_message_length': -1,
      'grpc.max_concurrent_streams': limits.streamsPerConnectionMax,
      'grpc.keepalive_time_ms': limits.keepaliveTimeMs,
      'grpc.keepalive_timeout_ms': limits.keepaliveTimeoutMs,
      'grpc.max_connection_idle_ms': limits.connectionIdleMs,
      ...(limits.connectionAgeMs === undefined
        ? {}
        : { 'grpc.max_connection_age_ms': limits.connectionAgeMs }),
      // Counters and traces of the library per message, which nobody reads here.
      'grpc.enable_channelz': 0,
    },
    http2: {
      settings: {
        initialWindowSize: limits.streamWindowBytes,
        maxHeaderListSize: limits.metadataBytesMax,
        enablePush: false,
      },
      maxHeaderListPairs: limits.metadataEntriesMax,
      maxSessionInvalidFrames: 100,
      maxSessionRejectedStreams: 1_000,
    },
  }
}
