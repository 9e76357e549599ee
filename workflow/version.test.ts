import fc from "fast-check";
import semver from "semver";
import { describe, expect, it } from "vitest";
import {
  bumpBetween,
  bumpSuffices,
  compareVersions,
  isChannel,
  isNewestOfLine,
  isRange,
  isVersion,
  largestBump,
  newestOlder,
  pickVersion,
  satisfies,
} from "./version.ts";

const number = fc.integer({ min: 0, max: 4 });
const version = fc
  .tuple(number, number, number, fc.option(fc.constantFrom("rc.1", "rc.2", "alpha"), { freq: 4, nil: undefined }))
  .map(([x, y, z, pre]) => `${x}.${y}.${z}${pre === undefined ? "" : `-${pre}`}`);
const versions = fc.uniqueArray(version, { maxLength: 12 });
const range = fc.oneof(
  version,
  fc.tuple(fc.constantFrom("^", "~", ">=", "<", ""), version).map(([operator, text]) => `${operator}${text}`),
  fc.tuple(number, number).map(([x, y]) => `${x}.${y}`),
  fc.constantFrom("*", "1 - 2", ">=1 <3", "^1 || ^3"),
);

describe("versions and ranges", () => {
  it.each(["1.4.2", "0.0.1", "2.0.0-rc.1"])("%s is a version", (text) => {
    expect(isVersion(text)).toBe(true);
  });

  it.each(["v1.0.0", "1.0", "1.0.0+build", " 1.0.0", "01.0.0", "latest", "", "9".repeat(300)])(
    "%j is no version",
    (text) => {
      expect(isVersion(text)).toBe(false);
    },
  );

  it("tells ranges from channels", () => {
    expect(["", "^1.2", ">=1 <3", "*", "1.x"].every(isRange)).toBe(true);
    expect(["latest", "^^1", "1.0.0 &"].some(isRange)).toBe(false);
    expect(["stable", "latest", "blue-2"].every(isChannel)).toBe(true);
    expect(["x", "1.0.0", "Stable", "-a", "", "a".repeat(64)].some(isChannel)).toBe(false);
  });

  it("no text makes a question throw", () => {
    fc.assert(
      fc.property(fc.string(), versions, (text, published) => {
        expect(typeof isVersion(text)).toBe("boolean");
        expect(isRange(text) && isChannel(text)).toBe(false);
        const picked = pickVersion({ versions: published, channels: {} }, text);
        expect(picked === undefined || published.includes(picked)).toBe(true);
      }),
    );
  });
});

describe("pickVersion", () => {
  const entries = {
    versions: ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"],
    channels: { stable: "1.9.0", blue: "1.0.0" },
  };

  it.each([
    ["", "1.9.0"],
    ["stable", "1.9.0"],
    ["blue", "1.0.0"],
    ["latest", "1.10.0"],
    ["^1", "1.10.0"],
    ["1.9", "1.9.0"],
    ["1.0.0", "1.0.0"],
    ["2.0.0-rc.1", "2.0.0-rc.1"],
    [">=2.0.0-rc.0", "2.0.0-rc.1"],
    ["^2", undefined],
    ["1.5.0", undefined],
    ["green", undefined],
    ["toString", undefined],
  ])("%j means %s", (wanted, expected) => {
    expect(pickVersion(entries, wanted)).toBe(expected);
  });

  it("without a stable channel the default is the highest release, and a pre-release only when there is no other", () => {
    expect(pickVersion({ versions: entries.versions, channels: {} }, "")).toBe("1.10.0");
    expect(pickVersion({ versions: ["1.0.0-rc.2", "1.0.0-rc.10"], channels: {} }, "")).toBe("1.0.0-rc.10");
    expect(pickVersion({ versions: [], channels: {} }, "")).toBeUndefined();
  });

  it("a channel that points at a deleted version means nothing", () => {
    expect(pickVersion({ versions: ["1.0.0"], channels: { blue: "0.9.0" } }, "blue")).toBeUndefined();
  });

  it("gives the highest of those that satisfy the range, and undefined only when none does", () => {
    fc.assert(
      fc.property(versions, range, (published, wanted) => {
        const fitting = published.filter((one) => satisfies(one, wanted));
        const picked = pickVersion({ versions: published, channels: {} }, wanted);
        expect(picked).toBe(fitting.toSorted(compareVersions).at(-1));
      }),
    );
  });
});

describe("bumps", () => {
  it.each([
    ["1.0.0", "1.0.0", "none"],
    ["1.2.0", "1.1.9", "none"],
    ["1.0.0", "1.0.1", "patch"],
    ["1.0.5", "1.1.0", "minor"],
    ["1.9.0", "2.0.0", "major"],
    ["1.1.0", "2.0.0-rc.1", "major"],
    ["0.1.0", "0.2.0", "major"],
    ["0.1.0", "0.1.1", "minor"],
    ["0.0.1", "0.0.2", "major"],
    ["0.9.0", "1.0.0", "major"],
  ])("from %s to %s is %s", (older, newer, bump) => {
    expect(bumpBetween(older, newer)).toBe(bump);
  });

  it("a caret range of the older never takes a newer one that makes a major step", () => {
    fc.assert(
      fc.property(version, version, (older, newer) => {
        const breaks = bumpBetween(older, newer) === "major";
        expect(breaks && semver.satisfies(newer, `^${older}`)).toBe(false);
      }),
    );
  });

  it("the largest of several suffices for each of them", () => {
    const bump = fc.constantFrom("none", "patch", "minor", "major");
    fc.assert(
      fc.property(fc.array(bump), (bumps) => {
        expect(bumps.every((one) => bumpSuffices(largestBump(bumps), one))).toBe(true);
      }),
    );
    expect(bumpSuffices("patch", "minor")).toBe(false);
  });
});

describe("what a publish is measured against", () => {
  it("is the newest older release, whatever was published since and whatever pre-releases there are", () => {
    const published = ["1.0.0", "1.4.2", "1.5.0", "1.4.3-rc.1"];
    expect(newestOlder(published, "1.4.3")).toBe("1.4.2");
    expect(newestOlder(published, "2.0.0")).toBe("1.5.0");
    expect(newestOlder(published, "1.0.0")).toBeUndefined();
  });

  it("a version must be newer than all of its own x.y line", () => {
    const published = ["1.4.2", "1.5.0"];
    expect(isNewestOfLine(published, "1.4.3")).toBe(true);
    expect(isNewestOfLine(published, "1.4.1")).toBe(false);
    expect(isNewestOfLine(published, "1.4.2")).toBe(false);
    expect(isNewestOfLine(published, "1.4.2-rc.1")).toBe(false);
    expect(isNewestOfLine([], "0.0.1")).toBe(true);
  });
});
