import type { Clock } from "../base/clock.ts";
import type { RegistryRecord, Store } from "../store/store.ts";
import type { Definition, Lock } from "../workflow/definition.ts";
import { HodeiError } from "../workflow/errors.ts";
import { normalForm, parseNormalForm } from "../workflow/load.ts";
import { closureLock } from "../workflow/lock.ts";
import { suggestion } from "../workflow/suggest.ts";
import { compareVersions, pickVersion } from "../workflow/version.ts";
import { Recent } from "./recent.ts";

/** One published version without its body, as the registry lists it. */
export type Published = RegistryRecord["definitions"][number];

/** Everything one exact version can reach, locked: what a start carries. */
export type Closure = {
  definition: Definition;
  digest: string;
  lock: Lock;
  lockJson: string;
  /** digest → normal form as JSON text. */
  definitions: Record<string, string>;
};

/** Hints of changes may be lost: a cached registry is read again after this, whatever was heard. */
const FRESH_MS = 2_000;
const NAMESPACES = 256;
const DEFINITIONS = 1_024;
const CLOSURES = 512;
/** Versions that an error lists. */
const NAMED = 5;

type Cached = { record: RegistryRecord | undefined; readMs: number; changes: number; unwatch: () => void };

/**
 * The registry as starts read it: cached by namespace until it changes. Definitions are immutable, so they are cached
 * by digest for good; a closure is one by registry revision and digest.
 */
export class Catalog {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #namespaces = new Recent<Cached>(NAMESPACES);
  readonly #definitions = new Recent<Definition>(DEFINITIONS);
  readonly #closures = new Recent<Closure>(CLOSURES);

  constructor(options: { store: Store; clock: Clock }) {
    this.#store = options.store;
    this.#clock = options.clock;
  }

  stop(): void {
    for (const cached of this.#namespaces.values()) cached.unwatch();
  }

  /** At most FRESH_MS old; `fresh` reads it now, as every decision to write or to refuse must. */
  async registry(namespace: string, options: { fresh?: boolean } = {}): Promise<RegistryRecord> {
    const cached = this.#cached(namespace);
    const young = this.#clock.monotonic() - cached.readMs < FRESH_MS;
    if (cached.record && young && options.fresh !== true) return cached.record;
    const { changes } = cached;
    const readMs = this.#clock.monotonic();
    const record = await this.#store.registry.read(namespace);
    // A change that was heard of during the read may or may not be in it: then it is good for this caller only.
    if (cached.changes === changes) Object.assign(cached, { record, readMs });
    return record;
  }

  /** After a write of our own, so that the next start sees it whatever the hints do. */
  changed(namespace: string): void {
    const cached = this.#cached(namespace);
    cached.changes++;
    cached.record = undefined;
  }

  #cached(namespace: string): Cached {
    const known = this.#namespaces.get(namespace);
    if (known) return known;
    const cached: Cached = { record: undefined, readMs: 0, changes: 0, unwatch: () => undefined };
    cached.unwatch = this.#store.watch({ kind: "registry", namespace }, () => {
      cached.changes++;
      cached.record = undefined;
    });
    this.#namespaces.set(namespace, cached)?.unwatch();
    return cached;
  }

  /** Throws DATA_CORRUPT when the registry lists a version whose body is gone. */
  async definition(namespace: string, published: Pick<Published, "name" | "version" | "digest">): Promise<Definition> {
    const key = `${namespace} ${published.digest}`;
    const known = this.#definitions.get(key);
    if (known) return known;
    const body = await this.#store.registry.body({ namespace, digest: published.digest });
    if (body === undefined) {
      const name = `${published.name}@${published.version}`;
      throw new HodeiError("DATA_CORRUPT", `${name} is registered, but its definition ${published.digest} is missing`);
    }
    const definition = parseNormalForm(body);
    this.#definitions.set(key, definition);
    return definition;
  }

  /** Locks everything that a published version reaches, as the registry stands. Throws NO_SUCH_VERSION. */
  async closure(namespace: string, registry: RegistryRecord, root: Published): Promise<Closure> {
    const key = `${namespace} ${registry.revision} ${root.digest}`;
    const known = this.#closures.get(key);
    if (known) return known;
    const reached = await this.#reach(namespace, registry, root);
    const definition = await this.definition(namespace, root);
    const closure = lockedBy(definition, root.digest, (name, range) => {
      const found = findVersion(registry, name, range);
      const reachedOne = found && reached.get(found.digest);
      return reachedOne && { version: found.version, digest: found.digest, definition: reachedOne };
    });
    this.#closures.set(key, closure);
    return closure;
  }

  /** Loads the bodies of all that can be reached, so that the lock itself can be computed without I/O. */
  async #reach(namespace: string, registry: RegistryRecord, root: Published): Promise<Map<string, Definition>> {
    const reached = new Map<string, Definition>();
    const open = [root];
    for (let next = open.pop(); next; next = open.pop()) {
      if (reached.has(next.digest)) continue;
      reached.set(next.digest, await this.definition(namespace, next));
      for (const [name, ranges] of Object.entries(next.dependencies)) {
        for (const range of ranges)
          open.push(requireVersion(registry, name, range, { neededBy: `${next.name}@${next.version}` }));
      }
    }
    return reached;
  }
}

/** The closure of a definition under a given resolution: the registry's, or that of a parent's lock. */
export function lockedBy(definition: Definition, digest: string, resolve: Parameters<typeof closureLock>[1]): Closure {
  const { lock, definitions } = closureLock(definition, resolve);
  const bodies = Object.values(lock.entries).flatMap((entry) => {
    const locked = definitions.find(({ name, version }) => name === entry.name && version === entry.version);
    return locked ? [[entry.digest, normalForm(locked)] as const] : [];
  });
  const texts = { ...Object.fromEntries(bodies), [digest]: normalForm(definition) };
  return { definition, digest, lock, lockJson: JSON.stringify(lock), definitions: texts };
}

const indices = new WeakMap<RegistryRecord, Map<string, Published[]>>();

/** A record is never changed in place, so its index by name is made once. */
export function versionsOf(registry: RegistryRecord, name: string): readonly Published[] {
  const index = indices.get(registry) ?? Map.groupBy(registry.definitions, (published) => published.name);
  indices.set(registry, index);
  return index.get(name) ?? [];
}

export function channelsOf(registry: RegistryRecord, name: string): Record<string, string> {
  return Object.hasOwn(registry.channels, name) ? (registry.channels[name] ?? {}) : {};
}

/** What was picked from a record, as it never changes: finding the version was 15 µs of each start. */
const picks = new WeakMap<RegistryRecord, Recent<Published>>();
const PICKS = 1_024;

/** What an exact version, a range, a channel or nothing at all means now; undefined when nothing fits. */
export function findVersion(registry: RegistryRecord, name: string, range: string): Published | undefined {
  const known = picks.get(registry) ?? new Recent<Published>(PICKS);
  picks.set(registry, known);
  // Neither text is checked yet: any separator might stand in them.
  const key = `${name.length} ${name}${range}`;
  const before = known.get(key);
  if (before) return before;
  const published = versionsOf(registry, name);
  const versions = published.map(({ version }) => version);
  const picked = pickVersion({ versions, channels: channelsOf(registry, name) }, range);
  const found = published.find(({ version }) => version === picked);
  if (found) known.set(key, found);
  return found;
}

/** Throws NOT_FOUND for an unknown workflow and NO_SUCH_VERSION for an unknown version, saying what there is. */
export function requireVersion(
  registry: RegistryRecord,
  name: string,
  range: string,
  options: { neededBy?: string; fields?: { name: string; range: string } } = {},
): Published {
  const { neededBy, fields = { name: "workflow", range: "range" } } = options;
  const found = findVersion(registry, name, range);
  if (found) return found;
  const versions = versionsOf(registry, name).map(({ version }) => version);
  const by = neededBy === undefined ? "" : `, which ${neededBy} needs`;
  if (versions.length === 0) {
    const names = [...new Set(registry.definitions.map((published) => published.name))];
    throw new HodeiError("NOT_FOUND", `there is no workflow "${name}"${by}${suggestion(name, names)}`, {
      field: fields.name,
      hint: "Register it with `hodei apply`; `hodei get workflows` lists what there is.",
    });
  }
  throw new HodeiError(
    "NO_SUCH_VERSION",
    `workflow "${name}" has no version for "${range}"${by}; ${listed(registry, name)}`,
    {
      field: fields.range,
      hint: "Ask for one of the published versions, a range that accepts one, or a channel.",
      facts: { workflow: name, range },
    },
  );
}

/** "published are 2.0.0, 1.1.0 and 3 older; channels stable=1.1.0". */
export function listed(registry: RegistryRecord, name: string): string {
  const versions = versionsOf(registry, name)
    .map(({ version }) => version)
    .toSorted((a, b) => compareVersions(b, a));
  const more = versions.length > NAMED ? ` and ${versions.length - NAMED} older` : "";
  const channels = Object.entries(channelsOf(registry, name)).map(([channel, version]) => `${channel}=${version}`);
  const named = channels.length === 0 ? "" : `; channels ${channels.join(", ")}`;
  return `published ${versions.length === 1 ? "is" : "are"} ${versions.slice(0, NAMED).join(", ")}${more}${named}`;
}
