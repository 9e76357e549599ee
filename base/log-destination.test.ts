import { expect, test } from "vitest";
import { LogDestination } from "./log-destination.ts";

/** What waits for more lines. */
const waiting: (() => void)[] = [];
const later = (action: () => void): void => void waiting.push(action);
const gathered = (): void => {
  for (const action of waiting.splice(0)) action();
};

/** A pipe that holds so many bytes until it is read. */
function pipe(room: number): { write: (bytes: Uint8Array) => number; read: () => Buffer; writes: string[] } {
  const writes: string[] = [];
  let held = Buffer.alloc(0);
  return {
    writes,
    write(bytes) {
      const taken = Buffer.from(bytes.subarray(0, room - held.length));
      if (taken.length === 0) throw Object.assign(new Error("full"), { code: "EAGAIN" });
      writes.push(taken.toString());
      held = Buffer.concat([held, taken]);
      return taken.length;
    },
    read() {
      const bytes = held;
      held = Buffer.alloc(0);
      return bytes;
    },
  };
}

test("lines that come together are one write, in order", () => {
  const to = pipe(1000);
  const log = new LogDestination(to.write, later);
  log.write("one\n");
  log.write("two\n");
  expect(to.writes).toEqual([]);
  gathered();
  log.write("three\n");
  gathered();
  expect(to.writes).toEqual(["one\ntwo\n", "three\n"]);
});

test("at an exit what is held is written at once", () => {
  const to = pipe(1000);
  const log = new LogDestination(to.write, later);
  log.write("last words\n");
  log.flush();
  expect(to.read().toString()).toBe("last words\n");
});

test("a reader that is slow gets every line whole, and nobody waits for it", () => {
  const to = pipe(7);
  const log = new LogDestination(to.write, later);
  for (const line of ["first\n", "second\n", "thírd\n"]) log.write(line);
  gathered();
  const read: Buffer[] = [];
  for (let round = 0; round < 10; round += 1) {
    read.push(to.read());
    gathered();
  }
  expect(waiting).toEqual([]);
  expect(Buffer.concat(read).toString()).toBe("first\nsecond\nthírd\n");
});

test("lines beyond the bound are counted and dropped, and the reader is told", () => {
  const writes: string[] = [];
  const log = new LogDestination((bytes) => {
    writes.push(Buffer.from(bytes).toString());
    return bytes.length;
  }, later);
  const long = `${"x".repeat(1024 * 1024 - 1)}\n`;
  for (let at = 0; at < 6; at += 1) log.write(long);
  log.flush();
  const read = writes.join("");
  expect(read.startsWith(long.repeat(4))).toBe(true);
  expect(JSON.parse(read.slice(long.length * 4))).toMatchObject({ dropped: 2 });
});

test("a reader that has gone harms nobody", () => {
  const log = new LogDestination(() => {
    throw Object.assign(new Error("gone"), { code: "EPIPE" });
  }, later);
  log.write("to nobody\n");
  gathered();
  expect(() => log.flush()).not.toThrow();
});
