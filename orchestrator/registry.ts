import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Random } from "../base/random.ts";
import type { DefinitionRecord, RegistryRecord, Store } from "../store/store.ts";
import type { RegisterRequest, RegisterResponse, WorkflowSummary, WorkflowVersion } from "../transport/api/workflow.ts";
import type { ServiceHandlers } from "../transport/transport.ts";
import type { Definition } from "../workflow/definition.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import { digestOf, loadDefinition, normalForm } from "../workflow/load.ts";
import { compareVersions, isChannel } from "../workflow/version.ts";
import type { Catalog, Published } from "./catalog.ts";
import { channelsOf, listed, requireVersion, versionsOf } from "./catalog.ts";
import type { EventHub } from "./events.ts";
import { channelsAt, dependenciesOf, judge, type Judgement, needing, refusalError } from "./publishing.ts";
import { checkReference } from "./request.ts";

/** Concurrent publishers conflict at most as often as there are of them; this many rounds mean something is wrong. */
const ROUNDS = 16;
const RETRY = { initialMs: 5, maxMs: 200 };
/** Blockers that a refusal names. */
const NAMED = 10;
/** What requests of the registry call the two. */
const FIELDS = { name: "name", range: "version" };

type Change = {
  put?: DefinitionRecord;
  remove?: { name: string; version: string };
  channels?: Record<string, Record<string, string>>;
};
/** Without `change` nothing is written. */
type Decision<Answer> = { answer: Answer; change?: Change };

/** The registry of one namespace each: immutable versions, channels that point at them, and who needs whom. */
export class Registry implements ServiceHandlers<"workflow"> {
  readonly #options: RegistryOptions;

  constructor(options: RegistryOptions) {
    this.#options = options;
  }

  readonly register: ServiceHandlers<"workflow">["register"] = async (request, { identity, signal }) => {
    const { namespace } = identity;
    const definition = loaded(request);
    const digest = digestOf(definition);
    const response = await this.#change<RegisterResponse>(namespace, signal, async (registry) => {
      const { plan, refusals } = await this.#judge(namespace, registry, definition, digest);
      const refused = refusalError(definition, refusals);
      if (refused) throw refused;
      const { name, version } = definition;
      const answer = { name, version, digest, created: plan.action === "create", warnings: [] };
      if (!answer.created) return { answer };
      const publishedAtMs = this.#options.clock.now();
      const body = normalForm(definition);
      const dependencies = dependenciesOf(definition);
      return { answer, change: { put: { name, version, digest, publishedAtMs, dependencies, body } } };
    });
    if (response.created) {
      const { name, version } = response;
      this.#options.hub.emit("WorkflowRegistered", `${name}@${version} is published`, {
        facts: { name, version, digest },
      });
    }
    return response;
  };

  readonly plan: ServiceHandlers<"workflow">["plan"] = async (request, { identity }) => {
    const definition = loaded(request);
    const { namespace } = identity;
    const judged = await this.#onRegistry(namespace, (registry) =>
      this.#judge(namespace, registry, definition, digestOf(definition)),
    );
    return judged.plan;
  };

  readonly get: ServiceHandlers<"workflow">["get"] = async ({ name, version }, { identity }) => {
    const { catalog } = this.#options;
    checkReference(name, version ?? "", FIELDS);
    return await this.#onRegistry(identity.namespace, async (registry) => {
      const published = requireVersion(registry, name, version ?? "", { fields: FIELDS });
      return view(registry, published, await catalog.definition(identity.namespace, published));
    });
  };

  readonly list: ServiceHandlers<"workflow">["list"] = async ({ name }, { identity }) => {
    const registry = await this.#options.catalog.registry(identity.namespace, { fresh: true });
    const names = [...new Set(registry.definitions.map((published) => published.name))].sort();
    const wanted = name === undefined || name === "" ? names : names.filter((one) => one === name);
    return { workflows: wanted.map((one) => summary(registry, one)) };
  };

  readonly promote: ServiceHandlers<"workflow">["promote"] = async (request, { identity, signal }) => {
    const { name, channel } = request;
    checkReference(name, request.version, FIELDS);
    if (!isChannel(channel)) {
      throw new HodeiError("INVALID_ARGUMENT", `"${channel}" is no channel name`, {
        field: "channel",
        hint: "Channels are lower-case letters, digits and dashes, such as stable or canary, and no version or range.",
      });
    }
    const done = await this.#change<{ version: string; previousVersion?: string }>(
      identity.namespace,
      signal,
      async (registry) => {
        const { version } = requireVersion(registry, name, request.version, { fields: FIELDS });
        const previous = channelsOf(registry, name)[channel];
        const answer = previous === undefined ? { version } : { version, previousVersion: previous };
        return previous === version
          ? { answer }
          : { answer, change: { channels: pointed(registry, name, channel, version) } };
      },
    );
    const { version, previousVersion } = done;
    const facts = { name, version, channel };
    this.#options.hub.emit("WorkflowPromoted", `${name}: ${channel} is ${version} now`, { facts });
    return previousVersion === undefined ? {} : { previousVersion };
  };

  readonly delete: ServiceHandlers<"workflow">["delete"] = async ({ name, version }, { identity, signal }) => {
    checkReference(name, version, FIELDS);
    if (version === "") {
      throw new HodeiError("INVALID_ARGUMENT", "the request names no version", {
        field: "version",
        hint: "Delete takes one exact version; `hodei get workflows` lists them.",
      });
    }
    await this.#change<Record<string, never>>(identity.namespace, signal, async (registry) => {
      const published = versionsOf(registry, name).find((one) => one.version === version);
      if (!published) throw unknownVersion(registry, name, version);
      await this.#requireUnneeded(identity.namespace, registry, published);
      return { answer: {}, change: { remove: { name, version } } };
    });
    this.#options.hub.emit("WorkflowDeleted", `${name}@${version} is deleted`, { facts: { name, version } });
    return {};
  };

  async #judge(
    namespace: string,
    registry: RegistryRecord,
    definition: Definition,
    digest: string,
  ): Promise<Judgement> {
    const load = (published: Published): Promise<Definition> => this.#options.catalog.definition(namespace, published);
    return await judge(registry, definition, digest, load);
  }

  /**
   * Acts on the registry as it is now. Between the list and the text of a definition that version may have been deleted;
   * only one that is listed and still has no text is a defect (DATA_CORRUPT).
   */
  async #onRegistry<Answer>(namespace: string, act: (registry: RegistryRecord) => Promise<Answer>): Promise<Answer> {
    const { catalog } = this.#options;
    const registry = await catalog.registry(namespace, { fresh: true });
    try {
      return await act(registry);
    } catch (error) {
      if (!isHodeiError(error, "DATA_CORRUPT")) throw error;
      return await act(await catalog.registry(namespace, { fresh: true }));
    }
  }

  /**
   * Decides on the registry as it is and writes on condition that it still is so; decides again when it is not. A lost
   * answer needs no care here: whoever repeats the request is told that it is done (created = false).
   */
  async #change<Answer>(
    namespace: string,
    signal: AbortSignal,
    decide: (registry: RegistryRecord) => Promise<Decision<Answer>>,
  ): Promise<Answer> {
    const { catalog, store, random, clock } = this.#options;
    for (let round = 0; round < ROUNDS; round++) {
      const { registry, decided } = await this.#onRegistry(namespace, async (current) => ({
        registry: current,
        decided: await decide(current),
      }));
      const { answer, change } = decided;
      if (!change) return answer;
      signal.throwIfAborted();
      const opId = `registry/${random.id()}`;
      const written = await store.registry.write({ opId, namespace, expectedRevision: registry.revision, ...change });
      catalog.changed(namespace);
      if (written.status !== "CONFLICT") return answer;
      await clock.sleep(fullJitterMs(round, random.float(), RETRY), signal);
    }
    throw new HodeiError(
      "UNAVAILABLE",
      `the registry of namespace ${namespace} changes faster than it can be changed`,
      {
        hint: "Repeat the request.",
      },
    );
  }

  /** Throws STILL_NEEDED with every kind of blocker named, so that one look tells what to do. */
  async #requireUnneeded(namespace: string, registry: RegistryRecord, { name, version }: Published): Promise<void> {
    const dependents = needing(registry, name, version);
    const channels = channelsAt(registry, name, version);
    const { executions, nextPage } = await this.#options.store.listExecutions({
      namespace,
      uses: `${name}@${version}`,
      states: ["running", "paused", "cancelling"],
      limit: NAMED,
    });
    const violations = [
      ...dependents.map((one) => ({
        path: `workflow ${one.name}@${one.version}`,
        message: `depends on "${one.range}", which would match nothing`,
      })),
      ...channels.map((channel) => ({ path: `channel ${channel}`, message: `points at ${version}` })),
      ...executions.map(({ id, state, gate, workflow }) => ({
        path: `execution ${id}`,
        message: `of ${workflow} is ${gate === "paused" ? "paused" : state} and holds it`,
      })),
    ];
    if (violations.length === 0) return;
    const kinds = [
      count(dependents.length, "dependent"),
      count(channels.length, "channel"),
      count(executions.length, "open execution", nextPage !== undefined),
    ].filter((part) => part !== "");
    const [first] = violations;
    throw new HodeiError(
      "STILL_NEEDED",
      `${name}@${version} is still needed by ${kinds.join(", ")}: ${first?.path} …`,
      {
        hint: "Move the channels with `hodei promote`, delete or change the dependents, let the executions end, then repeat.",
        violations,
        facts: { workflow: name, version },
      },
    );
  }
}

function count(number: number, noun: string, more = false): string {
  if (number === 0) return "";
  return `${more ? "at least " : ""}${number} ${noun}${number === 1 ? "" : "s"}`;
}

function loaded({ source, file }: RegisterRequest): Definition {
  if (source.trim() === "") {
    throw new HodeiError("INVALID_ARGUMENT", "the definition is empty", {
      field: "source",
      hint: "Send one Workflow document as YAML or JSON.",
    });
  }
  return loadDefinition(source, file === undefined ? {} : { file });
}

/** All channels with one moved: whole, so that no adapter has to decide what a part would mean. */
function pointed(registry: RegistryRecord, name: string, channel: string, version: string): RegistryRecord["channels"] {
  return { ...registry.channels, [name]: { ...channelsOf(registry, name), [channel]: version } };
}

function unknownVersion(registry: RegistryRecord, name: string, version: string): HodeiError {
  const known = versionsOf(registry, name).length > 0;
  const what = known ? `; ${listed(registry, name)}` : "";
  return new HodeiError("NOT_FOUND", `${name}@${version} is not published${what}`, {
    field: known ? "version" : "name",
    hint: "Delete takes one exact version; `hodei get workflows` lists them.",
  });
}

function view(registry: RegistryRecord, published: Published, definition: Definition): WorkflowVersion {
  const { name, version, digest, publishedAtMs } = published;
  return {
    name,
    version,
    digest,
    publishedAtMs,
    channels: channelsAt(registry, name, version),
    definitionJson: normalForm(definition),
    dependencies: Object.entries(published.dependencies).flatMap(([dependency, ranges]) =>
      ranges.map((range) => ({ name: dependency, range })),
    ),
    dependents: registry.definitions.flatMap((dependent) =>
      (dependent.dependencies[name] ?? []).map((range) => ({
        name: dependent.name,
        version: dependent.version,
        range,
      })),
    ),
  };
}

function summary(registry: RegistryRecord, name: string): WorkflowSummary {
  const versions = versionsOf(registry, name).map(({ version, digest, publishedAtMs }) => ({
    version,
    digest,
    publishedAtMs,
  }));
  return {
    name,
    versions: versions.toSorted((a, b) => compareVersions(b.version, a.version)),
    channels: channelsOf(registry, name),
  };
}

export type RegistryOptions = {
  store: Store;
  catalog: Catalog;
  hub: EventHub;
  clock: Clock;
  random: Random;
};
