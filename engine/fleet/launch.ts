import type { Clock } from "../../base/clock.ts";
import type { Logger } from "../../base/log.ts";
import type { Random } from "../../base/random.ts";
import type { Platform, PodSpec } from "../../platform/platform.ts";
import type { Store } from "../../store/store.ts";
import { isHodeiError, toHodeiError } from "../../workflow/errors.ts";
import type { Emit } from "../events.ts";
import type { Metrics } from "../metrics.ts";
import { untilAnswered } from "../retry.ts";
import { offerOf } from "./demand.ts";
import type { Member } from "./members.ts";
import { podNameOf, workerIdOf } from "./members.ts";
import type { FleetOptions } from "./options.ts";

export type FleetContext = {
  engine: string;
  /** Where its workers connect to, `host:port`. */
  address: () => string;
  session: () => string | undefined;
  store: Store;
  platform: Platform;
  options: FleetOptions;
  clock: Clock;
  random: Random;
  logger: Logger;
  emit: Emit;
  metrics: Metrics;
  members: Map<string, Member>;
};

/** While creation fails: at most one try a second, then rarer. */
const FAILING = { firstMs: 1_000, maxMs: 30_000 };

/** Records the wish, then carries it out: a crash between the two leaves a request that the next start finds. */
export class Launch {
  readonly #context: FleetContext;
  #notBeforeMs = -Infinity;
  #pauseMs: number = FAILING.firstMs;

  constructor(context: FleetContext) {
    this.#context = context;
  }

  /** How long the platform is left alone, in ms; 0 when it may be asked. */
  get pausedMs(): number {
    return Math.max(this.#notBeforeMs - this.#context.clock.monotonic(), 0);
  }

  /** False: nothing was made, and no more is to be tried now. */
  async launch(want: { mode: Member["mode"]; classKey?: string; reason: string }): Promise<boolean> {
    const { members, platform, clock, emit, metrics } = this.#context;
    const member = await this.#reserve(want);
    if (!member) return false;
    members.set(member.id, member);
    try {
      const pod = await platform.create(this.#spec(member));
      member.pod = { name: pod.name, uid: pod.uid };
      // Its hello, or its end, may have come before the answer.
      if (member.state === "requested") member.state = "launched";
      member.sinceMs = clock.monotonic();
      await this.record(member, { platformId: pod.uid });
      metrics.count("hodei_fleet_worker_requests_total", { result: "launched" });
      emit("EphemeralWorkerCreated", `${member.mode} worker created: ${want.reason}`, {
        worker: member.worker,
        facts: { mode: member.mode, pod: pod.name, reason: want.reason },
      });
      return true;
    } catch (error) {
      await this.#notCreated(member, error);
      return false;
    }
  }

  /** A worker came to life: what kept them from it is over. */
  succeeded(): void {
    this.#notBeforeMs = -Infinity;
    this.#pauseMs = FAILING.firstMs;
  }

  failed(): void {
    this.#notBeforeMs = this.#context.clock.monotonic() + this.#pauseMs;
    this.#pauseMs = Math.min(this.#pauseMs * 2, FAILING.maxMs);
  }

  /** Writes the member's state to its request. Best effort: the next start reconciles with the platform. */
  async record(
    member: Pick<Member, "id" | "state">,
    more: { platformId?: string; reason?: string } = {},
  ): Promise<void> {
    const { store, session, clock, random, logger } = this.#context;
    const now = session();
    if (!now) return;
    const request = { session: now, id: member.id, state: member.state, ...more };
    try {
      const scope = { clock, random, goOn: () => session() === now };
      await untilAnswered(scope, () => store.workerRequests.update(request));
    } catch (error) {
      if (!isHodeiError(error)) throw error;
      logger.warn({ error, request: member.id }, "the worker request was not updated");
    }
  }

  async #reserve(want: { mode: Member["mode"]; classKey?: string }): Promise<Member | undefined> {
    const { store, session, clock, random, engine, options, metrics } = this.#context;
    const now = session();
    if (!now) return undefined;
    const id = random.id();
    const { classKey, mode } = want;
    const member: Member = { id, worker: workerIdOf(id), mode, state: "requested", sinceMs: clock.monotonic() };
    const request = {
      opId: random.id(),
      session: now,
      want: {
        id,
        engine,
        namespace: options.template.offer.namespace,
        template: options.template.id,
        // One bound per engine: what its host can carry.
        pool: `engine/${engine}`,
        ...(classKey === undefined ? {} : { classKey }),
      },
      maximum: options.warm + options.maxEphemeral,
    };
    const scope = { clock, random, goOn: () => session() === now };
    const answer = await untilAnswered(scope, () => store.workerRequests.reserve(request));
    if (answer.status === "OK" || answer.status === "DUPLICATE") {
      return classKey === undefined ? member : { ...member, classKey };
    }
    metrics.count("hodei_fleet_worker_requests_total", { result: answer.status });
    return undefined;
  }

  #spec(member: Member): PodSpec {
    const { address, engine, options } = this.#context;
    const { template } = options;
    const own = address();
    const colon = own.lastIndexOf(":");
    return {
      name: podNameOf(member.id),
      request: member.id,
      labels: {
        app: "hodei-ephemeral-worker",
        "template-id": template.id,
        "worker-id": member.worker,
        engine: engine,
        mode: member.mode,
      },
      ...(template.image === undefined ? {} : { image: template.image }),
      env: {
        ...template.env,
        SERVER_HOST: own.slice(0, colon),
        SERVER_PORT: own.slice(colon + 1),
        WORKER_ID: member.worker,
        WORKER_NAME: member.worker,
        WORKER_CAPABILITIES: offerOf(template, member.mode).labels.join(","),
        EPHEMERAL_MODE: String(member.mode === "ephemeral"),
        HODEI_WORKER_REQUEST: member.id,
      },
      resources: template.offer.total,
    };
  }

  async #notCreated(member: Member, cause: unknown): Promise<void> {
    const { members, emit, logger, metrics } = this.#context;
    const error = toHodeiError(cause);
    members.delete(member.id);
    member.state = "gone";
    this.failed();
    metrics.count("hodei_fleet_worker_requests_total", { result: error.code });
    logger.warn({ error, request: member.id }, "worker not created");
    emit("EphemeralWorkerFailed", `no worker could be created: ${error.message}`, {
      worker: member.worker,
      facts: { code: error.code },
    });
    await this.record(member, { reason: error.message });
  }
}
