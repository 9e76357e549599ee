import type { Pod } from "../../platform/platform.ts";
import { isHodeiError } from "../../workflow/errors.ts";
import type { FleetContext, Launch } from "./launch.ts";
import type { Member } from "./members.ts";
import { FLEET_DEFAULTS } from "./options.ts";

/** Of a pod that never registered: its own words are the best reason there is. */
const LOG_TAIL_BYTES = 2_048;

/** What the platform tells of pods: evidence of death for the engine, the end of a member for the fleet. */
export class PodLiveness {
  readonly #context: FleetContext;
  readonly #launch: Launch;
  readonly #ended: (worker: string, reason: string) => void;

  constructor(context: FleetContext, launch: Launch, ended: (worker: string, reason: string) => void) {
    this.#context = context;
    this.#launch = launch;
    this.#ended = ended;
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
    const registered = member.state === "registered";
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
    const registered = member.state === "registered";
    const code = pod.exitCode === undefined ? "" : ` with exit code ${pod.exitCode}`;
    const why = pod.reason ? pod.reason.message : `its process ended${code}`;
    const reason = member.leaving ?? why;
    const tail = registered ? "" : await this.#tail(member);
    this.#ended(member.worker, reason);
    await this.#close(member, reason, tail, registered);
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
