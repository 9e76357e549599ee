import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { JournalFile, type Placed } from "./journal-file.ts";

const folder = mkdtempSync(join(tmpdir(), "hodei-journal-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
const path = (): string => join(folder, `journal-${(files += 1)}`);
const CAPACITY_BYTES = 1000;

describe("the journal's file", () => {
  it("gives back what is needed, in order, however often it was written around", () => {
    const step = fc.oneof(
      fc.record({ append: fc.array(fc.string({ unit: "grapheme", maxLength: 60 }), { maxLength: 4 }) }),
      fc.record({ free: fc.nat({ max: 5 }) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const at = path();
        const file = new JournalFile(at, { capacityBytes: CAPACITY_BYTES, salt: 7, fresh: true });
        let number = 1;
        let needed: (Placed & { text: string })[] = [];
        const start = (): { offset: number; number: number } => needed[0] ?? { offset: file.head, number };
        for (const each of steps) {
          if ("free" in each) {
            needed = needed.slice(each.free);
            file.free(start().offset);
            continue;
          }
          const placed = file.append(number, each.append);
          if (placed === undefined) {
            // No room is no excuse for a file of which half is free.
            const bytes = needed.reduce((sum, record) => sum + record.bytes, 0);
            const asked = Buffer.byteLength(each.append.join("")) + 16;
            if (bytes + 2 * asked <= CAPACITY_BYTES / 2) throw new Error(`${bytes} bytes needed, ${asked} asked`);
            continue;
          }
          needed.push({ ...placed, text: each.append.join("") });
          number += 1;
        }
        const again = new JournalFile(at, { capacityBytes: CAPACITY_BYTES, salt: 7, fresh: false });
        expect([...again.read(start())]).toEqual(needed);
        expect(again.head).toBe(file.head);
        file.close();
        again.close();
      }),
    );
  });

  it("has no room for a record that is larger than the file, and takes the next one", () => {
    const file = new JournalFile(path(), { capacityBytes: CAPACITY_BYTES, salt: 7, fresh: true });
    expect(file.append(1, ["x".repeat(CAPACITY_BYTES)])).toBeUndefined();
    expect(file.append(1, ["x"])).toMatchObject({ number: 1, offset: 0 });
    file.close();
  });
});
