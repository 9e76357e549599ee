import type { Clock } from "../base/clock.ts";
import type { SessionRecord, Store } from "../store/store.ts";
import { type EngineView, SEVERITIES } from "../transport/api/cluster.ts";
import type { ServiceHandlers } from "../transport/transport.ts";
import { HodeiError, isHodeiError } from "../workflow/errors.ts";
import { suggestion } from "../workflow/suggest.ts";
import type { Assignment } from "./assignment.ts";
import type { EventHub } from "./events.ts";
import type { EngineLink, EngineLinks } from "./links.ts";
import { checkCount } from "./request.ts";
import { DRAIN_DEADLINE_MS } from "./workers.ts";

type Handlers = ServiceHandlers<"cluster">;

/** More kinds than there are: each event is looked up in the list. */
const KINDS = 100;

/** What the cluster is now, asked of the engines themselves; one that does not answer is shown as such. */
export class Cluster implements Handlers {
  readonly #options: ClusterOptions;
  readonly #startedAtMs: number;

  constructor(options: ClusterOptions) {
    this.#options = options;
    this.#startedAtMs = options.clock.now();
  }

  readonly engines: Handlers["engines"] = async () => {
    const { links, store } = this.#options;
    const sessions = await store.sessions();
    const linked = await Promise.all(
      links.all().map(async (link) => (await links.probe(link))?.engine ?? unreachable(link, sessions)),
    );
    // Engines that discovery does not list any more, but whose lease still runs.
    const others = sessions.filter(({ engine }) => !links.byName(engine.name)).map(silent);
    return { engines: [...linked, ...others].toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
  };

  readonly shards: Handlers["shards"] = async () => {
    const records = await this.#options.store.shards();
    return { shards: records.map(({ shard, owner, epoch }) => ({ shard, owner: owner ?? "", epoch })) };
  };

  readonly drainEngine: Handlers["drainEngine"] = async ({ name }) => {
    const { links, assignment } = this.#options;
    const link = links.byName(name);
    if (!link) {
      const names = links.all().map((one) => one.name);
      const known = names.length === 0 ? "no engine is known" : `known are ${names.toSorted().join(", ")}`;
      throw new HodeiError("NOT_FOUND", `there is no engine "${name}"${suggestion(name, names)}; ${known}`, {
        field: "name",
      });
    }
    await link.channel.call("engine", "drain", {}, { deadlineMs: DRAIN_DEADLINE_MS }).catch((error: unknown) => {
      // Begun, and still giving things away: that may take as long as its workers need to go elsewhere.
      if (!isHodeiError(error, "DEADLINE_EXCEEDED")) throw error;
    });
    // Its shards are wished elsewhere from the next look on.
    await links.probe(link);
    assignment.wake();
    return {};
  };

  readonly watchEvents: Handlers["watchEvents"] = ({ minSeverity, kinds }, { signal }) => {
    if (!SEVERITIES.includes(minSeverity)) {
      throw new HodeiError("INVALID_ARGUMENT", `there is no severity "${String(minSeverity)}"`, {
        field: "minSeverity",
        hint: `Severities are ${SEVERITIES.join(", ")}.`,
      });
    }
    checkCount(kinds, KINDS, "kinds");
    return this.#options.hub.subscribe({ minSeverity, kinds }, signal);
  };

  readonly info: Handlers["info"] = async () => {
    const { version, shards, storeName } = this.#options;
    return { version, shards, store: storeName, startedAtMs: this.#startedAtMs };
  };
}

function unreachable({ name, address, view }: EngineLink, sessions: readonly SessionRecord[]): EngineView {
  const session = sessions.find(({ engine }) => engine.name === name);
  if (session) return { ...silent(session), address };
  const { pid = 0, version = "", startedAtMs = 0 } = view ?? {};
  return { ...NOTHING, name, address, pid, version, startedAtMs };
}

/** What the store alone knows of an engine. */
function silent({ engine, shards, claims }: SessionRecord): EngineView {
  const { name, address, pid, version, startedAtMs } = engine;
  return { ...NOTHING, name, address, pid, version, startedAtMs, shards, activeJobs: claims };
}

const NOTHING = {
  state: "unreachable",
  shards: 0,
  capacity: 0,
  activeExecutions: 0,
  activeJobs: 0,
  workers: 0,
} as const satisfies Partial<EngineView>;

export type ClusterOptions = {
  store: Store;
  links: EngineLinks;
  assignment: Assignment;
  hub: EventHub;
  clock: Clock;
  version: string;
  shards: number;
  /** What `info` calls the store, e.g. "sqlite". */
  storeName: string;
};
