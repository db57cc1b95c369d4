import * as grpc from '@grpc/grpc-js'
import type { ChannelOptions, Transport } from '../ports/transport.ts'
import { GrpcChannel } from './grpc-channel.ts'

export interface GrpcTransportOptions {
  /** Plain text if absent. */
  readonly credentials?: grpc.ChannelCredentials
}

/** The Transport port over gRPC. Each channel has a connection of its own. */
export class GrpcTransport implements Transport {
  readonly #credentials: grpc.ChannelCredentials

  constructor(options: GrpcTransportOptions = {}) {
    this.#credentials = options.credentials ?? grpc.credentials.createInsecure()
  }

  connect(address: string, options: ChannelOptions = {}): GrpcChannel {
    const isPeer = options.purpose !== undefined && options.purpose !== 'client'
    return new GrpcChannel({
      address,
      credentials: this.#credentials,
      writeBufferBytesMax: isPeer ? PEER_WINDOW_BYTES : CLIENT_WINDOW_BYTES,
      library: libraryOptions(options, isPeer),
    })
  }
}

const MIB = 1024 * 1024
const CLIENT_WINDOW_BYTES = 4 * MIB
const PEER_WINDOW_BYTES = 16 * MIB
const CLIENT_MESSAGE_BYTES_MAX = 4 * MIB
const PEER_MESSAGE_BYTES_MAX = 32 * MIB

function libraryOptions(options: ChannelOptions, isPeer: boolean): grpc.ChannelOptions {
  return {
    'grpc.max_receive_message_length':
      options.receiveMessageBytesMax ?? (isPeer ? PEER_MESSAGE_BYTES_MAX : CLIENT_MESSAGE_BYTES_MAX),
    'grpc.max_send_message_length': -1,
    // One number for both windows in grpc-js, that of a stream and that of the connection.
    'grpc-node.flow_control_window': isPeer ? PEER_WINDOW_BYTES : CLIENT_WINDOW_BYTES,
    // Channels of different purposes, and every channel for itself, have connections of their own.
    'grpc.use_local_subchannel_pool': 1,
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 1_000,
    // A pod that restarts comes back under another IP address of the same name.
    'grpc.dns_min_time_between_resolutions_ms': 500,
    'grpc.service_config_disable_resolution': 1,
    'grpc.enable_http_proxy': 0,
    'grpc.enable_channelz': 0,
  }
}

const KEEPALIVE_TIME_MS = 5_000
const KEEPALIVE_TIMEOUT_MS = 5_000
