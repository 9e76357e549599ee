import type { Clock, Timer } from "../base/clock.ts";
import type { FromWorker } from "../transport/api/worker.ts";
import type { Meter } from "./host.ts";

export const HEARTBEAT_MS = 5_000;

/** So many beats without an answer, and the engine counts as gone: as many as it waits for before we are unhealthy. */
const UNHEARD_MAXIMUM = 3;

/**
 * Beats inside the control stream while there is one, at the pace that the engine sets in its Welcome. A connection may die
 * without a word (a host that is gone, a network in two): TCP takes a quarter of an hour to notice, so the answers are
 * counted. By beats and not by a clock: a worker that was frozen itself has not missed any.
 */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #meter: Meter;
  readonly #send: (message: FromWorker) => void;
  readonly #jobs: () => { id: string; group: number | undefined }[];
  readonly #onSilent: () => void;
  #timer: Timer | undefined;
  /** Beats since the last answer; undefined before the first one: an engine that never answers is not judged by it. */
  #unheard: number | undefined;

  constructor(options: {
    clock: Clock;
    meter: Meter;
    send: (message: FromWorker) => void;
    jobs: () => { id: string; group: number | undefined }[];
    /** The engine does not answer any more. */
    onSilent: () => void;
  }) {
    this.#clock = options.clock;
    this.#meter = options.meter;
    this.#send = options.send;
    this.#jobs = options.jobs;
    this.#onSilent = options.onSilent;
  }

  start(everyMs: number): void {
    this.stop();
    const paceMs = everyMs > 0 ? everyMs : HEARTBEAT_MS;
    this.#unheard = undefined;
    const beat = (): void => {
      if (this.#unheard !== undefined && this.#unheard++ >= UNHEARD_MAXIMUM) return this.#onSilent();
      const jobs = this.#jobs();
      const groups = new Set(jobs.flatMap((job) => job.group ?? []));
      this.#send({ kind: "heartbeat", ...this.#meter.sample(groups), jobs: jobs.map((job) => job.id) });
      this.#timer = this.#clock.after(paceMs, beat);
    };
    this.#timer = this.#clock.after(paceMs, beat);
  }

  heard(): void {
    this.#unheard = 0;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
