import type { Random } from "../base/random.ts";
import type { Logger } from "../base/log.ts";
import type { ExecutionHead, Store } from "../store/store.ts";
import type { ChildGateway } from "../transport/api/engine.ts";
import type { StartRequest, StartResponse } from "../transport/api/execution.ts";
import { sha256Of } from "../workflow/digest.ts";
import { HodeiError, isHodeiError, toHodeiError } from "../workflow/errors.ts";
import type { ParentRef } from "../workflow/execution.ts";
import { inputViolations, withDefaults } from "../workflow/input.ts";
import type { Json } from "../workflow/json.ts";
import { LIMITS } from "../workflow/limits.ts";
import { type Catalog, type Closure, requireVersion } from "./catalog.ts";
import { Lineage } from "./lineage.ts";
import { checkLabels, checkNewId, checkPriority, checkReference, parseJson } from "./request.ts";
import { isTransient, type RouteOptions, type Router } from "./router.ts";

/** A start that is checked and pinned; what is left is to hand it to the owner of its shard. */
type Pinned = {
  namespace: string;
  id: string;
  closure: Closure;
  requestDigest: string;
  input: Json;
  labels: Record<string, string>;
  priority?: "low" | "normal" | "high";
  parent?: ParentRef;
  /** Makes the run number the same one when the start is repeated. */
  runKey: string;
};

/** A child's start has no caller whose deadline it could keep: its engine asks again after this. */
const CHILD_DEADLINE_MS = 3_000;

/** The one way to start an execution: for clients, for single jobs and, with a parent, for sub-workflows. */
export class Starter {
  readonly #options: StarterOptions;
  readonly #lineage: Lineage;

  constructor(options: StarterOptions) {
    this.#options = options;
    this.#lineage = new Lineage(options);
  }

  /**
   * Pins a version, checks the input and starts. The same id and request again answers the same execution (created =
   * false). Throws INVALID_ARGUMENT, TOO_LARGE, INVALID_INPUT, NOT_FOUND, NO_SUCH_VERSION, ALREADY_EXISTS, UNAVAILABLE.
   */
  async start(namespace: string, request: StartRequest, route: RouteOptions): Promise<StartResponse> {
    checkRequest(request);
    const written = parseInput(request.inputJson);
    const requestDigest = digestOfRequest(request, written);
    try {
      const closure = await this.#pick(namespace, request.workflow, request.range);
      const input = checkedInput(closure, written);
      const { id, labels, priority } = request;
      const pinned: Pinned = {
        namespace,
        id,
        closure,
        requestDigest,
        input,
        labels,
        runKey: this.#options.random.id(),
      };
      if (priority !== undefined) pinned.priority = priority;
      return await this.#send(pinned, route);
    } catch (error) {
      // A repeat must answer what the first one did, even if its range or schema has moved on since.
      const first = isRefusalOfNew(error) && (await this.#existing(namespace, request.id, requestDigest));
      if (first) return first;
      throw error;
    }
  }

  /** Starts what is not in the registry: the definition travels with the start alone. */
  async startClosed(
    namespace: string,
    request: StartRequest,
    closure: Closure,
    route: RouteOptions,
  ): Promise<StartResponse> {
    checkRequest(request);
    const written = parseInput(request.inputJson);
    const input = checkedInput(closure, written);
    const { id, labels, priority } = request;
    const requestDigest = digestOfRequest({ ...request, range: closure.digest }, written);
    const pinned: Pinned = { namespace, id, closure, requestDigest, input, labels, runKey: this.#options.random.id() };
    if (priority !== undefined) pinned.priority = priority;
    return await this.#send(pinned, route);
  }

  /** The same door for engines. What it throws is final, or UNAVAILABLE: try again. */
  readonly gateway: ChildGateway = {
    startChild: async (request) => {
      try {
        await this.#startChild(request);
      } catch (error) {
        throw this.#finalOrUnavailable(error, request.id);
      }
    },
    deliver: async (request) => {
      try {
        await this.#options.router.call("deliver", request, { deadlineMs: CHILD_DEADLINE_MS });
      } catch (error) {
        throw this.#finalOrUnavailable(error, request.id);
      }
    },
  };

  async #startChild(request: Parameters<ChildGateway["startChild"]>[0]): Promise<void> {
    const { namespace, id, workflow, version, digest, parent } = request;
    if (parent.depth + 1 > LIMITS.childDepth) {
      throw new HodeiError(
        "DEPTH_EXCEEDED",
        `${id} would be ${parent.depth + 1} sub-workflows deep, the bound is ${LIMITS.childDepth}`,
        {
          hint: "Does a workflow call itself without an end? A `when` on the calling step can stop it.",
          facts: { workflow, version },
        },
      );
    }
    const closure = await this.#lineage.closureOf(namespace, parent, { name: workflow, version, digest });
    await this.#lineage.count(namespace, parent, id);
    const written = parseInput(request.inputJson);
    const input = checkedInput(closure, written);
    // No labels and no range: what makes a child's start the same one is its parent, its id and its input.
    const requestDigest = sha256Of({ workflow, version, digest, input: written, parent: { ...parent } });
    const runKey = `${parent.uid}/${id}`;
    await this.#send(
      { namespace, id, closure, requestDigest, input, labels: {}, parent, runKey },
      { deadlineMs: CHILD_DEADLINE_MS },
    );
  }

  #finalOrUnavailable(error: unknown, id: string): HodeiError {
    const failure = toHodeiError(error);
    if (!isTransient(failure)) return failure;
    if (failure.code === "INTERNAL")
      this.#options.logger.error({ execution: id, error }, "a message to a child failed");
    if (failure.code === "UNAVAILABLE") return failure;
    return new HodeiError("UNAVAILABLE", failure.message, { facts: { ...failure.facts }, cause: failure });
  }

  async #pick(namespace: string, name: string, range: string): Promise<Closure> {
    const { catalog } = this.#options;
    try {
      const registry = await catalog.registry(namespace);
      return await catalog.closure(namespace, registry, requireVersion(registry, name, range));
    } catch (error) {
      if (!isHodeiError(error, "NOT_FOUND", "NO_SUCH_VERSION", "DATA_CORRUPT")) throw error;
      // What is cached may be behind what was just published elsewhere: a refusal is decided on the registry itself.
      const registry = await catalog.registry(namespace, { fresh: true });
      return await catalog.closure(namespace, registry, requireVersion(registry, name, range));
    }
  }

  async #send(pinned: Pinned, route: RouteOptions): Promise<StartResponse> {
    const { store, random, router } = this.#options;
    const { namespace, id, closure, parent, priority } = pinned;
    const { name, version } = closure.definition;
    const opId = `run/${pinned.runKey}`;
    const runNumber = await store.registry.nextRunNumber({ opId, namespace, name });
    const started = await router.call(
      "start",
      {
        namespace,
        id,
        uid: random.id(),
        workflow: name,
        version,
        digest: closure.digest,
        requestDigest: pinned.requestDigest,
        lockJson: closure.lockJson,
        definitions: closure.definitions,
        inputJson: JSON.stringify(pinned.input),
        labels: pinned.labels,
        runNumber,
        ...(priority === undefined ? {} : { priority }),
        ...(parent === undefined ? {} : { parent }),
      },
      route,
    );
    return { id, workflow: name, ...started };
  }

  /** The head alone: a history read past its end. */
  async #existing(namespace: string, id: string, requestDigest: string): Promise<StartResponse | undefined> {
    const head = await readHead(this.#options.store, namespace, id);
    if (head?.requestDigest !== requestDigest) return undefined;
    const { uid, workflow, version, digest } = head;
    return { id, uid, workflow, version, digest, created: false };
  }
}

/** What is known of an execution without reading its events. */
export async function readHead(store: Store, namespace: string, id: string): Promise<ExecutionHead | undefined> {
  const page = await store.readHistory({ namespace, id, afterRevision: Number.MAX_SAFE_INTEGER, limit: 1 });
  return page?.head;
}

function checkRequest(request: StartRequest): void {
  checkNewId(request.id);
  checkLabels(request.labels);
  checkPriority(request.priority);
  checkReference(request.workflow, request.range, { name: "workflow", range: "range" });
}

/** Only an object can be an input; how deep it may nest is checked before anything walks it. */
function parseInput(text: string): Json {
  const input = parseJson(text, "inputJson", LIMITS.inputBytes, {});
  const violations = inputViolations({ type: "object" }, input);
  if (violations.length === 0) return input;
  throw new HodeiError("INVALID_INPUT", `the input ${violations[0]?.message ?? "is wrong"}`, {
    field: "input",
    violations,
    hint: 'The input is one JSON object, such as {"who":"sea"}.',
  });
}

function checkedInput({ definition }: Closure, written: Json): Json {
  if (definition.input === undefined) return written;
  const input = withDefaults(definition.input, written);
  const violations = inputViolations(definition.input, input);
  if (violations.length === 0) return input;
  const { name, version } = definition;
  const [first] = violations;
  const more = violations.length > 1 ? ` (and ${violations.length - 1} more)` : "";
  const what = `${first?.path ?? "input"} ${first?.message ?? ""}${more}`;
  throw new HodeiError("INVALID_INPUT", `the input does not fit ${name}@${version}: ${what}`, {
    field: first?.path ?? "input",
    violations,
    hint: `\`hodei describe workflow ${name}\` shows its input schema.`,
  });
}

/** Over the range as written, not the version it meant: the same request must stay the same after a promotion. */
function digestOfRequest(request: StartRequest, input: Json): string {
  const { workflow, range, labels, priority } = request;
  return sha256Of({ workflow, range, input, labels, ...(priority === undefined ? {} : { priority }) });
}

function isRefusalOfNew(error: unknown): boolean {
  return isHodeiError(error, "NOT_FOUND", "NO_SUCH_VERSION", "INVALID_INPUT");
}

export type StarterOptions = {
  store: Store;
  catalog: Catalog;
  router: Router;
  random: Random;
  logger: Logger;
};
