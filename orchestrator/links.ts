import { fullJitterMs } from "../base/backoff.ts";
import type { Clock } from "../base/clock.ts";
import type { Logger } from "../base/log.ts";
import type { Random } from "../base/random.ts";
import type { Service } from "../base/service.ts";
import type { EngineView, WorkerView } from "../transport/api/cluster.ts";
import type { EngineAddress } from "../transport/discovery/discovery.ts";
import type { Channel, Transport } from "../transport/transport.ts";
import { isHodeiError } from "../workflow/errors.ts";
import type { EventHub } from "./events.ts";
import type { Membership } from "./membership.ts";

/**
 * - connecting: not heard of yet.
 * - ready, draining: as the engine says of itself.
 * - refused: nothing listens at its address, which is evidence of death.
 * - unreachable: no answer, which may be the network: its lease decides.
 */
export type LinkState = "connecting" | "ready" | "draining" | "refused" | "unreachable";

export type EngineLink = {
  readonly name: string;
  readonly address: string;
  readonly channel: Channel;
  /** Whether discovery lists it still. One that left keeps its link until it owns nothing any more. */
  member: boolean;
  state: LinkState;
  /** Monotonic ms. */
  stateSinceMs: number;
  view: EngineView | undefined;
};

export const STATUS_DEADLINE_MS = 1_000;
const RECONNECT = { initialMs: 50, maxMs: 1_000 };
/** An event stream that lived this long was a good one: the next try starts without backoff. */
const STEADY_MS = 1_000;

type Held = { link: EngineLink; stop: AbortController; listening: AbortController; done: Promise<void> };

/**
 * One connection to each engine. Its event stream is at once the source of the merged events and the pulse: it breaks
 * the moment a process dies, so a death is noticed in milliseconds with no polling at all.
 */
export class EngineLinks implements Service {
  readonly #options: LinkOptions;
  readonly #held = new Map<string, Held>();
  readonly #watchers = new Set<() => void>();
  #unsubscribe: (() => void) | undefined;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    this.#unsubscribe = this.#options.membership.onChange(() => this.#follow());
    this.#follow();
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = undefined;
    await Promise.all([...this.#held.keys()].map((name) => this.#drop(name)));
  }

  all(): EngineLink[] {
    return [...this.#held.values()].map((held) => held.link);
  }

  byName(name: string): EngineLink | undefined {
    return this.#held.get(name)?.link;
  }

  /** By what an engine's NOT_OWNER names: its address, or its name. */
  byHint(hint: string | undefined): EngineLink | undefined {
    if (hint === undefined) return undefined;
    return this.byName(hint) ?? this.all().find((link) => link.address === hint);
  }

  onChange(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => void this.#watchers.delete(watcher);
  }

  /** Asks an engine how it is. Undefined when it does not say; the link's state tells why. */
  async probe(link: EngineLink): Promise<{ engine: EngineView; workers: WorkerView[] } | undefined> {
    try {
      const status = await link.channel.call("engine", "status", {}, { deadlineMs: STATUS_DEADLINE_MS });
      if (this.#held.get(link.name)?.link !== link) return undefined;
      if (isAnother(link.view, status.engine)) this.#hangUp(link);
      link.view = status.engine;
      this.#become(link, status.engine.state === "draining" ? "draining" : "ready");
      return status;
    } catch (error) {
      this.#blame(link, error);
      return undefined;
    }
  }

  /** Lets go of an engine that has left and owns nothing any more. */
  async forget(link: EngineLink): Promise<void> {
    if (link.member || this.#held.get(link.name)?.link !== link) return;
    this.#options.hub.emit("EngineLeft", `engine ${link.name} has left`, { engine: link.name });
    await this.#drop(link.name);
  }

  #follow(): void {
    const members = new Map(this.#options.membership.engines().map((engine) => [engine.name, engine]));
    for (const [name, { link }] of this.#held) {
      const member = members.get(name);
      if (member && member.address !== link.address) void this.#drop(name);
      else link.member = member !== undefined;
    }
    for (const engine of members.values()) if (!this.#held.has(engine.name)) this.#hold(engine);
    this.#changed();
  }

  #hold(engine: EngineAddress): void {
    const { transport, token, clock } = this.#options;
    const link: EngineLink = {
      ...engine,
      channel: transport.connect(
        token === undefined ? { address: engine.address } : { address: engine.address, token },
      ),
      member: true,
      state: "connecting",
      stateSinceMs: clock.monotonic(),
      view: undefined,
    };
    const [stop, listening] = [new AbortController(), new AbortController()];
    const held: Held = { link, stop, listening, done: Promise.resolve() };
    this.#held.set(engine.name, held);
    held.done = this.#keep(held, stop.signal);
  }

  async #drop(name: string): Promise<void> {
    const held = this.#held.get(name);
    if (!held) return;
    this.#held.delete(name);
    held.stop.abort(new Error("the link is closed"));
    await held.link.channel.close();
    await held.done;
  }

  /** Connected as long as it can be, reconnecting with backoff otherwise. Ends with the signal, never throws. */
  async #keep(held: Held, signal: AbortSignal): Promise<void> {
    const { link } = held;
    const { clock, random, logger } = this.#options;
    for (let attempt = 0; !signal.aborted; attempt++) {
      const status = await this.probe(link);
      const sinceMs = clock.monotonic();
      if (status && !signal.aborted) {
        held.listening = new AbortController();
        await this.#listen(link, AbortSignal.any([signal, held.listening.signal]));
      }
      if (clock.monotonic() - sinceMs >= STEADY_MS) attempt = 0;
      // The first look after a break comes at once: it is the one that tells a dead process from a lost connection.
      if (status && attempt === 0) continue;
      await clock.sleep(fullJitterMs(attempt, random.float(), RECONNECT), signal).catch((error: unknown) => {
        logger.debug({ engine: link.name, error }, "no longer connecting");
      });
    }
  }

  async #listen(link: EngineLink, signal: AbortSignal): Promise<void> {
    try {
      for await (const event of link.channel.stream("engine", "events", {}, { signal })) {
        this.#options.hub.forward(event);
        // What an engine reports of itself (that it drains, say) changes what it should be given.
        if (event.kind.startsWith("Engine") && event.engine === link.name) void this.probe(link);
      }
    } catch (error) {
      if (!signal.aborted) this.#options.logger.debug({ engine: link.name, error }, "an engine's events broke off");
    }
  }

  /**
   * Ends the event stream from this side. One whose peer has vanished with its host ends by itself only when TCP gives up,
   * a quarter of an hour later, and until then nobody would look for the engine again.
   */
  #hangUp(link: EngineLink): void {
    this.#held.get(link.name)?.listening.abort(new Error("the engine at the other end has gone"));
  }

  #blame(link: EngineLink, error: unknown): void {
    if (this.#held.get(link.name)?.link !== link) return;
    this.#hangUp(link);
    const refused = isHodeiError(error, "UNAVAILABLE") && error.facts.evidence === "refused";
    this.#options.logger.debug({ engine: link.name, address: link.address, error }, "an engine does not answer");
    this.#become(link, refused ? "refused" : "unreachable");
  }

  #become(link: EngineLink, state: LinkState): void {
    if (link.state === state) return;
    const { clock, hub, logger } = this.#options;
    const before = link.state;
    link.state = state;
    link.stateSinceMs = clock.monotonic();
    const about = { engine: link.name, facts: { address: link.address } };
    const at = `engine ${link.name} (${link.address})`;
    if (state === "ready") hub.emit("EngineJoined", `${at} is ready`, about);
    if (state === "unreachable") hub.emit("EngineUnreachable", `${at} does not answer: its lease decides`, about);
    // An engine that was never there yet is not lost: it is still starting.
    if (state === "refused" && before !== "connecting")
      hub.emit("EngineLost", `nothing listens any more at ${at}`, about);
    logger.info({ engine: link.name, address: link.address, before, state }, "an engine's state changed");
    this.#changed();
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** Another process under the same name and address. */
function isAnother(before: EngineView | undefined, now: EngineView): boolean {
  return before !== undefined && (before.pid !== now.pid || before.startedAtMs !== now.startedAtMs);
}

export type LinkOptions = {
  membership: Membership;
  transport: Transport;
  /** The credential that engines know an orchestrator by. */
  token: string | undefined;
  hub: EventHub;
  clock: Clock;
  random: Random;
  logger: Logger;
};
