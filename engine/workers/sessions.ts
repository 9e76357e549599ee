import type { CallContext, Duplex } from "../../transport/transport.ts";
import type { FromWorker, Hello, ToWorker } from "../../transport/api/worker.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { JobFacts } from "../../workflow/job.ts";
import { signatureOf } from "../../workflow/matching.ts";
import { untilAnswered } from "../retry.ts";
import type { Claims } from "./claims.ts";
import type { WorkersContext } from "./context.ts";
import type { Dispatch } from "./dispatch.ts";
import { heldBy } from "./dispatch.ts";
import { checkHello } from "./hello.ts";
import type { Held, WorkerRecord } from "./record.ts";
import type { Settling } from "./settling.ts";
import { outgoing } from "./stream.ts";

const HEARTBEAT_MS = 5_000;
/** A stream whose first message is not a hello by then is closed. */
const HELLO_MS = 5_000;
/** After it refused a job a worker is not asked for so long. */
const REST_MS = 1_000;

export type SessionsHooks = {
  /** A worker made for a worker request has come. */
  registered(requestId: string, worker: string): void;
  /** It is here, with what it holds: from now on it hears. */
  welcomed(record: WorkerRecord): void;
  /** It said goodbye. */
  goodbye(record: WorkerRecord, reason: string): void;
  /** Its stream closed; whether it is dead is another question. */
  away(record: WorkerRecord): void;
};

/** The streams of workers: hello, adoption, and then each message to whom it concerns. */
export class Sessions {
  readonly #context: WorkersContext;
  readonly #parts: { claims: Claims; dispatch: Dispatch; settling: Settling };
  readonly #hooks: SessionsHooks;

  constructor(
    context: WorkersContext,
    parts: { claims: Claims; dispatch: Dispatch; settling: Settling },
    hooks: SessionsHooks,
  ) {
    this.#context = context;
    this.#parts = parts;
    this.#hooks = hooks;
  }

  /** The handler of WorkerApi.connect: returns when the stream is over. */
  async connect(stream: Duplex<ToWorker, FromWorker>, call: CallContext): Promise<void> {
    const { clock, logger } = this.#context;
    const late = clock.after(HELLO_MS, () => stream.cancel());
    let record: WorkerRecord | undefined;
    const out = outgoing(stream, logger);
    try {
      for await (const message of stream.messages) {
        if (record) {
          // A newer stream of the same worker was opened: this one is not listened to any more.
          if (record.stream !== out) break;
          this.#take(record, message, call);
          if (message.kind === "goodbye") break;
          continue;
        }
        late.cancel();
        if (message.kind !== "hello") throw new HodeiError("INVALID_ARGUMENT", "the first message must be a hello");
        record = this.#recordOf(message, out, call);
        await this.#welcome(record, out, call);
      }
      out.close();
    } catch (error) {
      // Not closed: an end that comes first would keep the reason from the worker.
      out.stop();
      throw error;
    } finally {
      late.cancel();
      if (record?.stream === out) {
        record.stream = undefined;
        this.#hooks.away(record);
      }
    }
  }

  /** A new session of this engine: what its workers hold must be adopted to it, else it counts as abandoned. */
  async readopt(session: string): Promise<void> {
    for (const record of this.#context.workers.values()) {
      const jobs = [...record.held.values()].map(({ jobId, token }) => ({ jobId, token }));
      const stale = new Set(await this.#adopt(session, record.id, jobs));
      for (const held of record.held.values()) {
        if (stale.has(held.token) && held.state !== "reporting") {
          this.#parts.dispatch.cancel(record, held, "the attempt was given up while this engine had no session");
          if (held.state !== "running") this.#parts.settling.forget(record, held);
        }
      }
    }
  }

  /**
   * The platform says that a worker has ended which this engine does not know: it died while its engine was away, and will
   * not come for what it held. Adopted in its place, that is lost now, and not ADOPTION_MS later.
   */
  async bereaved(worker: string, reason: string): Promise<void> {
    const { ownership, logger } = this.#context;
    // Without a session the time for adoption runs, as it would without this evidence.
    if (!ownership.session) return;
    try {
      await this.#adopt(ownership.session, worker, [], `worker ${worker}: ${reason}`);
      this.#parts.claims.gone(worker);
    } catch (error) {
      logger.warn({ error, worker }, "what a dead worker held is not given up before the time for adoption is over");
    }
  }

  /** From here on the new stream is the one that counts. */
  #recordOf(hello: Hello, out: NonNullable<WorkerRecord["stream"]>, call: CallContext): WorkerRecord {
    const { clock, engine, workers, closing, stopping, ownership } = this.#context;
    checkHello(hello, call.identity);
    // At a stop there may be no other engine: what a worker brings is taken to the last.
    const brings = stopping() && hello.running.length + hello.spooled.length > 0;
    if (closing() && !brings) throw new HodeiError("UNAVAILABLE", `engine ${engine} drains; connect to another one`);
    if (!ownership.session) throw new HodeiError("UNAVAILABLE", `engine ${engine} has no session now`);
    const known = workers.get(hello.workerId);
    known?.stream?.cancel();
    const record = known ?? blank(hello, clock.now(), clock.monotonic());
    record.hello = hello;
    record.signature = signatureOf(hello.offer);
    record.stream = out;
    record.welcomed = false;
    // It has had its job, in an earlier life of this engine or at another one.
    const brought = hello.running.length + hello.spooled.length + hello.workspaces.length;
    if (hello.offer.ephemeral && brought > 0) record.spent = true;
    record.lastWordMs = clock.monotonic();
    for (const workspace of hello.workspaces) record.workspaces.add(workspace);
    workers.set(record.id, record);
    return record;
  }

  async #welcome(record: WorkerRecord, out: NonNullable<WorkerRecord["stream"]>, call: CallContext): Promise<void> {
    const { ownership, engine, emit } = this.#context;
    const { hello } = record;
    const again = record.state !== "registering";
    const stale = new Set(await this.#adopt(ownership.session ?? "", record.id, [...hello.running, ...hello.spooled]));
    if (record.stream !== out) throw new HodeiError("CANCELLED", "a newer stream replaces this one");
    await this.#reconcile(record, hello, stale);
    const tokens = [...hello.running, ...hello.spooled].filter((job) => stale.has(job.token));
    out.send({ kind: "welcome", engine, heartbeatMs: HEARTBEAT_MS, stale: tokens.map((job) => job.token) });
    if (hello.knowsHeard) out.send({ kind: "heard" });
    record.welcomed = true;
    if (record.state === "draining") out.send({ kind: "drain", redirect: [] });
    else record.state = "available";
    this.#drains(record);
    emit(again ? "WorkerReconnected" : "WorkerConnected", `worker ${hello.name} connected from ${call.peer}`, {
      worker: record.id,
      facts: { running: String(hello.running.length), spooled: String(hello.spooled.length) },
    });
    if (hello.requestId !== undefined) this.#hooks.registered(hello.requestId, record.id);
    this.#hooks.welcomed(record);
    this.#parts.dispatch.sendWaiting(record);
    this.#parts.claims.ask([record.id]);
  }

  async #adopt(
    session: string,
    worker: string,
    jobs: { jobId: string; token: string }[],
    missingBecause = "the assignment never reached the worker",
  ): Promise<string[]> {
    const { store, random, clock, ownership } = this.#context;
    const request = { opId: random.id(), session, worker, jobs };
    const scope = { clock, random, goOn: () => ownership.session === session };
    const answer = await untilAnswered(scope, () => store.adopt(request));
    if (!("status" in answer)) {
      for (const missing of answer.missing ?? []) {
        const held: Held = { ...missing, facts: { enqueuedAtMs: clock.now() }, state: "running" };
        this.#parts.settling.end(held, { kind: "lost", reason: missingBecause });
      }
      return answer.stale;
    }
    ownership.suspect();
    throw new HodeiError("UNAVAILABLE", "this engine's session is over; connect again");
  }

  /** What we thought it holds against what it says it holds. */
  async #reconcile(record: WorkerRecord, hello: Hello, stale: ReadonlySet<string>): Promise<void> {
    const { settling } = this.#parts;
    const listed = new Set([...hello.running, ...hello.spooled].map((job) => job.token));
    for (const held of record.held.values()) {
      if (listed.has(held.token) || held.state === "reporting" || held.state === "waiting") continue;
      // The assignment was lost with the stream, or the worker with its memory: it will never report this.
      settling.end(held, { kind: "lost", reason: "the worker came back without the job" }, record);
    }
    for (const { jobId, token } of [...hello.running, ...hello.spooled]) {
      const known = heldBy(record, { jobId, token });
      if (stale.has(token)) {
        if (known) settling.forget(record, known);
      } else if (!known || known.state !== "running") {
        await this.#takeOver(record, { jobId, token });
      }
    }
  }

  /** A job that another engine, or an earlier life of this one, gave to the worker. */
  async #takeOver(record: WorkerRecord, of: { jobId: string; token: string }): Promise<void> {
    const { store, clock, holders } = this.#context;
    const [found] = await store.jobs({ jobId: of.jobId, limit: 1 });
    const facts: JobFacts = found?.facts ?? { enqueuedAtMs: clock.now() };
    const held: Held = { ...of, ...(found ? { job: found.job } : {}), facts, state: "running" };
    if (facts.startedAtMs !== undefined) held.startedAtMs = facts.startedAtMs;
    record.held.get(of.jobId)?.deadline?.cancel();
    record.held.set(of.jobId, held);
    holders.set(of.jobId, record.id);
    this.#parts.dispatch.watchRun(record, held);
    if (found?.job.workspace !== undefined) record.workspaces.add(found.job.workspace);
    if (record.hello.offer.ephemeral) record.spent = true;
  }

  #take(record: WorkerRecord, message: FromWorker, call: CallContext): void {
    const { clock, metrics } = this.#context;
    const { dispatch, settling } = this.#parts;
    record.lastWordMs = clock.monotonic();
    this.#recovered(record);
    switch (message.kind) {
      case "accepted":
        return dispatch.accepted(record, message);
      case "rejected":
        this.#rest(record);
        // It was not made for nothing: an ephemeral worker may have another job instead.
        if (record.held.size <= 1 && record.workspaces.size === 0) record.spent = false;
        return settling.result(record, message, { kind: "rejected", reason: message.reason });
      case "result":
        return settling.result(record, message, message.outcome);
      case "progress":
        return;
      case "heartbeat":
        record.lastHeartbeatAtMs = clock.now();
        record.cpuPercent = message.cpuPercent;
        record.memoryBytes = message.memoryBytes;
        if (record.hello.knowsHeard) record.stream?.send({ kind: "heard" });
        return metrics.count("hodei_worker_heartbeats_total");
      case "goodbye":
        return this.#hooks.goodbye(record, message.reason);
      case "hello":
        return this.#offersAnew(record, message, call);
      default:
        return message satisfies never;
    }
  }

  #rest(record: WorkerRecord): void {
    const { clock } = this.#context;
    const untilMs = clock.monotonic() + REST_MS;
    record.restUntilMs = untilMs;
    clock.after(REST_MS, () => {
      // Said, not compared: a timer may come a fraction of a millisecond early, and nothing would ask a second time.
      if (record.restUntilMs === untilMs) record.restUntilMs = 0;
      this.#parts.claims.ask([record.id]);
    });
  }

  /** What it runs is known from this very stream, in order; only what it can do has changed. */
  #offersAnew(record: WorkerRecord, hello: Hello, call: CallContext): void {
    checkHello(hello, call.identity);
    record.hello = hello;
    record.signature = signatureOf(hello.offer);
    this.#drains(record);
    this.#parts.claims.ask([record.id]);
  }

  /** It takes no more, as if it had been told to: asked all the same, it would refuse one job after the other. */
  #drains(record: WorkerRecord): void {
    if (record.hello.slots > 0 || record.state === "draining") return;
    record.state = "draining";
    this.#context.emit("WorkerDraining", `worker ${record.hello.name} takes no new job`, { worker: record.id });
  }

  #recovered(record: WorkerRecord): void {
    if (record.state !== "unhealthy") return;
    record.state = "available";
    this.#context.emit("WorkerRecovered", `worker ${record.hello.name} is heard again`, { worker: record.id });
    this.#parts.claims.ask([record.id]);
  }
}

function blank(hello: Hello, nowMs: number, monotonicMs: number): WorkerRecord {
  return {
    id: hello.workerId,
    hello,
    signature: "",
    stream: undefined,
    welcomed: false,
    state: "registering",
    held: new Map(),
    workspaces: new Set(),
    asking: new Set(),
    questions: 0,
    spent: false,
    restUntilMs: 0,
    lastWordMs: monotonicMs,
    idleSinceMs: monotonicMs,
    connectedAtMs: nowMs,
    lastHeartbeatAtMs: nowMs,
    cpuPercent: 0,
    memoryBytes: 0,
  };
}
