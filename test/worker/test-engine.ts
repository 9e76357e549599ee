import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../base/clock.ts";
import { silentLogger } from "../../base/log.ts";
import { systemRandom } from "../../base/random.ts";
import type { AssignedJob, FromWorker, Hello, LogAck, LogUpload, ToWorker } from "../../transport/api/worker.ts";
import type { Duplex, Server, Transport } from "../../transport/transport.ts";
import { createWorker } from "../../worker/worker.ts";
import type { Worker, WorkerOptions } from "../../worker/options.ts";

/**
 * An engine's side of the worker protocol, for tests: records what workers say, says what the test tells it to. Waits are
 * on messages, never on time.
 */
export class TestEngine {
  readonly #transport: Transport;
  #server: Server | undefined;
  readonly #listeners = new Set<() => void>();
  /** Everything said on control streams, in order, over all connections. */
  readonly heard: FromWorker[] = [];
  readonly hellos: Hello[] = [];
  readonly uploads: LogUpload[] = [];
  #stream: Duplex<ToWorker, FromWorker> | undefined;
  #streamsClosed = 0;
  /** What Welcome says. */
  stale: string[] = [];
  heartbeatMs = 60_000;
  autoAck = true;
  /** How an upload is answered; undefined: not at all. */
  answerLog: (upload: LogUpload) => LogAck | undefined = (upload) => ({
    jobId: upload.jobId,
    token: upload.token,
    heldTo: upload.offset + upload.data.length,
    stale: false,
  });
  /** Set to hold back the reader of the log stream. */
  logGate: Promise<void> = Promise.resolve();

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  get address(): string {
    if (!this.#server) throw new Error("not started");
    return this.#server.address;
  }

  get streamsClosed(): number {
    return this.#streamsClosed;
  }

  async start(address = "127.0.0.1:0"): Promise<this> {
    this.#server = await this.#transport.serve({
      address,
      services: { worker: { connect: (stream) => this.#connect(stream), logs: (stream) => this.#logs(stream) } },
    });
    return this;
  }

  /** As kill -9 does it: streams break, nothing is said. */
  async stop(): Promise<void> {
    await this.#server?.stop(0);
  }

  async send(message: ToWorker): Promise<void> {
    if (!this.#stream) throw new Error("no worker is connected");
    await this.#stream.send(message);
  }

  breakStream(): void {
    this.#stream?.cancel();
  }

  /** The `count`-th message (from 1) of this kind, once it has been said. */
  async message<K extends FromWorker["kind"]>(
    kind: K,
    where: (message: Extract<FromWorker, { kind: K }>) => boolean = () => true,
    count = 1,
  ): Promise<Extract<FromWorker, { kind: K }>> {
    const matches = (): Extract<FromWorker, { kind: K }>[] =>
      this.heard.filter((message): message is Extract<FromWorker, { kind: K }> => message.kind === kind).filter(where);
    await this.until(() => matches().length >= count, `${count} × ${kind}`);
    const found = matches()[count - 1];
    if (!found) throw new Error("unreachable");
    return found;
  }

  result(job: { jobId: string }, count = 1): Promise<Extract<FromWorker, { kind: "result" }>> {
    return this.message("result", (message) => message.jobId === job.jobId, count);
  }

  /** Checked after each thing that happens; gives up after 20 s with what was heard. */
  async until(holds: () => boolean, what: string): Promise<void> {
    if (holds()) return;
    await new Promise<void>((resolve, reject) => {
      const timer = systemClock.after(20_000, () => {
        this.#listeners.delete(check);
        reject(new Error(`never happened: ${what}; heard ${JSON.stringify(this.heard.slice(-20))}`));
      });
      const check = (): void => {
        if (!holds()) return;
        timer.cancel();
        this.#listeners.delete(check);
        resolve();
      };
      this.#listeners.add(check);
    });
  }

  /** Assigns and waits for the outcome. */
  async run(job: AssignedJob): Promise<Extract<FromWorker, { kind: "result" }>> {
    await this.send({ kind: "assign", job });
    return await this.result(job);
  }

  logText(jobId: string): string {
    return Buffer.concat(
      this.uploads.filter((upload) => upload.jobId === jobId).map((upload) => upload.data),
    ).toString();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #connect(stream: Duplex<ToWorker, FromWorker>): Promise<void> {
    try {
      for await (const message of stream.messages) {
        this.heard.push(message);
        if (message.kind === "hello") {
          this.hellos.push(message);
          const again = this.#stream === stream;
          this.#stream = stream;
          if (!again)
            await stream.send({ kind: "welcome", engine: "e1", heartbeatMs: this.heartbeatMs, stale: this.stale });
        }
        if (message.kind === "result" && this.autoAck) {
          await stream.send({ kind: "ack", jobId: message.jobId, token: message.token });
        }
        this.#tell();
      }
    } finally {
      if (this.#stream === stream) this.#stream = undefined;
      this.#streamsClosed++;
      this.#tell();
    }
  }

  async #logs(stream: Duplex<LogAck, LogUpload>): Promise<void> {
    for await (const upload of stream.messages) {
      await this.logGate;
      this.uploads.push(upload);
      const ack = this.answerLog(upload);
      if (ack) await stream.send(ack);
      this.#tell();
    }
  }
}

let numbers = 0;

export function shellJob(
  script: string,
  more: Partial<AssignedJob> = {},
  env: Record<string, string> = {},
): AssignedJob {
  return { ...baseJob(more), work: { kind: "run", script, shell: "sh", env }, ...more };
}

export function taskJob(
  handler: string,
  input: AssignedJob["jobId"] | number | object,
  more: Partial<AssignedJob> = {},
): AssignedJob {
  return { ...baseJob(more), work: { kind: "task", handler, input: input as string, env: {} }, ...more };
}

function baseJob(more: Partial<AssignedJob>): Omit<AssignedJob, "work"> {
  const step = more.step ?? `s${++numbers}`;
  return {
    jobId: `default/x1/${step}/0#1`,
    token: `t${++numbers}`,
    namespace: "default",
    executionId: "x1",
    executionUid: "uid-1",
    step,
    iteration: "0",
    attempt: 1,
    runNumber: 7,
    runMs: 60_000,
    graceMs: 5_000,
    resources: { cpuMillis: 500, memoryBytes: 1 << 30, gpu: 0, storageBytes: 0 },
  };
}

/** A fresh folder for one test, and the way to remove it. */
export function freshDirectory(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "hodei-worker-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

export function workerFor(
  engine: { address: string }[],
  transport: Transport,
  directory: string,
  more: Partial<WorkerOptions> = {},
): Worker {
  return createWorker({
    addresses: engine.map((one) => one.address),
    name: "w",
    id: "w1",
    transport,
    clock: systemClock,
    random: systemRandom,
    logger: silentLogger,
    directory,
    baseEnv: {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      HOME: directory,
      WORKER_SECRET_TOKEN: "worker-own-secret",
    },
    detectTools: false,
    ...more,
  });
}
