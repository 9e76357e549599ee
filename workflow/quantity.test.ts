import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isHodeiError } from "./errors.ts";
import { formatBytes, formatCount, formatCpuMillis, parseBytes, parseCount, parseCpuMillis } from "./quantity.ts";

describe("parseCpuMillis", () => {
  it.each([
    ["500m", 500],
    ["2", 2000],
    ["0.5", 500],
    ["1.5", 1500],
    ["0.0001", 1],
    ["250000u", 250],
    ["1e1", 10_000],
    ["2k", 2_000_000],
    ["0", 0],
  ])("reads %s as %i", (text, millis) => expect(parseCpuMillis(text)).toBe(millis));
});

describe("parseBytes", () => {
  it.each([
    ["1Gi", 2 ** 30],
    ["1.5Gi", 1.5 * 2 ** 30],
    ["512Mi", 512 * 2 ** 20],
    ["1G", 1e9],
    ["100k", 100_000],
    ["0.1Ti", 109_951_162_778],
    ["1E3", 1000],
    ["1024", 1024],
  ])("reads %s as %s", (text, bytes) => expect(parseBytes(text)).toBe(bytes));

  it("refuses more than a number can hold exactly", () => expect(() => parseBytes("1E")).toThrow("too large"));

  it("does not take milli for mega", () => expect(() => parseBytes("512m")).toThrow("M or Mi"));
});

describe("parseCount", () => {
  it("takes whole numbers only", () => {
    expect(parseCount("2")).toBe(2);
    expect(() => parseCount("0.5")).toThrow('"0.5" is not a count quantity: must be a whole number');
  });
});

describe("what is no quantity", () => {
  const texts = "1.5Qi|-1|+1|| 1|1 Gi|Gi|1gi|1.|.5|1..5|1e|0x10|NaN".split("|");
  it.each([...texts, "9".repeat(40)])("%j is refused by its text", (text) => {
    const refusal = expect.objectContaining({
      code: "INVALID_ARGUMENT",
      message: expect.stringContaining(JSON.stringify(text.slice(0, 32)).slice(0, -1)),
    });
    for (const parse of [parseCpuMillis, parseBytes, parseCount]) expect(() => parse(text)).toThrow(refusal);
  });

  it.each(["1Ki", "1Ei"])("refuses the binary suffix of %s for cpu", (text) => {
    expect(() => parseCpuMillis(text)).toThrow("binary suffix");
  });

  it("tells the suffix Ei from an exponent", () => {
    expect([parseBytes("0Ei"), parseBytes("1E3"), parseCount("2e0")]).toEqual([0, 1000, 2]);
    expect(() => parseBytes("1Ei")).toThrow('"1Ei" is not a memory quantity: too large');
  });

  it("is the only error for any text", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.eEKMGTPinumk+-]{0,12}$/)), (text) => {
        for (const parse of [parseCpuMillis, parseBytes, parseCount]) {
          try {
            const amount = parse(text);
            expect(Number.isSafeInteger(amount) && amount >= 0).toBe(true);
          } catch (error) {
            if (!isHodeiError(error, "INVALID_ARGUMENT")) throw error;
          }
        }
      }),
    );
  });
});

describe("formatters", () => {
  it("write what reads back as the same", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat(60), (amount, shift) => {
        const bytes = Number((BigInt(amount) << BigInt(shift)) % BigInt(Number.MAX_SAFE_INTEGER));
        expect(parseBytes(formatBytes(bytes))).toBe(bytes);
        const millis = amount % 1_000_000_000;
        expect(parseCpuMillis(formatCpuMillis(millis))).toBe(millis);
        expect(parseCount(formatCount(amount))).toBe(amount);
      }),
    );
  });

  it("use the largest unit that is exact", () => {
    expect(formatBytes(2 ** 30)).toBe("1Gi");
    expect(formatBytes(1.5 * 2 ** 30)).toBe("1536Mi");
    expect(formatBytes(1000)).toBe("1000");
    expect(formatCpuMillis(2000)).toBe("2");
    expect(formatCpuMillis(1500)).toBe("1500m");
  });
});
