import { describe, expect, it, vi } from "vitest";
import { asCommand, numberIn, UsageError, valuesOf } from "./command-line.ts";

const OPTIONS = { seeds: { type: "string", default: "500" }, trace: { type: "boolean", default: false } } as const;

describe("the command line of the simulator", () => {
  it("takes what is given and else what each option is without", () => {
    const values = valuesOf(["--seeds", "7"], OPTIONS);
    expect(values).toMatchObject({ seeds: "7", trace: false });
    expect(numberIn(values, "seeds", 1)).toBe(7);
  });

  it.each([["--sedes", "7"], ["--seeds"], ["7"], ["--trace=yes"]])("refuses %s %s", (...args) => {
    expect(() => valuesOf(args, OPTIONS)).toThrow(UsageError);
  });

  // A run of no seeds would pass.
  it.each(["", "x", "1.5", "-1", "0", "1e99"])("takes %j for no number of seeds", (seeds) => {
    expect(() => numberIn({ seeds }, "seeds", 1)).toThrow(`--seeds is a whole number from 1 on, not "${seeds}"`);
  });

  it("exits with 2 when it was called wrongly, and with the command's own code else", async () => {
    const write = vi.spyOn(process.stderr, "write").mockReturnValue(true);
    expect(await asCommand("usage", async () => 1)).toBe(1);
    expect(write).not.toHaveBeenCalled();
    expect(await asCommand("usage", () => Promise.reject(new UsageError("no")))).toBe(2);
    expect(write).toHaveBeenCalledWith("no\nusage\n");
    write.mockRestore();
    await expect(asCommand("usage", () => Promise.reject(new Error("a defect")))).rejects.toThrow("a defect");
  });
});
