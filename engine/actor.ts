import type { Transition } from "../workflow/message.ts";
import type { Envelope, Mailbox } from "./mailbox.ts";
import type { Loaded } from "./turn.ts";

/** One execution that has something to do, or is kept loaded. */
export type Actor = {
  readonly key: string;
  readonly namespace: string;
  readonly id: string;
  readonly shard: number;
  readonly mailbox: Mailbox;
  state: Loaded | undefined;
  /** A turn is being made. */
  busy: boolean;
  /** It had a turn since it was last considered for eviction. */
  used: boolean;
  /** Commits in a row that found the record moved on. */
  conflicts: number;
  /** The store said that the execution exists: a start must read before it creates. */
  exists: boolean;
  /** Folded into `state` already, but over the bounds of the last commit: the first of the next one. */
  carried: { envelope: Envelope; transition: Transition; wasOpen: boolean } | undefined;
  /** So many messages are to be committed each alone, to find the one that the store refuses. */
  alone: number;
};

/** Forgets what is in memory; what was folded but not committed goes back to the front of the mailbox. */
export function dropState(actor: Actor): void {
  actor.state = undefined;
  if (actor.carried) actor.mailbox.putBack([actor.carried.envelope]);
  actor.carried = undefined;
}
