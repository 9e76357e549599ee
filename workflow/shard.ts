import { createHash } from "node:crypto";

/**
 * The fixed bucket of an execution: the first 32 bits of SHA-256 over `namespace/executionId`, modulo the shard count.
 * Only what stands in the first `{…}` of the id is hashed when there is one (`affinity: parent` uses that), so that a
 * child can be kept beside its parent.
 */
export function shardOf(namespace: string, executionId: string, shards: number): number {
  const open = executionId.indexOf("{");
  const close = open < 0 ? -1 : executionId.indexOf("}", open);
  const hashed = close > open + 1 ? executionId.slice(open + 1, close) : executionId;
  return createHash("sha256").update(`${namespace}/${hashed}`).digest().readUInt32BE(0) % shards;
}
