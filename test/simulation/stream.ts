import { Pipe, pump, streamEnded } from "../../transport/pipe.ts";
import { STREAM_BUFFER, type Duplex } from "../../transport/transport.ts";
import { HodeiError, toHodeiError } from "../../workflow/errors.ts";
import type { Conversation, Side } from "./conversation.ts";
import { copyOf } from "../../transport/copy.ts";
import type { Invoke } from "./server.ts";

/**
 * One direction of a stream: in order, bounded by what the reader has not read, which is known to the sender at once (a
 * window's update is never what goes wrong).
 */
export class Flow {
  readonly #from: Side;
  readonly #to: Side;
  readonly pipe: Pipe<unknown>;
  #onTheWay = 0;
  #closed: { error: HodeiError | undefined } | undefined;
  #waiting: { item: unknown; taken: PromiseWithResolvers<void> }[] = [];
  #ending: (() => void) | undefined;

  constructor(from: Side, to: Side) {
    this.#from = from;
    this.#to = to;
    this.pipe = new Pipe<unknown>({ onRoom: () => this.#go() });
  }

  send(item: unknown): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed.error ?? streamEnded());
    const taken = Promise.withResolvers<void>();
    this.#waiting.push({ item: copyOf(item), taken });
    this.#go();
    return taken.promise;
  }

  /** After all that was sent; `arrived` happens at the reader with it. */
  end(error?: HodeiError, arrived?: () => void): void {
    if (this.#closed) return;
    this.#closed = { error };
    this.#ending = () => {
      arrived?.();
      this.pipe.end(error);
    };
    this.#go();
  }

  /** At the sender: nothing goes any more. */
  refuse(error: HodeiError): void {
    this.#closed ??= { error };
    this.#ending = undefined;
    for (const { taken } of this.#waiting.splice(0)) taken.reject(error);
  }

  #go(): void {
    while (this.#onTheWay + this.pipe.length < STREAM_BUFFER) {
      const next = this.#waiting.shift();
      if (!next) return this.#sayEnd();
      this.#onTheWay += 1;
      this.#from.say(this.#to, () => {
        this.#onTheWay -= 1;
        this.pipe.push(next.item);
        this.#go();
      });
      // A sender that has died or is frozen hears of the room when it can.
      this.#from.life?.enter(next.taken.resolve);
    }
  }

  #sayEnd(): void {
    const ending = this.#ending;
    this.#ending = undefined;
    if (ending) this.#from.say(this.#to, ending);
  }
}

/** The flows of a conversation, tied to its ends: when a side breaks, what it reads and sends breaks. */
export function flowsOf(conversation: Conversation): { up: Flow; down: Flow } {
  const { client, server } = conversation;
  const up = new Flow(client, server);
  const down = new Flow(server, client);
  client.onBreak((error) => {
    down.pipe.breakOff(error);
    up.refuse(error);
  });
  server.onBreak((error) => {
    up.pipe.breakOff(error);
    down.refuse(error);
  });
  return { up, down };
}

/** Server side of a server stream. */
export async function produce(side: Side, invoke: Invoke, request: unknown, down: Flow): Promise<void> {
  try {
    await pump(invoke(request) as AsyncIterable<unknown>, (item) => down.send(item), side.signal);
    down.end();
  } catch (error) {
    down.end(toHodeiError(error));
  } finally {
    side.finish();
  }
}

/** Server side of a two-way stream: it lasts as long as the handler, or until the handler ends it. */
export async function converse(
  conversation: Conversation,
  invoke: Invoke,
  { up, down }: { up: Flow; down: Flow },
): Promise<void> {
  const { server, client } = conversation;
  const ended = new HodeiError("UNAVAILABLE", "the server has ended the stream");
  const finish = (error?: HodeiError): void => {
    if (server.over) return;
    down.end(error, () => {
      up.refuse(error ?? ended);
      client.finish();
    });
    up.pipe.breakOff(error ?? ended);
    server.finish();
  };
  const stream: Duplex<unknown, unknown> = { ...sideOf(conversation, server, down, up), end: () => finish() };
  try {
    await invoke(stream);
    finish();
  } catch (error) {
    finish(toHodeiError(error));
  }
}

export function sideOf(conversation: Conversation, side: Side, out: Flow, incoming: Flow): Duplex<unknown, unknown> {
  return {
    send: (message) => out.send(message),
    messages: incoming.pipe.messages,
    end: () => out.end(),
    cancel: () =>
      conversation.breakOff(side, new HodeiError("CANCELLED", "the call was cancelled: the stream was cancelled")),
  };
}
