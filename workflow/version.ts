import semver from "semver";

/** Bounds what the semver library is asked to parse; it has its own for versions (256), ranges here are shorter anyway. */
const MAX_LENGTH = 256;

export type Bump = "none" | "patch" | "minor" | "major";

const SIZE: Record<Bump, number> = { none: 0, patch: 1, minor: 2, major: 3 };

/**
 * Exact semver as published: "1.4.2", "2.0.0-rc.1". Without a leading v, and without build metadata: two versions
 * that differ in metadata alone have equal precedence, so "the newest" would not be one.
 */
export function isVersion(text: string): boolean {
  return text.length <= MAX_LENGTH && semver.valid(text) === text;
}

/** A semver range ("^1.2", ">=1 <3", "1.4.2", "*"); the empty text is one too. A channel name is not. */
export function isRange(text: string): boolean {
  return text.length <= MAX_LENGTH && semver.validRange(text) !== null;
}

/** A channel's name: lower-case letters, digits and dashes, and not readable as a range (so neither "x" nor "1-2"). */
export function isChannel(text: string): boolean {
  return text.length <= 63 && /^[a-z](?:[a-z0-9-]*[a-z0-9])?$/.test(text) && !isRange(text);
}

/** Negative when `a` is older. By semver precedence: a pre-release is older than its release. */
export function compareVersions(a: string, b: string): number {
  return semver.compare(a, b);
}

/** Whether `range` accepts `version`. Pre-releases are accepted only by a range that names one of the same x.y.z. */
export function satisfies(version: string, range: string): boolean {
  return semver.satisfies(version, range);
}

/**
 * The version that `range` (an exact version, a semver range, a channel's name or empty) means among the published.
 * Empty: the channel `stable`, else the highest release, else the highest. The channel `latest` needs no pointer: it
 * is the highest release, else the highest, until somebody points it elsewhere. Undefined when nothing fits.
 */
export function pickVersion(
  entries: { versions: string[]; channels: Record<string, string> },
  range: string,
): string | undefined {
  const wanted = range.trim();
  const published = (version: string | undefined): string | undefined =>
    version !== undefined && entries.versions.includes(version) ? version : undefined;
  const channel = (name: string): string | undefined =>
    Object.hasOwn(entries.channels, name) ? published(entries.channels[name]) : undefined;
  if (wanted === "") return channel("stable") ?? highest(entries.versions);
  if (isVersion(wanted)) return published(wanted);
  if (isRange(wanted)) return semver.maxSatisfying(entries.versions, wanted) ?? undefined;
  return channel(wanted) ?? (wanted === "latest" ? highest(entries.versions) : undefined);
}

function highest(versions: string[]): string | undefined {
  return newest(versions.filter((version) => semver.prerelease(version) === null)) ?? newest(versions);
}

function newest(versions: string[]): string | undefined {
  return versions.toSorted(semver.compare).at(-1);
}

/**
 * How large the step from `older` to `newer` is, as a caret range sees it: below 1.0.0 the left-most non-zero number
 * is the breaking one, so 0.1.0 → 0.2.0 is "major" and 0.1.0 → 0.1.1 may add ("minor"). Rejected: reading 0.x by
 * position alone, which would force 1.0.0 on whoever breaks a draft. "none" when `newer` is not newer.
 */
export function bumpBetween(older: string, newer: string): Bump {
  if (semver.compare(newer, older) <= 0) return "none";
  const from = semver.parse(older);
  const to = semver.parse(newer);
  if (from === null || to === null) return "none";
  if (from.major !== to.major) return "major";
  if (from.minor !== to.minor) return from.major === 0 ? "major" : "minor";
  if (from.patch === to.patch || from.major > 0) return "patch";
  return from.minor === 0 ? "major" : "minor";
}

/** Whether a step of size `actual` allows a change that needs `required`. */
export function bumpSuffices(actual: Bump, required: Bump): boolean {
  return SIZE[actual] >= SIZE[required];
}

export function largestBump(bumps: Iterable<Bump>): Bump {
  let largest: Bump = "none";
  for (const bump of bumps) if (SIZE[bump] > SIZE[largest]) largest = bump;
  return largest;
}

/**
 * The release that a publish of `version` is measured against: the newest one older than it. Pre-releases are left
 * out, they promise nothing; else a break could enter 1.3.0 by way of 1.3.0-rc.1.
 */
export function newestOlder(versions: string[], version: string): string | undefined {
  return newest(versions.filter((one) => semver.prerelease(one) === null && semver.lt(one, version)));
}

/** Whether `version` is newer than every published one of its x.y line: 1.4.3 may follow 1.5.0, but not 1.4.4. */
export function isNewestOfLine(versions: string[], version: string): boolean {
  const line = (text: string): string => `${semver.major(text)}.${semver.minor(text)}`;
  return versions.every((one) => line(one) !== line(version) || semver.lt(one, version));
}
