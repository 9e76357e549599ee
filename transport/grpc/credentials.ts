import type { ChannelOptions, ServerOptions } from "@grpc/grpc-js";
import { ChannelCredentials, Client, logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";

/**
 * The one place that makes channels and servers, so that TLS and limits are decided once.
 */

/** PEM texts (the contents of HODEI_TLS_CA, _CERT and _KEY). Given: mutual TLS, both sides prove themselves to the CA. */
export type Tls = { ca: string; cert: string; key: string };

/** Of one message, either way. The largest bound of the domain is a page of definitions, well under this. */
export const MAX_MESSAGE_BYTES = 8 * 1024 * 1024;

const LIMITS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
} satisfies ChannelOptions;

/**
 * No grpc.keepalive_* on either side: after a GOAWAY the next keepalive ping destroys the session and with it the streams
 * that are draining (grpc-js #3068); heartbeats travel inside the streams instead.
 */
const CHANNEL_OPTIONS: ChannelOptions = {
  ...LIMITS,
  // Whether a call may be repeated is known to the caller alone.
  "grpc.enable_retries": 0,
  // A channel owns its connection: closing it leaves no socket, and a flood on one does not delay another.
  "grpc.use_local_subchannel_pool": 1,
  // While it backs off every call fails with the last error, so a peer that is back must be seen soon (default 1 s, 2 min).
  "grpc.initial_reconnect_backoff_ms": 50,
  "grpc.max_reconnect_backoff_ms": 1000,
  "grpc.service_config_disable_resolution": 1,
  // The parts of a cluster never reach each other through the proxy that the environment may name.
  "grpc.enable_http_proxy": 0,
  "grpc.enable_channelz": 0,
};

/** Channelz stays on: without it grpc-js 1.14 does not know its sessions, and forceShutdown cuts none of them. */
const SERVER_OPTIONS: ServerOptions = {
  ...LIMITS,
  "grpc.max_concurrent_streams": 4096,
  // Also of one that never said a word: else each would hold a descriptor for as long as it likes.
  "grpc.max_connection_idle_ms": 5 * 60_000,
};

// grpc-js prints to stderr by itself; all it has to say reaches us as errors of calls.
setLogVerbosity(logVerbosity.NONE);

/** Opens nothing until the first call. */
export function createClient(address: string, tls: Tls | undefined): Client {
  const credentials = tls
    ? ChannelCredentials.createSsl(Buffer.from(tls.ca), Buffer.from(tls.key), Buffer.from(tls.cert))
    : ChannelCredentials.createInsecure();
  return new Client(address, credentials, CHANNEL_OPTIONS);
}

export function createServer(options: ServerOptions = {}): Server {
  return new Server({ ...SERVER_OPTIONS, ...options });
}

export function serverCredentials(tls: Tls | undefined): ServerCredentials {
  if (!tls) return ServerCredentials.createInsecure();
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(Buffer.from(tls.ca), [pair], true);
}
