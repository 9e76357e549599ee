import type { StatusObject } from "@grpc/grpc-js";
import { Metadata, status as Status } from "@grpc/grpc-js";
import type { Any } from "../../proto/gen/google/protobuf/any.ts";
import { BadRequest, ErrorInfo, RetryInfo } from "../../proto/gen/google/rpc/error_details.ts";
import { Status as RpcStatus } from "../../proto/gen/google/rpc/status.ts";
import type { ErrorCode, Violation } from "../../workflow/errors.ts";
import { ERROR_CODES, HodeiError } from "../../workflow/errors.ts";

/**
 * HodeiError ↔ gRPC status. The status is for any gRPC client; the whole error rides in the trailer
 * `grpc-status-details-bin` as google.rpc.Status: ErrorInfo (reason = our code; metadata = facts, field, hint),
 * BadRequest (violations) and RetryInfo (where trying again can help).
 */
const STATUS_OF: Record<ErrorCode, Status> = {
  INVALID_ARGUMENT: Status.INVALID_ARGUMENT,
  INVALID_DEFINITION: Status.INVALID_ARGUMENT,
  INVALID_EXPRESSION: Status.INVALID_ARGUMENT,
  INVALID_INPUT: Status.INVALID_ARGUMENT,
  // What gRPC itself answers when a message is too large.
  TOO_LARGE: Status.RESOURCE_EXHAUSTED,
  UNAUTHENTICATED: Status.UNAUTHENTICATED,
  PERMISSION_DENIED: Status.PERMISSION_DENIED,
  NOT_FOUND: Status.NOT_FOUND,
  ALREADY_EXISTS: Status.ALREADY_EXISTS,
  VERSION_NOT_NEWER: Status.FAILED_PRECONDITION,
  VERSION_UNDER_BUMPED: Status.FAILED_PRECONDITION,
  DEPENDENT_BROKEN: Status.FAILED_PRECONDITION,
  STILL_NEEDED: Status.FAILED_PRECONDITION,
  NO_SUCH_VERSION: Status.NOT_FOUND,
  CLOSED: Status.FAILED_PRECONDITION,
  STILL_RUNNING: Status.FAILED_PRECONDITION,
  // ABORTED: try again, but one level higher, with what was read anew.
  NOT_OWNER: Status.ABORTED,
  FENCED: Status.ABORTED,
  CONFLICT: Status.ABORTED,
  STALE: Status.ABORTED,
  UNAVAILABLE: Status.UNAVAILABLE,
  DEADLINE_EXCEEDED: Status.DEADLINE_EXCEEDED,
  CANCELLED: Status.CANCELLED,
  RESOURCE_EXHAUSTED: Status.RESOURCE_EXHAUSTED,
  DATA_IN_USE: Status.FAILED_PRECONDITION,
  DATA_CORRUPT: Status.DATA_LOSS,
  ADDRESS_IN_USE: Status.FAILED_PRECONDITION,
  JOB_FAILED: Status.FAILED_PRECONDITION,
  JOB_TIMEOUT: Status.FAILED_PRECONDITION,
  JOB_LOST: Status.FAILED_PRECONDITION,
  JOB_REJECTED: Status.FAILED_PRECONDITION,
  NO_MATCHING_WORKER: Status.FAILED_PRECONDITION,
  WORKSPACE_LOST: Status.FAILED_PRECONDITION,
  CHILD_FAILED: Status.FAILED_PRECONDITION,
  DEPTH_EXCEEDED: Status.FAILED_PRECONDITION,
  TREE_TOO_LARGE: Status.FAILED_PRECONDITION,
  UNIMPLEMENTED: Status.UNIMPLEMENTED,
  INTERNAL: Status.INTERNAL,
};

/** For a status without our details: grpc-js's own, a proxy's, or a server that is not Hodei. */
const CODE_OF: Partial<Record<Status, ErrorCode>> = {
  [Status.INVALID_ARGUMENT]: "INVALID_ARGUMENT",
  [Status.OUT_OF_RANGE]: "INVALID_ARGUMENT",
  [Status.DEADLINE_EXCEEDED]: "DEADLINE_EXCEEDED",
  [Status.NOT_FOUND]: "NOT_FOUND",
  [Status.ALREADY_EXISTS]: "ALREADY_EXISTS",
  [Status.PERMISSION_DENIED]: "PERMISSION_DENIED",
  [Status.RESOURCE_EXHAUSTED]: "RESOURCE_EXHAUSTED",
  [Status.ABORTED]: "CONFLICT",
  [Status.UNIMPLEMENTED]: "UNIMPLEMENTED",
  [Status.UNAVAILABLE]: "UNAVAILABLE",
  [Status.UNAUTHENTICATED]: "UNAUTHENTICATED",
  // Our own cancels never come back as a status: this is a connection that was cut (session destroyed with CANCEL).
  [Status.CANCELLED]: "UNAVAILABLE",
};

export const STATUS_CODES: Readonly<Record<ErrorCode, number>> = STATUS_OF;

const DETAILS = "grpc-status-details-bin";
const DOMAIN = "hodei.dev";
const TYPE = "type.googleapis.com/google.rpc.";
/** Keys of the metadata that are not facts; a fact of such a name, or that begins like the escape, is escaped. */
const RESERVED = new Set(["field", "hint", "omitted"]);
const ESCAPE = "fact.";
const DEFAULT_RETRY_MS = 1000;

/**
 * Clients of other languages refuse trailers beyond 8 KiB (C core's soft limit), so details stay under 4.5 KiB before
 * base64. What does not fit is left out, last first, and counted in the fact `omitted`.
 */
const BOUNDS = { headerMessage: 300, message: 1200, metadataBytes: 1300, violationsBytes: 1800 } as const;

export function toStatus(error: HodeiError): StatusObject {
  const message = cut(error.message, BOUNDS.message);
  const { metadata: facts, omitted: omittedFacts } = metadataOf(error);
  const { violations, omitted: omittedViolations } = violationsOf(error);
  const omitted = omittedFacts + omittedViolations;
  if (omitted > 0) facts["omitted"] = String(omitted);
  const code = STATUS_OF[error.code];
  const details: Any[] = [
    any("ErrorInfo", ErrorInfo.encode({ reason: error.code, domain: DOMAIN, metadata: facts }).finish()),
  ];
  if (violations.length > 0) {
    details.push(any("BadRequest", BadRequest.encode({ fieldViolations: violations }).finish()));
  }
  if (error.code === "UNAVAILABLE" || error.code === "RESOURCE_EXHAUSTED") {
    const retryMs = Number(error.facts["retryAfterMs"] ?? DEFAULT_RETRY_MS) || DEFAULT_RETRY_MS;
    const retryDelay = { seconds: Math.floor(retryMs / 1000), nanos: Math.floor(retryMs % 1000) * 1_000_000 };
    details.push(any("RetryInfo", RetryInfo.encode({ retryDelay }).finish()));
  }
  const metadata = new Metadata();
  metadata.set(DETAILS, Buffer.from(RpcStatus.encode({ code, message, details }).finish()));
  // The whole message is in the details; this one is for clients that look no further. grpc-js percent-encodes it with
  // encodeURI, which throws on half a surrogate pair.
  return { code, details: cut(error.message, BOUNDS.headerMessage).toWellFormed(), metadata };
}

/** The error as it was on the other side. `address` is whom we called. */
export function fromStatus(status: Partial<StatusObject>, address: string): HodeiError {
  const detailed = decodeDetails(status);
  if (detailed) return detailed;
  const words = status.details ?? "no details";
  // grpc-js passes the socket's error on in words only, e.g. "Last error: Error: connect ECONNREFUSED 127.0.0.1:1".
  const refused = status.code === Status.UNAVAILABLE && words.includes("ECONNREFUSED");
  const code = codeOf(status.code, words);
  const facts: Record<string, string> = code === "UNAVAILABLE" ? { address } : {};
  if (refused) facts["evidence"] = "refused";
  const why = refused ? "nothing listens there (connection refused)" : words;
  const message = code === "UNAVAILABLE" ? `${address} is not reachable: ${why}` : words;
  return new HodeiError(code, message, { facts, cause: status });
}

function codeOf(status: Status | undefined, words: string): ErrorCode {
  if (status === Status.RESOURCE_EXHAUSTED && /larger than/.test(words)) return "TOO_LARGE";
  // A server that is torn down resets streams before it sends their status.
  if (status === Status.INTERNAL && /RST_STREAM/.test(words)) return "UNAVAILABLE";
  return (status === undefined ? undefined : CODE_OF[status]) ?? "INTERNAL";
}

function decodeDetails(status: Partial<StatusObject>): HodeiError | undefined {
  const [bytes] = status.metadata?.get(DETAILS) ?? [];
  if (!(bytes instanceof Buffer)) return undefined;
  let message: string;
  let info: ErrorInfo | undefined;
  const violations: Violation[] = [];
  try {
    const rpc = RpcStatus.decode(bytes);
    message = rpc.message;
    for (const detail of rpc.details) {
      if (detail.typeUrl === `${TYPE}ErrorInfo`) info = ErrorInfo.decode(detail.value);
      if (detail.typeUrl !== `${TYPE}BadRequest`) continue;
      for (const found of BadRequest.decode(detail.value).fieldViolations) {
        violations.push({ path: found.field, ...parseDescription(found.description) });
      }
    }
  } catch {
    // Not google.rpc.Status: some other server's trailer of the same name. The bare status still says enough.
    return undefined;
  }
  if (!info || info.domain !== DOMAIN) return undefined;
  // A code that a newer peer knows and we do not falls back on its status.
  const known = Object.hasOwn(ERROR_CODES, info.reason);
  const code = known ? (info.reason as ErrorCode) : codeOf(status.code, "");
  const facts: Record<string, string> = {};
  for (const [key, value] of Object.entries(info.metadata)) {
    if (key.startsWith(ESCAPE)) facts[key.slice(ESCAPE.length)] = value;
    else if (!RESERVED.has(key) || key === "omitted") facts[key] = value;
  }
  const { field, hint } = info.metadata;
  return new HodeiError(code, message, { field, hint, violations, facts });
}

function metadataOf(error: HodeiError): { metadata: Record<string, string>; omitted: number } {
  const entries: [string, string][] = [];
  if (error.field !== undefined) entries.push(["field", error.field]);
  if (error.hint !== undefined) entries.push(["hint", error.hint]);
  for (const [key, value] of Object.entries(error.facts)) {
    entries.push([RESERVED.has(key) || key.startsWith(ESCAPE) ? ESCAPE + key : key, value]);
  }
  const kept = withinBytes(entries, BOUNDS.metadataBytes, ([key, value]) => byteLength(key) + byteLength(value));
  return { metadata: Object.fromEntries(kept), omitted: entries.length - kept.length };
}

function violationsOf(error: HodeiError): { violations: BadRequest["fieldViolations"]; omitted: number } {
  const all = error.violations.map((violation) => ({ field: violation.path, description: describe(violation) }));
  const kept = withinBytes(all, BOUNDS.violationsBytes, (of) => byteLength(of.field) + byteLength(of.description));
  return { violations: kept, omitted: all.length - kept.length };
}

/** The entries that fit together, in order; one that does not is left out, and smaller ones after it may still fit. */
function withinBytes<T>(entries: readonly T[], maximum: number, sizeOf: (entry: T) => number): T[] {
  const FRAMING_BYTES = 8;
  let used = 0;
  return entries.filter((entry) => {
    const size = sizeOf(entry) + FRAMING_BYTES;
    if (used + size > maximum) return false;
    used += size;
    return true;
  });
}

/**
 * `[file:line:column] message`, parts that are not known left empty, the bracket left out when none is. `%`, `:` and `]`
 * in a file name are percent-encoded, and a message that itself begins with `[` gets an empty bracket, so that
 * `parseDescription` reads back exactly what was written.
 */
function describe({ file, line, column, message }: Violation): string {
  const known = file !== undefined || line !== undefined || column !== undefined;
  if (!known && !message.startsWith("[")) return message;
  const name = (file ?? "").replaceAll(/[%:\]]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `[${[name, line ?? "", column ?? ""].join(":").replace(/:+$/, "")}] ${message}`;
}

function parseDescription(description: string): Omit<Violation, "path"> {
  const found = /^\[([^:\]]*)(?::(\d*))?(?::(\d*))?\] ([^]*)$/.exec(description);
  if (!found) return { message: description };
  const [, name, line, column, message] = found;
  const violation: Omit<Violation, "path"> = { message: message ?? "" };
  if (name)
    violation.file = name.replaceAll(/%(25|3A|5D)/g, (_, hex: string) => String.fromCharCode(parseInt(hex, 16)));
  if (line) violation.line = Number(line);
  if (column) violation.column = Number(column);
  return violation;
}

function any(type: string, bytes: Uint8Array): Any {
  return { typeUrl: TYPE + type, value: Buffer.from(bytes) };
}

function byteLength(text: string): number {
  return Buffer.byteLength(text);
}

/** By bytes, since a message may be in any script; cut between characters. */
function cut(text: string, bytes: number): string {
  if (byteLength(text) <= bytes) return text;
  const kept = Buffer.from(text)
    .subarray(0, bytes)
    .toString()
    .replace(/\uFFFD+$/, "");
  return `${kept}…`;
}
