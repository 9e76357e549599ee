import { expect, test } from "vitest";
import { shardOf } from "./shard.ts";

/** Fixed for ever: what is stored lies in these shards. */
test.each([
  ["default", "a", 1553, 13841],
  ["default", "order-1", 1738, 34506],
  ["team", "order-1", 1935, 63375],
  ["default", "{order-1}/pack/0", 1738, 34506],
  ["default", "ünï", 912, 19344],
])("%s/%s lies in shard %i of 2048 and %i of 65536", (namespace, id, of2048, of65536) => {
  expect(shardOf(namespace, id, 2048)).toBe(of2048);
  expect(shardOf(namespace, id, 65536)).toBe(of65536);
});
