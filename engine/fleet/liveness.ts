import type { Pod } from "../../platform/platform.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import type { FleetContext, Launch } from "./launch.ts";
import type { Member } from "./members.ts";
import { FLEET_DEFAULTS } from "./options.ts";

/** Of a pod that never registered: its own words are the best reason there is. */
const LOG_TAIL_BYTES = 2_048;

/** Of those words, what a lost job's reason holds. */
const LAST_WORDS = 400;

export type PodHooks = {
  /** The worker is dead; what it held is lost. */
  ended(worker: string, reason: string): void;
  /** Its request is closed: only now is its place free in the store. */
  closed(): void;
};

/** What the platform tells of pods: evidence of death for the engine, the end of a member for the fleet. */
export class PodLiveness {
  readonly #context: FleetContext;
  readonly #launch: Launch;
  readonly #hooks: PodHooks;

  constructor(context: FleetContext, launch: Launch, hooks: PodHooks) {
    this.#context = context;
    this.#launch = launch;
    this.#hooks = hooks;
  }

  changed(pod: Pod): void {
    const member = this.#context.members.get(pod.request);
    if (!member || (member.pod && member.pod.uid !== pod.uid)) return;
    member.pod ??= { name: pod.name, uid: pod.uid };
    if (pod.phase === "pending" || pod.phase === "running") return;
    void this.#end(member, pod);
  }

  /** Whether any worker was created that has not come yet. */
  waits(): boolean {
    return [...this.#context.members.values()].some((member) => member.state === "launched");
  }

  /** Created, but it does not come: give it up, with what it wrote. */
  overdue(nowMs: number): void {
    const registerMs = this.#context.options.registerMs ?? FLEET_DEFAULTS.registerMs;
    for (const member of this.#context.members.values()) {
      if (member.state !== "launched" || nowMs - member.sinceMs < registerMs) continue;
      void this.destroy(member, `it did not register in ${registerMs / 1000} s`);
    }
  }

  /** Deletes the pod and closes the request. */
  async destroy(member: Member, reason: string): Promise<void> {
    const { platform, options, logger } = this.#context;
    if (!this.#context.members.delete(member.id)) return;
    const registered = await this.#hasRegistered(member);
    const tail = registered ? "" : await this.#tail(member);
    if (member.pod) {
      const request = { ...member.pod, graceMs: options.graceMs ?? FLEET_DEFAULTS.graceMs };
      // Left to the sweeper, which finds a pod without an open request.
      await platform
        .delete(request)
        .catch((error: unknown) => logger.warn({ error, ...member.pod }, "pod not deleted"));
    }
    await this.#close(member, reason, tail, registered);
  }

  async #end(member: Member, pod: Pod): Promise<void> {
    if (!this.#context.members.delete(member.id)) return;
    const registered = await this.#hasRegistered(member);
    const code = pod.exitCode === undefined ? "" : ` with exit code ${pod.exitCode}`;
    const why = pod.reason ? pod.reason.message : `its process ended${code}`;
    const reason = member.leaving ?? why;
    // A handler that throws outside of its promise takes the worker with it, and only the pod's log has the error.
    const crashed = pod.exitCode !== undefined && pod.exitCode !== 0 && member.leaving === undefined;
    const tail = registered && !crashed ? "" : await this.#tail(member);
    const words = crashed && tail.trim() !== "" ? `; it wrote last: ${tail.trim().slice(-LAST_WORDS)}` : "";
    this.#hooks.ended(member.worker, `${reason}${words}`);
    await this.#close(member, reason, tail, registered);
  }

  /** With another engine, perhaps, and so shortly ago that nobody has looked since: its request tells. */
  async #hasRegistered(member: Member): Promise<boolean> {
    if (member.state === "registered") return true;
    const { store, logger } = this.#context;
    try {
      const open = await store.workerRequests.list({ open: true });
      return open.some((request) => request.id === member.id && request.state === "registered");
    } catch (error) {
      if (!isHodeiError(error)) throw error;
      logger.warn({ error, request: member.id }, "the worker request was not read");
      return false;
    }
  }

  async #close(member: Member, reason: string, tail: string, registered: boolean): Promise<void> {
    const { emit, metrics } = this.#context;
    member.state = "gone";
    metrics.count("hodei_fleet_worker_requests_total", { result: registered ? "ended" : "failed" });
    const facts = { reason, mode: member.mode, ...(tail === "" ? {} : { log: tail }) };
    if (registered || member.leaving !== undefined) {
      emit("EphemeralWorkerDestroyed", `worker destroyed: ${reason}`, { worker: member.worker, facts });
    } else {
      this.#launch.failed();
      emit("EphemeralWorkerFailed", `a worker ended before it registered: ${reason}`, { worker: member.worker, facts });
    }
    await this.#launch.record(member, { reason: tail === "" ? reason : `${reason}\n${tail}` });
    this.#hooks.closed();
  }

  async #tail(member: Member): Promise<string> {
    if (!member.pod) return "";
    try {
      return await this.#context.platform.logs({ ...member.pod, tailBytes: LOG_TAIL_BYTES });
    } catch (error) {
      if (!isHodeiError(error)) throw error;
      this.#context.logger.debug({ error, pod: member.pod.name }, "no log of the pod");
      return "";
    }
  }
}
