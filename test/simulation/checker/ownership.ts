import type { Fence } from "../../../store/store.ts";
import type { Fact } from "./facts.ts";
import type { Invariant } from "./invariant.ts";
import { pastOf } from "./past.ts";
import { isLive, type World } from "./world.ts";

const fenceWords = ({ shard, epoch, nonce, session }: Fence): string =>
  `shard ${shard} epoch ${epoch} nonce ${nonce.slice(0, 8)} of session ${session.slice(0, 8)}`;

function fenceOf(fact: Fact): Fence | undefined {
  switch (fact.kind) {
    case "commit":
      return fact.request.fence;
    case "passed":
    case "expired":
      return fact.fence;
    default:
      return undefined;
  }
}

function sessionOf(fact: Fact): string | undefined {
  switch (fact.kind) {
    case "acquired":
    case "admitted":
    case "adopted":
    case "claimed":
    case "sessionRenewed":
      return fact.session;
    case "reported":
      return fact.request.session;
    default:
      return fenceOf(fact)?.session;
  }
}

export const oneOwner: Invariant = {
  name: "one owner per shard",
  promise:
    "A stale owner cannot commit, read as an owner, or clean up anything: what a shard's owner does ends with its successor.",
  watch: (report) => ({
    before(fact, world) {
      const fence = fenceOf(fact);
      if (fence === undefined) return;
      const owner = world.shards.get(fence.shard);
      if (
        owner?.fence.nonce === fence.nonce &&
        owner.fence.epoch === fence.epoch &&
        owner.fence.session === fence.session
      )
        return;
      report({
        about: `shard ${fence.shard}`,
        expected:
          owner === undefined ? "nobody to act as its owner" : `only ${fenceWords(owner.fence)} to act as owner`,
        seen: `${fact.node} did ${words(fact)} under ${fenceWords(fence)}`,
        events: [...(owner === undefined ? [] : [owner.at]), fact.at],
      });
    },
  }),
};

function words(fact: Fact): string {
  if (fact.kind === "passed") return fact.method;
  return fact.kind === "commit" ? `a commit of ${fact.request.id}` : fact.kind;
}

export const freshFences: Invariant = {
  name: "fences are never used twice",
  promise: "A shard is granted when it is free, each time under a higher epoch and a nonce that nobody has had.",
  watch: (report) => {
    const epochs = new Map<number, { epoch: number; at: number }>();
    return {
      before(fact, world) {
        if (fact.kind !== "acquired") return;
        for (const fence of fact.fences) {
          const about = `shard ${fence.shard}`;
          const holder = world.shards.get(fence.shard);
          const last = epochs.get(fence.shard);
          const seen = `${fact.node} was granted ${fenceWords(fence)}`;
          // Its own holder may ask again: a grant whose answer never came.
          if (holder !== undefined && holder.fence.session !== fence.session) {
            const expected = `no grant while ${fenceWords(holder.fence)} holds it`;
            report({ about, expected, seen, events: [holder.at, fact.at] });
          }
          if (last !== undefined && fence.epoch <= last.epoch) {
            report({ about, expected: `an epoch above ${last.epoch}`, seen, events: [last.at, fact.at] });
          }
          epochs.set(fence.shard, { epoch: fence.epoch, at: fact.at });
        }
      },
    };
  },
  check(run, report) {
    // No rollback brings a nonce back: it is what tells two grants of one epoch apart.
    const nonces = new Map<string, number>();
    for (const { at, fences } of pastOf(run).grants) {
      for (const { nonce, shard } of fences) {
        const twin = nonces.get(nonce);
        nonces.set(nonce, at);
        if (twin === undefined) continue;
        const seen = `nonce ${nonce.slice(0, 8)} was granted again`;
        report({ about: `shard ${shard}`, expected: "a fresh nonce for each grant", seen, events: [twin, at] });
      }
    }
  },
};

export const livingSessions: Invariant = {
  name: "only living sessions act",
  promise:
    "An engine whose lease has ended changes nothing until it has opened another one, and nobody acts under another's.",
  watch: (report) => ({
    before(fact, world) {
      const session = sessionOf(fact);
      if (session === undefined) return;
      const known = world.sessions.get(session);
      const seen = `${fact.node} did ${words(fact)} in session ${session.slice(0, 8)}`;
      const about = known?.engine.name ?? fact.node;
      if (!isLive(world, session)) {
        report({ about, expected: expectedSession(world, session), seen, events: [fact.at] });
      } else if (known !== undefined && known.node !== fact.node) {
        report({ about, expected: `only ${known.node} to act in it`, seen, events: [fact.at] });
      }
    },
  }),
};

function expectedSession(world: World, session: string): string {
  const known = world.sessions.get(session);
  if (known === undefined) return "a session that was opened";
  return `nothing after its end, ${world.nowMs - (known.endedAtMs ?? 0)} ms before`;
}
