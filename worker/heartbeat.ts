import type { Clock, Timer } from "../base/clock.ts";
import type { FromWorker } from "../transport/api/worker.ts";
import type { Meter } from "./host.ts";

export const HEARTBEAT_MS = 5_000;

/** Beats inside the control stream while there is one. The engine sets the pace in its Welcome. */
export class Heartbeat {
  readonly #clock: Clock;
  readonly #meter: Meter;
  readonly #send: (message: FromWorker) => void;
  readonly #jobs: () => { id: string; group: number | undefined }[];
  #timer: Timer | undefined;

  constructor(options: {
    clock: Clock;
    meter: Meter;
    send: (message: FromWorker) => void;
    jobs: () => { id: string; group: number | undefined }[];
  }) {
    this.#clock = options.clock;
    this.#meter = options.meter;
    this.#send = options.send;
    this.#jobs = options.jobs;
  }

  start(everyMs: number): void {
    this.stop();
    const paceMs = everyMs > 0 ? everyMs : HEARTBEAT_MS;
    const beat = (): void => {
      const jobs = this.#jobs();
      const groups = new Set(jobs.flatMap((job) => job.group ?? []));
      this.#send({ kind: "heartbeat", ...this.#meter.sample(groups), jobs: jobs.map((job) => job.id) });
      this.#timer = this.#clock.after(paceMs, beat);
    };
    this.#timer = this.#clock.after(paceMs, beat);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }
}
