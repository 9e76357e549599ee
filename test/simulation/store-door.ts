import type { Store } from "../../store/store.ts";
import { HodeiError } from "../../workflow/errors.ts";
import type { Life } from "./life.ts";
import type { Network } from "./network.ts";
import type { Recorder, StoreMethod } from "./trace.ts";

/** The name of the store's host on the network. */
export const STORE = "store";
/** What an adapter waits for an answer before it says UNAVAILABLE. */
const ANSWER_MS = 2_500;

export type DoorFaults = {
  /** Share of calls that do not reach the store, and of those whose answer is lost. */
  failBefore: number;
  failAfter: number;
  /** Shares of hints. */
  hintLost: number;
  hintTwice: number;
};

export const NO_DOOR_FAULTS: DoorFaults = { failBefore: 0, failAfter: 0, hintLost: 0, hintTwice: 0 };

/**
 * A process dies at a store call of its own: before it takes effect, or after it did and before the answer. `method`: only
 * such calls count.
 */
export type Doom = { calls: number; when: "before" | "after"; method?: StoreMethod; strike: () => void };

/**
 * What one life sees of the store: every call is a message there and an answer back, either of which may be late, held by
 * a partition or lost. What took effect is recorded on the far side, whatever its caller ever hears.
 */
export class StoreDoor {
  readonly port: Store;
  readonly #life: Life;
  readonly #network: Network;
  readonly #store: Store;
  readonly #record: Recorder;
  readonly #faults: () => DoorFaults;
  readonly #onFault: (fault: string) => void;
  #doom: Doom | undefined;
  readonly #unheard: { method: StoreMethod; lost: () => void }[] = [];

  constructor(of: {
    life: Life;
    network: Network;
    store: Store;
    record: Recorder;
    faults: () => DoorFaults;
    onFault: (fault: string) => void;
  }) {
    this.#life = of.life;
    this.#network = of.network;
    this.#store = of.store;
    this.#record = of.record;
    this.#faults = of.faults;
    this.#onFault = of.onFault;
    this.port = this.#wrap(of.store, "") as Store;
  }

  /** The process dies at its `calls`-th call from now on. */
  doom(doom: Doom): void {
    this.#doom = doom;
  }

  /** The answer to its next such call is lost. */
  loseAnswer(unheard: { method: StoreMethod; lost: () => void }): void {
    this.#unheard.push(unheard);
  }

  pardon(): void {
    this.#doom = undefined;
    this.#unheard.length = 0;
  }

  #wrap(part: object, prefix: string): object {
    const wrapped: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(part)) {
      if (typeof value === "object") wrapped[name] = this.#wrap(value as object, `${name}.`);
      else if (name === "watch") wrapped[name] = this.#watch;
      else if (name === "close") wrapped[name] = async () => undefined;
      else {
        const method = `${prefix}${name}` as StoreMethod;
        const apply = value as (request: unknown) => Promise<unknown>;
        wrapped[name] = (request: unknown) =>
          this.#call(method, (asked) => Reflect.apply(apply, part, [asked]), request);
      }
    }
    return wrapped;
  }

  #call(method: StoreMethod, apply: (request: unknown) => Promise<unknown>, request: unknown): Promise<unknown> {
    const life = this.#life;
    return new Promise((resolve, reject) => {
      const fail = (why: string): void => reject(new HodeiError("UNAVAILABLE", `store ${method}: ${why}`));
      const late = life.clock.after(ANSWER_MS, () => fail("no answer in time"));
      const back = (answer: () => void): void =>
        this.#network.post(STORE, life.node, () =>
          life.enter(() => {
            late.cancel();
            answer();
          }),
        );
      this.#network.post(life.node, STORE, () => {
        if (this.#strikes("before", method)) return;
        if (this.#suffers("failBefore")) return back(() => fail("it was not reached"));
        void this.#apply(method, apply, request).then((outcome) => {
          if (this.#strikes("after", method)) return;
          if (this.#losesAnswer(method) || this.#suffers("failAfter")) return back(() => fail("the answer was lost"));
          back(() => ("error" in outcome ? reject(outcome.error) : resolve(outcome.answer)));
        });
      });
    });
  }

  /** Takes effect, and is recorded as it did. A refusal (an invalid argument) has had none. */
  async #apply(
    method: StoreMethod,
    apply: (request: unknown) => Promise<unknown>,
    request: unknown,
  ): Promise<{ answer: unknown } | { error: unknown }> {
    try {
      const answer = await apply(request);
      this.#record({ kind: "store", node: this.#life.node, method, request, answer });
      return { answer };
    } catch (error) {
      return { error };
    }
  }

  readonly #watch: Store["watch"] = (topic, onHint) => {
    const life = this.#life;
    const unwatch = this.#store.watch(topic, (hint) => {
      // A partition swallows hints: nobody sends one again.
      if (this.#network.blocked(STORE, life.node) || this.#suffers("hintLost")) return;
      const bring = (): void => this.#network.post(STORE, life.node, () => life.enter(() => onHint(hint)));
      bring();
      if (this.#suffers("hintTwice")) bring();
    });
    life.onDeath(unwatch);
    return unwatch;
  };

  #losesAnswer(method: StoreMethod): boolean {
    const at = this.#unheard.findIndex((unheard) => unheard.method === method);
    if (at < 0) return false;
    for (const { lost } of this.#unheard.splice(at, 1)) lost();
    return true;
  }

  #strikes(when: Doom["when"], method: StoreMethod): boolean {
    const doom = this.#doom;
    if (!doom || this.#life.state === "dead" || (doom.method ?? method) !== method) return false;
    if (when === "before" && --doom.calls > 0) return false;
    if (doom.calls > 0 || doom.when !== when) return false;
    this.#doom = undefined;
    doom.strike();
    return true;
  }

  #suffers(fault: keyof DoorFaults): boolean {
    const share = this.#faults()[fault];
    if (share === 0 || this.#network.random.float() >= share) return false;
    this.#onFault(FAULT_NAMES[fault]);
    return true;
  }
}

const FAULT_NAMES: Record<keyof DoorFaults, string> = {
  failBefore: "store call lost",
  failAfter: "store answer lost",
  hintLost: "hint lost",
  hintTwice: "hint twice",
};
