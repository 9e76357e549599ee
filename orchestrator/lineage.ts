import type { Store } from "../store/store.ts";
import type { Definition, Lock } from "../workflow/definition.ts";
import { HodeiError } from "../workflow/errors.ts";
import type { HistoryEvent } from "../workflow/event.ts";
import type { Execution, ParentRef } from "../workflow/execution.ts";
import { LIMITS } from "../workflow/limits.ts";
import { parseNormalForm } from "../workflow/load.ts";
import { type Closure, lockedBy } from "./catalog.ts";
import { Recent } from "./recent.ts";

/** What children inherit; fixed at the parent's start, so it is read once however many children there are. */
type Parent = { lock: Lock; definitions: Map<string, Definition>; rootUid: string };

const PARENTS = 512;
const CLOSURES = 512;

/**
 * What a child gets from those above it. Its closure is cut from its parent's lock and its parent's own copies of the
 * definitions, not resolved anew from the registry: a tree runs what was pinned when its root started, whatever has
 * been promoted or deleted since.
 */
export class Lineage {
  readonly #store: Store;
  readonly #parents = new Recent<Parent>(PARENTS);
  readonly #closures = new Recent<Closure>(CLOSURES);

  constructor(options: { store: Store }) {
    this.#store = options.store;
  }

  /** Throws NO_SUCH_VERSION when the parent's lock does not hold it, NOT_FOUND when there is no such parent. */
  async closureOf(
    namespace: string,
    parent: ParentRef,
    child: { name: string; version: string; digest: string },
  ): Promise<Closure> {
    const key = `${parent.uid} ${child.name}@${child.version} ${child.digest}`;
    const known = this.#closures.get(key);
    if (known) return known;
    const { lock, definitions } = await this.#parent(namespace, parent);
    const definition = definitions.get(child.digest);
    if (!definition || definition.name !== child.name || definition.version !== child.version) {
      const what = `${child.name}@${child.version} (${child.digest})`;
      throw new HodeiError("NO_SUCH_VERSION", `${what} is not locked by its parent ${parent.executionId}`, {
        facts: { workflow: child.name, version: child.version },
      });
    }
    const closure = lockedBy(definition, child.digest, (name, range) => {
      const entry = lock.entries[`${name} ${range}`];
      const locked = entry && definitions.get(entry.digest);
      return entry && locked && { version: entry.version, digest: entry.digest, definition: locked };
    });
    this.#closures.set(key, closure);
    return closure;
  }

  /**
   * Counts a child into its tree; throws TREE_TOO_LARGE beyond the bound. The count is a counter in the store under the
   * root's uid, one write per child: the same child counts once (its id is the operation's), and children of any depth
   * on any engine count together. Rejected: listing the tree, which reads thousands of heads for each start; a count
   * kept by the parent, which knows its own children only.
   */
  async count(namespace: string, parent: ParentRef, childId: string): Promise<void> {
    const { rootUid } = await this.#parent(namespace, parent);
    // Workflow names hold no slash, so this shares the counters of run numbers without meeting one.
    const name = `tree/${rootUid}`;
    const opId = `tree/${parent.uid}/${childId}`;
    const children = await this.#store.registry.nextRunNumber({ opId, namespace, name });
    if (children + 1 <= LIMITS.treeSize) return;
    throw new HodeiError("TREE_TOO_LARGE", `${childId} would make its tree larger than ${LIMITS.treeSize} executions`, {
      hint: "Let one sub-workflow handle several items, or start the work as executions of their own.",
    });
  }

  async #parent(namespace: string, ref: ParentRef): Promise<Parent> {
    const known = this.#parents.get(ref.uid);
    if (known) return known;
    const record = await this.#store.readExecution({ namespace, id: ref.executionId });
    if (!record || record.status !== "OK" || record.head.uid !== ref.uid) {
      throw new HodeiError(
        "NOT_FOUND",
        `the parent execution ${ref.executionId} (${ref.uid}) does not exist any more`,
        {
          facts: { parent: ref.executionId },
        },
      );
    }
    const grandparent = record.head.parent;
    const above = grandparent && (await this.#parent(namespace, grandparent));
    const bodies = Object.entries(record.definitions);
    const parent: Parent = {
      lock: lockOf(record.snapshot?.text, record.events[0]),
      definitions: new Map(bodies.map(([digest, body]) => [digest, parseNormalForm(body)])),
      rootUid: above?.rootUid ?? record.head.uid,
    };
    this.#parents.set(ref.uid, parent);
    return parent;
  }
}

/** The lock stands in the first event, or in the folded state once there is a snapshot. */
function lockOf(snapshot: string | undefined, first: string | undefined): Lock {
  if (snapshot !== undefined) return (JSON.parse(snapshot) as Execution).lock;
  const event = first === undefined ? undefined : (JSON.parse(first) as HistoryEvent);
  if (event?.type === "executionStarted") return event.start.lock;
  throw new HodeiError("DATA_CORRUPT", "the history of a parent execution does not begin with its start");
}
