import type { WorkerView } from "../transport/api/cluster.ts";
import type { ServiceHandlers } from "../transport/transport.ts";
import { HodeiError } from "../workflow/errors.ts";
import { suggestion } from "../workflow/suggest.ts";
import type { EngineLink, EngineLinks } from "./links.ts";
import { pageSize } from "./request.ts";

type Handlers = ServiceHandlers<"fleet">;

/** Draining is only begun within the call; what follows shows in the states and events. */
export const DRAIN_DEADLINE_MS = 2_000;
const PAGE = { usual: 1_000, most: 1_000 };

type Found = { workers: { worker: WorkerView; link: EngineLink }[]; unanswered: string[] };

/** The workers there are now, asked of the engines themselves. A tenant sees its own and those that serve everyone. */
export class Workers implements Handlers {
  readonly #links: EngineLinks;

  constructor(options: { links: EngineLinks }) {
    this.#links = options.links;
  }

  readonly list: Handlers["list"] = async ({ limit, page }, { identity }) => {
    const most = pageSize(limit, PAGE.usual, PAGE.most);
    const { workers, unanswered } = await this.#find(identity.namespace);
    // A page begins after an id and not at a place, so that workers that come and go move no other over its edge.
    const rest = workers.map(({ worker }) => worker).filter(({ id }) => page === undefined || id > page);
    const shown = rest.slice(0, most);
    const answer = { workers: shown, unanswered };
    const last = shown.at(-1);
    return last && rest.length > shown.length ? { ...answer, nextPage: last.id } : answer;
  };

  readonly get: Handlers["get"] = async ({ id }, { identity }) => (await this.#home(identity.namespace, id)).worker;

  readonly drain: Handlers["drain"] = async ({ id }, { identity }) => {
    const { link } = await this.#home(identity.namespace, id);
    await link.channel.call("engine", "drainWorker", { id }, { deadlineMs: DRAIN_DEADLINE_MS });
    return {};
  };

  async #find(namespace: string): Promise<Found> {
    const links = this.#links;
    const answers = await Promise.all(links.all().map(async (link) => ({ link, status: await links.probe(link) })));
    const workers = answers.flatMap(({ link, status }) =>
      (status?.workers ?? [])
        .filter((worker) => worker.namespace === "*" || worker.namespace === namespace)
        .map((worker) => ({ link, worker: { ...worker, jobs: worker.jobs.filter((job) => isOf(namespace, job)) } })),
    );
    const unanswered = answers.filter(({ status }) => !status).map(({ link }) => link.name);
    return {
      workers: workers.toSorted((a, b) => (a.worker.id < b.worker.id ? -1 : 1)),
      unanswered: unanswered.toSorted(),
    };
  }

  async #home(namespace: string, id: string): Promise<Found["workers"][number]> {
    if (id === "") throw new HodeiError("INVALID_ARGUMENT", "the request names no worker", { field: "id" });
    const { workers, unanswered } = await this.#find(namespace);
    const home = workers.find(({ worker }) => worker.id === id);
    if (home) return home;
    const ids = workers.map(({ worker }) => worker.id);
    const unasked = unanswered.length === 0 ? "" : `; ${unanswered.join(", ")} did not answer and may have it`;
    throw new HodeiError("NOT_FOUND", `there is no worker ${JSON.stringify(id)}${suggestion(id, ids)}${unasked}`, {
      field: "id",
      hint: "`hodei get workers` lists those that are connected.",
    });
  }
}

/** A job's id begins with its namespace. */
function isOf(namespace: string, jobId: string): boolean {
  return jobId.startsWith(`${namespace}/`);
}
