import type { RegistryRecord } from "../store/store.ts";
import type { PlanResponse } from "../transport/api/workflow.ts";
import { type Change, changesBetween, requiredBump } from "../workflow/compatibility.ts";
import type { Definition } from "../workflow/definition.ts";
import { type ErrorCode, HodeiError, type Violation } from "../workflow/errors.ts";
import { directDependencies } from "../workflow/lock.ts";
import { suggestion } from "../workflow/suggest.ts";
import { bumpBetween, bumpSuffices, isNewestOfLine, isRange, newestOlder, satisfies } from "../workflow/version.ts";
import { channelsOf, findVersion, listed, type Published, versionsOf } from "./catalog.ts";

/** One reason why a version may not be published. */
export type Refusal = { code: ErrorCode; message: string; hint: string; violations: Violation[] };

export type Judgement = { plan: PlanResponse; refusals: Refusal[] };

type Load = (published: Published) => Promise<Definition>;
type Dependent = PlanResponse["dependents"][number];

/**
 * What publishing a definition would mean, given the registry as it stands: the one computation behind `register` and
 * `plan`, so that a plan never promises what a publish then refuses. Reads definitions through `load`, writes nothing.
 */
export async function judge(
  registry: RegistryRecord,
  candidate: Definition,
  digest: string,
  load: Load,
): Promise<Judgement> {
  const { name, version } = candidate;
  const published = versionsOf(registry, name);
  const versions = published.map((one) => one.version);
  const same = published.find((one) => one.version === version);
  const older = newestOlder(versions, version);
  const measure = published.find((one) => one.version === older);
  const changes = measure ? changesBetween(await load(measure), candidate) : [];
  const plan: PlanResponse = {
    name,
    version,
    digest,
    action: "create",
    ...(older === undefined ? {} : { previousVersion: older }),
    requiredBump: requiredBump(changes),
    actualBump: older === undefined ? "none" : bumpBetween(older, version),
    changes,
    dependents: [],
    refusals: [],
  };
  if (same?.digest === digest) return { plan: { ...plan, action: "unchanged" }, refusals: [] };

  const after = withCandidate(registry, candidate, digest);
  plan.dependents = await dependentsOf(registry, after, candidate, load);
  const refusals = [
    ...(same ? [taken(registry, candidate)] : tooOld(registry, candidate, versions)),
    ...underBumped(plan, candidate),
    ...unresolved(after, candidate),
    ...broken(plan, candidate),
  ];
  if (refusals.length > 0) {
    plan.action = "refused";
    plan.refusals = refusals.flatMap(({ message, violations }) =>
      violations.length > 0 ? violations : [{ path: "metadata.version", message }],
    );
  }
  return { plan, refusals };
}

/** The first refusal as the error of a publish; each of the others is among its violations. */
export function refusalError(candidate: Definition, refusals: readonly Refusal[]): HodeiError | undefined {
  const [first] = refusals;
  if (!first) return undefined;
  const others = refusals
    .slice(1)
    .flatMap(({ message, violations }) =>
      violations.length > 0 ? violations : [{ path: "metadata.version", message }],
    );
  return new HodeiError(first.code, first.message, {
    field: "metadata.version",
    hint: first.hint,
    violations: [...first.violations, ...others],
    facts: { workflow: candidate.name, version: candidate.version },
  });
}

/** Direct sub-workflows as the registry keeps them: name → ranges as written. */
export function dependenciesOf(definition: Definition): Record<string, string[]> {
  const ranges: Record<string, string[]> = {};
  for (const { name, range } of directDependencies(definition)) {
    const known = (ranges[name] ??= []);
    if (!known.includes(range)) known.push(range);
  }
  return ranges;
}

function withCandidate(registry: RegistryRecord, candidate: Definition, digest: string): RegistryRecord {
  const { name, version } = candidate;
  const others = registry.definitions.filter((one) => one.name !== name || one.version !== version);
  const added: Published = { name, version, digest, publishedAtMs: 0, dependencies: dependenciesOf(candidate) };
  return { ...registry, definitions: [...others, added] };
}

function taken(registry: RegistryRecord, { name, version }: Definition): Refusal {
  return {
    code: "ALREADY_EXISTS",
    message: `${name}@${version} is published already, with another content; a published version never changes`,
    hint: `Give the change a new version; ${listed(registry, name)}.`,
    violations: [],
  };
}

function tooOld(registry: RegistryRecord, { name, version }: Definition, versions: string[]): Refusal[] {
  if (isNewestOfLine(versions, version)) return [];
  const line = version.split(".").slice(0, 2).join(".");
  return [
    {
      code: "VERSION_NOT_NEWER",
      message: `${name}@${version} is not newer than every published version of its line ${line}`,
      hint: `Publish a version above those of ${line}; ${listed(registry, name)}.`,
      violations: [],
    },
  ];
}

function underBumped(plan: PlanResponse, { name, version }: Definition): Refusal[] {
  const { previousVersion, requiredBump: required, actualBump: actual } = plan;
  if (previousVersion === undefined || bumpSuffices(actual, required)) return [];
  const reasons = plan.changes.filter((change) => !bumpSuffices(actual, change.bump));
  return [
    {
      code: "VERSION_UNDER_BUMPED",
      message: `${name}@${version} changes more than a ${actual} version after ${previousVersion} may: it needs a ${required} one`,
      hint: `Raise the version by a ${required} step from ${previousVersion}, or take back what is listed.`,
      violations: reasons.map(({ path, message, bump }) => ({ path, message: `${message} (needs ${bump})` })),
    },
  ];
}

/** A sub-workflow that nothing published satisfies could never start; the candidate itself counts as published. */
function unresolved(after: RegistryRecord, candidate: Definition): Refusal[] {
  const missing = directDependencies(candidate).filter(({ name, range }) => !findVersion(after, name, range));
  if (missing.length === 0) return [];
  const names = [...new Set(after.definitions.map(({ name }) => name))];
  const violations = missing.map(({ name, range, step }) => ({
    path: `spec.steps.${step}`,
    message:
      versionsOf(after, name).length === 0
        ? `there is no workflow "${name}"${suggestion(name, names)}`
        : `no version of "${name}" fits "${range}"; ${listed(after, name)}`,
  }));
  const what = missing.map(({ name, range }) => (range === "" ? name : `${name}@${range}`)).join(", ");
  return [
    {
      code: "NO_SUCH_VERSION",
      message: `${candidate.name}@${candidate.version} calls what is not published: ${what}`,
      hint: "Register the sub-workflows first, or correct the name or range.",
      violations,
    },
  ];
}

function broken(plan: PlanResponse, { name, version }: Definition): Refusal[] {
  const breaks = plan.dependents.filter((dependent) => dependent.breaks);
  if (breaks.length === 0) return [];
  const who = breaks.map((dependent) => `${dependent.name}@${dependent.version}`).join(", ");
  return [
    {
      code: "DEPENDENT_BROKEN",
      message: `${name}@${version} would break ${who}: their range accepts it, but its input or output changes incompatibly`,
      hint: "Publish versions of the dependents with a narrower range (such as ^1) and delete the old ones, or stay compatible.",
      violations: breaks.map((dependent) => ({
        path: `${dependent.name}@${dependent.version}`,
        message: `asks for "${dependent.range}", which would now mean ${version}`,
      })),
    },
  ];
}

/**
 * Who calls this workflow. One breaks when it would get the candidate from now on *and* what callers see of it (input,
 * output) changed incompatibly against the version it gets today. An under-bumped change is refused anyway, so this
 * catches ranges that are too wide, such as ">=1" at the publish of 2.0.0. Rejected: refusing every publish that has
 * dependents, which freezes shared sub-workflows.
 */
async function dependentsOf(
  before: RegistryRecord,
  after: RegistryRecord,
  candidate: Definition,
  load: Load,
): Promise<Dependent[]> {
  const found: Dependent[] = [];
  const changesFrom = new Map<string, Change[]>();
  for (const dependent of before.definitions) {
    for (const range of dependent.dependencies[candidate.name] ?? []) {
      const gets = findVersion(before, candidate.name, range);
      const chosen = findVersion(after, candidate.name, range)?.version === candidate.version;
      const accepts = chosen || (isRange(range) && satisfies(candidate.version, range));
      let breaks = false;
      if (chosen && gets && gets.version !== candidate.version) {
        const changes = changesFrom.get(gets.digest) ?? changesBetween(await load(gets), candidate);
        changesFrom.set(gets.digest, changes);
        breaks = changes.some(isSeenByCallers);
      }
      found.push({ name: dependent.name, version: dependent.version, range, accepts, breaks });
    }
  }
  return found;
}

/** Steps are a workflow's own affair (signals and retries name them); a caller sees its input and output only. */
function isSeenByCallers({ bump, path }: Change): boolean {
  return bump === "major" && /^(?:spec\.)?(?:input|output)\b/.test(path);
}

/** Whose range would match nothing if that version were gone: what a delete must respect. */
export function needing(
  registry: RegistryRecord,
  name: string,
  version: string,
): Omit<Dependent, "accepts" | "breaks">[] {
  const after: RegistryRecord = {
    ...registry,
    definitions: registry.definitions.filter((one) => one.name !== name || one.version !== version),
  };
  return after.definitions.flatMap((dependent) =>
    (dependent.dependencies[name] ?? [])
      .filter((range) => findVersion(registry, name, range) && !findVersion(after, name, range))
      .map((range) => ({ name: dependent.name, version: dependent.version, range })),
  );
}

export function channelsAt(registry: RegistryRecord, name: string, version: string): string[] {
  return Object.entries(channelsOf(registry, name)).flatMap(([channel, at]) => (at === version ? [channel] : []));
}
