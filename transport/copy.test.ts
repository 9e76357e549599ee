import { expect, test } from "vitest";
import { copyOf } from "./copy.ts";

test("a copy is equal and shares nothing that could be changed", () => {
  const bytes = Uint8Array.of(1, 2);
  const inner = { list: [1, { deep: true }], bytes, none: null, missing: undefined };
  const message = JSON.parse('{"__proto__": "kept", "constructor": "too"}') as Record<string, unknown>;
  message["inner"] = inner;
  const copy = copyOf(message);
  expect(copy).toEqual(message);
  expect(Object.keys(copy)).toEqual(["__proto__", "constructor", "inner"]);
  const told = structuredClone(copy);
  inner.list.push(2);
  bytes[0] = 9;
  expect(copy).toEqual(told);
});

test("what no wire could carry is refused", () => {
  expect(() => copyOf({ call: () => 1 })).toThrow("a message holds a function");
});
