import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json } from "../../../workflow/json.ts";
import type { Outcome, Work } from "../../../workflow/job.ts";
import { FAILURE_CLASSES } from "../../../workflow/definition.ts";
import type { Offer, Requirement, Resources } from "../../../workflow/requirement.ts";
import { SEVERITIES, WORKER_STATES } from "../../api/cluster.ts";
import type { Api, RequestOf, ResponseOf } from "../../transport.ts";
import { loadCodec } from "./table.ts";

/** Every message of the port there and back, with values of every shape. */

const text = fc.string({ unit: "grapheme", maxLength: 12 });
const key = text.filter((of) => of !== "__proto__");
const int = fc.integer({ min: 0, max: 2 ** 31 - 1 });
const long = fc.maxSafeInteger();
/** proto3 leaves out what equals 0, and so the sign of -0. */
const number = fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => (value === 0 ? 0 : value));
const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value));
const flag = fc.boolean();
const texts = fc.array(text, { maxLength: 3 });
const maybe = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });
const map = <T>(of: fc.Arbitrary<T>) => fc.dictionary(key, of, { maxKeys: 3, noNullPrototype: true });
const list = <T>(of: fc.Arbitrary<T>) => fc.array(of, { maxLength: 3 });
const nothing = fc.constant<Record<string, never>>({});
const labels = map(text);
/** Text keeps no -0. */
const json = fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.parse(JSON.stringify(value)) as Json);
const jsonObject = map(json);

const priority = fc.constantFrom("low" as const, "normal" as const, "high" as const);
const resources: fc.Arbitrary<Resources> = fc.record({
  cpuMillis: long,
  memoryBytes: long,
  gpu: int,
  storageBytes: long,
});
const hardware = map(fc.oneof(number, text));
const models = map(texts);
const filled = <T extends object>(of: fc.Arbitrary<T>) => of.filter((value) => Object.keys(value).length > 0);

const offer: fc.Arbitrary<Offer> = fc.record({
  labels: texts,
  handlers: texts,
  services: texts,
  hardware,
  models,
  custom: jsonObject,
  template: maybe(text),
  customer: maybe(text),
  ephemeral: flag,
  namespace: text,
  total: resources,
});

const requirement: fc.Arbitrary<Requirement> = fc.record({
  label: maybe(text),
  handler: maybe(text),
  template: maybe(text),
  service: maybe(text),
  hardware: maybe(filled(hardware)),
  models: maybe(filled(models)),
  custom: maybe(jsonObject),
  isolation: maybe(fc.record({ level: fc.constantFrom("loose" as const, "strict" as const), customer: text })),
  ephemeral: maybe(flag),
  resources,
});

const work: fc.Arbitrary<Work> = fc.oneof(
  fc.record({
    kind: fc.constant("run" as const),
    script: text,
    shell: fc.constantFrom("sh" as const, "bash" as const),
    env: labels,
    container: maybe(text),
  }),
  fc.record({ kind: fc.constant("task" as const), handler: text, input: json, env: labels }),
);

const outcome: fc.Arbitrary<Outcome> = fc.oneof(
  fc.record({ kind: fc.constant("succeeded" as const), outputs: jsonObject }),
  fc.record({
    kind: fc.constant("failed" as const),
    failure: fc.record({
      class: fc.constantFrom(...FAILURE_CLASSES),
      type: maybe(text),
      message: text,
      exitCode: maybe(int),
      signal: maybe(text),
      permanent: maybe(flag),
    }),
  }),
  fc.record({ kind: fc.constant("rejected" as const), reason: text }),
  fc.record({
    kind: fc.constant("timeout" as const),
    timeout: fc.constantFrom("queue" as const, "start" as const, "run" as const, "total" as const),
  }),
  fc.record({ kind: fc.constant("lost" as const), reason: text }),
  fc.record({ kind: fc.constant("cancelled" as const) }),
);

const violation = fc.record({ path: text, message: text, file: maybe(text), line: maybe(int), column: maybe(int) });
const source = fc.record({ source: text, file: maybe(text) });
const nameAndVersion = { name: text, version: text };
const smallBump = fc.constantFrom("patch" as const, "minor" as const, "major" as const);
const bump = fc.oneof(fc.constant("none" as const), smallBump);

const parent = fc.record({ executionId: text, uid: text, step: text, iteration: text, depth: int });
const displayState = fc.constantFrom(
  "running" as const,
  "succeeded" as const,
  "failed" as const,
  "cancelled" as const,
  "paused" as const,
  "cancelling" as const,
);
const summary = {
  id: text,
  uid: text,
  workflow: text,
  version: text,
  state: displayState,
  labels,
  parent: maybe(parent),
  shard: int,
  revision: long,
  startedAtMs: long,
  endedAtMs: maybe(long),
};
const error = fc.record({ code: text, message: text, step: maybe(text), iteration: maybe(text) });
const step = fc.record({
  id: text,
  iteration: text,
  kind: fc.constantFrom("run" as const, "task" as const, "workflow" as const, "wait" as const, "sleep" as const),
  state: fc.constantFrom(
    "pending" as const,
    "queued" as const,
    "running" as const,
    "backoff" as const,
    "waiting" as const,
    "succeeded" as const,
    "failed" as const,
    "skipped" as const,
    "cancelled" as const,
  ),
  needs: texts,
  inFinally: flag,
  attempts: int,
  worker: maybe(text),
  childId: maybe(text),
  queuedAtMs: maybe(long),
  startedAtMs: maybe(long),
  endedAtMs: maybe(long),
  outputsJson: maybe(text),
  error: maybe(error),
  exitCode: maybe(fc.integer({ min: -255, max: 255 })),
  reason: maybe(text),
});
const view = fc.record({
  ...summary,
  digest: text,
  inputJson: text,
  outputJson: maybe(text),
  error: maybe(error),
  engine: maybe(text),
  steps: list(step),
});
const start = fc.record({
  id: text,
  workflow: text,
  range: text,
  inputJson: text,
  labels,
  priority: maybe(priority),
});
const started = fc.record({ id: text, uid: text, workflow: text, version: text, digest: text, created: flag });
const entry = fc.record({ revision: long, eventJson: text });
const byId = fc.record({ id: text });
const message = fc.record({ id: text, messageId: text });
const acknowledged = fc.record({ revision: long });

const job = fc.record({
  id: text,
  executionId: text,
  step: text,
  iteration: text,
  attempt: int,
  state: fc.constantFrom("queued" as const, "claimed" as const),
  worker: maybe(text),
  enqueuedAtMs: long,
  claimedAtMs: maybe(long),
  priority,
  reason: maybe(text),
  requirement: maybe(requirement),
});

const engineView = fc.record({
  name: text,
  address: text,
  pid: int,
  version: text,
  state: fc.constantFrom("ready" as const, "draining" as const, "unreachable" as const),
  shards: int,
  capacity: int,
  activeExecutions: int,
  activeJobs: int,
  workers: int,
  startedAtMs: long,
});
const workerView = fc.record({
  id: text,
  name: text,
  engine: text,
  pid: int,
  host: text,
  state: fc.constantFrom(...WORKER_STATES),
  labels: texts,
  handlers: texts,
  ephemeral: flag,
  slots: int,
  namespace: text,
  jobs: texts,
  cpuPercent: number,
  memoryBytes: long,
  connectedAtMs: long,
  lastHeartbeatAtMs: long,
});
const template = fc.record({
  id: text,
  origin: fc.constant("local" as const),
  image: maybe(text.filter((of) => of !== "")),
  environment: labels,
  maxConcurrentJobs: int,
  timeouts: fc.record({ registerMs: long, idleMs: long, stopMs: long }),
  offer,
  engines: texts,
});
const event = fc.record({
  atMs: long,
  kind: text,
  severity: fc.constantFrom(...SEVERITIES),
  message: text,
  engine: maybe(text),
  executionId: maybe(text),
  worker: maybe(text),
  facts: labels,
  missed: int,
});

const attempt = { jobId: text, token: text };
const attemptRef = fc.record(attempt);
const of = <K extends string>(kind: K) => ({ kind: fc.constant(kind) });

type Messages = {
  [S in keyof Api]: {
    [M in keyof Api[S]]: { request: fc.Arbitrary<RequestOf<S, M>>; response: fc.Arbitrary<ResponseOf<S, M>> };
  };
};

const MESSAGES: Messages = {
  workflow: {
    register: {
      request: source,
      response: fc.record({ ...nameAndVersion, digest: text, created: flag, warnings: list(violation) }),
    },
    get: {
      request: fc.record({ name: text, version: maybe(text) }),
      response: fc.record({
        ...nameAndVersion,
        digest: text,
        publishedAtMs: long,
        channels: texts,
        definitionJson: text,
        dependencies: list(fc.record({ name: text, range: text })),
        dependents: list(fc.record({ ...nameAndVersion, range: text })),
      }),
    },
    list: {
      request: fc.record({ name: maybe(text) }),
      response: fc.record({
        workflows: list(
          fc.record({
            name: text,
            versions: list(fc.record({ version: text, digest: text, publishedAtMs: long })),
            channels: labels,
          }),
        ),
      }),
    },
    plan: {
      request: source,
      response: fc.record({
        ...nameAndVersion,
        digest: text,
        action: fc.constantFrom("create" as const, "unchanged" as const, "refused" as const),
        previousVersion: maybe(text),
        requiredBump: bump,
        actualBump: bump,
        changes: list(fc.record({ bump: smallBump, path: text, message: text })),
        dependents: list(fc.record({ ...nameAndVersion, range: text, accepts: flag, breaks: flag })),
        refusals: list(violation),
      }),
    },
    promote: {
      request: fc.record({ ...nameAndVersion, channel: text }),
      response: fc.record({ previousVersion: maybe(text) }),
    },
    delete: { request: fc.record(nameAndVersion), response: nothing },
  },
  execution: {
    start: { request: start, response: started },
    get: { request: byId, response: view },
    list: {
      request: fc.record({
        states: list(displayState),
        workflow: maybe(text),
        labels,
        startedAfterMs: maybe(long),
        startedBeforeMs: maybe(long),
        parent: maybe(text),
        limit: int,
        page: maybe(text),
      }),
      response: fc.record({ executions: list(fc.record(summary)), nextPage: maybe(text) }),
    },
    wait: { request: byId, response: view },
    cancel: { request: fc.record({ id: text, reason: text, messageId: text }), response: acknowledged },
    signal: {
      request: fc.record({ id: text, name: text, payloadJson: text, messageId: text }),
      response: acknowledged,
    },
    pause: { request: message, response: acknowledged },
    resume: { request: message, response: acknowledged },
    retry: { request: fc.record({ id: text, steps: texts, messageId: text }), response: acknowledged },
    history: {
      request: fc.record({ id: text, afterRevision: long, limit: int }),
      response: fc.record({ entries: list(entry), more: flag }),
    },
    watch: { request: fc.record({ id: text, afterRevision: long }), response: entry },
    logs: {
      request: fc.record({ id: text, step: maybe(text), follow: flag, after: maybe(text) }),
      response: fc.record({
        step: text,
        iteration: text,
        attempt: int,
        offset: long,
        data: bytes,
        dropped: long,
        atMs: long,
        cursor: text,
      }),
    },
    run: {
      request: fc.record(
        { requestId: int, start, wait: flag, brief: fc.constant(true) },
        { requiredKeys: ["requestId", "start", "wait"] },
      ),
      response: fc.oneof(
        fc.record({ requestId: int, ...of("started"), started }),
        fc.record({ requestId: int, ...of("ended"), ended: view }),
        fc.record({ requestId: int, ...of("error"), error: fc.record({ code: text, message: text }) }),
      ),
    },
  },
  job: {
    submit: {
      request: fc.record({
        id: text,
        command: texts,
        label: maybe(text),
        cpu: maybe(text),
        memory: maybe(text),
        priority: maybe(priority),
        env: labels,
        labels,
      }),
      response: fc.record({ executionId: text, jobId: text }),
    },
    get: { request: byId, response: job },
    list: {
      request: fc.record({ executionId: maybe(text), limit: int }),
      response: fc.record({ jobs: list(job) }),
    },
    why: { request: byId, response: fc.record({ lines: texts, job: maybe(job) }) },
  },
  cluster: {
    engines: { request: nothing, response: fc.record({ engines: list(engineView) }) },
    shards: {
      request: nothing,
      response: fc.record({ shards: list(fc.record({ shard: int, owner: text, epoch: long })) }),
    },
    drainEngine: { request: fc.record({ name: text }), response: nothing },
    watchEvents: {
      request: fc.record({ minSeverity: fc.constantFrom(...SEVERITIES), kinds: texts }),
      response: event,
    },
    info: {
      request: nothing,
      response: fc.record({ version: text, shards: int, store: text, startedAtMs: long }),
    },
  },
  fleet: {
    list: {
      request: fc.record({ limit: int, page: maybe(text) }),
      response: fc.record({ workers: list(workerView), nextPage: maybe(text), unanswered: texts }),
    },
    get: { request: byId, response: workerView },
    drain: { request: byId, response: nothing },
  },
  template: {
    list: { request: nothing, response: fc.record({ templates: list(template), unanswered: texts }) },
    get: { request: byId, response: template },
  },
  engine: {
    start: {
      request: fc.record({
        namespace: text,
        id: text,
        uid: text,
        workflow: text,
        version: text,
        digest: text,
        requestDigest: text,
        lockJson: text,
        definitions: labels,
        inputJson: text,
        labels,
        priority: maybe(priority),
        parent: maybe(parent),
        runNumber: long,
      }),
      response: fc.record({ uid: text, created: flag, version: text, digest: text }),
    },
    deliver: {
      request: fc.record({ namespace: text, id: text, messageJson: text }),
      response: acknowledged,
    },
    status: { request: nothing, response: fc.record({ engine: engineView, workers: list(workerView) }) },
    drain: { request: nothing, response: nothing },
    drainWorker: { request: byId, response: nothing },
    events: { request: nothing, response: event },
    assign: {
      request: fc.record({ generation: long, shards: list(int) }),
      response: fc.record({ owned: list(int) }),
    },
    templates: { request: nothing, response: fc.record({ templates: list(template) }) },
  },
  worker: {
    connect: {
      request: fc.oneof(
        fc.record({
          ...of("hello"),
          workerId: text,
          name: text,
          requestId: maybe(text),
          version: text,
          offer,
          slots: int,
          host: fc.record({ bootId: text, pidNamespace: text, pid: int, startTime: text, hostname: text }),
          running: list(attemptRef),
          spooled: list(attemptRef),
          workspaces: texts,
          knowsHeard: maybe(fc.constant(true)),
        }),
        fc.record({ ...of("accepted"), ...attempt, startedAtMs: long }),
        fc.record({ ...of("rejected"), ...attempt, reason: text }),
        fc.record({ ...of("progress"), ...attempt, message: text }),
        fc.record({ ...of("result"), ...attempt, outcome, startedAtMs: long, endedAtMs: long }),
        fc.record({ ...of("heartbeat"), cpuPercent: number, memoryBytes: long, jobs: texts }),
        fc.record({ ...of("goodbye"), reason: text }),
      ),
      response: fc.oneof(
        fc.record({ ...of("welcome"), engine: text, heartbeatMs: long, stale: texts }),
        fc.record({
          ...of("assign"),
          job: fc.record({
            ...attempt,
            work,
            namespace: text,
            executionId: text,
            executionUid: text,
            step: text,
            iteration: text,
            attempt: int,
            runNumber: long,
            workspace: maybe(text),
            runMs: long,
            graceMs: long,
            resources,
          }),
        }),
        fc.record({ ...of("cancel"), ...attempt, reason: text }),
        fc.record({ ...of("drain"), redirect: texts }),
        fc.record({ ...of("ack"), ...attempt }),
        fc.record({ ...of("releaseWorkspace"), workspace: text }),
        fc.record(of("heard")),
      ),
    },
    logs: {
      request: fc.record({ ...attempt, offset: long, data: bytes, dropped: long }),
      response: fc.record({ ...attempt, heldTo: long, stale: flag }),
    },
  },
};

const SERVICES = Object.keys(MESSAGES) as (keyof Api)[];
type Direction = { request: fc.Arbitrary<unknown>; response: fc.Arbitrary<unknown> };

describe.each(SERVICES)("codec of the %s service", (service) => {
  const methods: Record<string, Direction> = MESSAGES[service];

  it.each(Object.keys(methods))("gives back every %s request and response", async (name) => {
    const codec = (await loadCodec(service)).methods[name];
    if (!codec) throw new Error("no codec");
    for (const direction of ["request", "response"] as const) {
      const arbitrary = methods[name]?.[direction] ?? fc.constant(undefined);
      fc.assert(
        fc.property(arbitrary, (value) => {
          expect(codec[direction].decode(codec[direction].encode(value))).toEqual(value);
        }),
      );
    }
  });

  it("meets bytes of any kind with a value or an error", async () => {
    const { methods: codecs } = await loadCodec(service);
    for (const { request } of Object.values(codecs)) {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 60 }), (garbage) => {
          expect(thrownBy(() => request.decode(Buffer.from(garbage)))).toSatisfy(
            (thrown) => thrown === undefined || thrown instanceof Error,
          );
        }),
      );
    }
  });
});

function thrownBy(action: () => unknown): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

describe("codecs", () => {
  it("name the field of a value that an untyped caller got wrong", async () => {
    const { methods } = await loadCodec("execution");
    const wrong = { id: "x", workflow: "w", range: "", inputJson: "{}", labels: {}, priority: "urgent" };
    expect(() => methods["start"]?.request.encode(wrong)).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        field: "priority",
        message: 'priority is "urgent", not one of low, normal, high',
      }),
    );
  });

  it("name the field that is missing where a message must be", async () => {
    const { methods } = await loadCodec("worker");
    expect(() => methods["connect"]?.request.decode(Buffer.alloc(0))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", field: "message" }),
    );
    // ConnectRequest { hello: Hello {} }
    expect(() => methods["connect"]?.request.decode(Buffer.from([0x0a, 0x00]))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", field: "hello.offer" }),
    );
  });
});
