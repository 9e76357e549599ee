import type { Random } from "../../base/random.ts";
import type { Cluster } from "./cluster.ts";
import type { Faults } from "./faults.ts";
import { CALM, type Weather } from "./network.ts";
import { between, chance, pick } from "./random.ts";
import { type DoorFaults, STORE } from "./store-door.ts";

/** Faults begin within this, counted from the boot; then everything heals. */
export const FAULTS_MS = 40_000;

/**
 * Every fault that the nemesis knows, by the name under which it is counted. One that never acts over many seeds makes the
 * run fail: a nemesis that has lost its teeth would go unnoticed otherwise.
 */
export const FAULT_KINDS = [
  "crash engine",
  "crash orchestrator",
  "crash worker",
  "crash worker and disk",
  "host gone engine",
  "host gone orchestrator",
  "host gone worker",
  "host gone worker and disk",
  "crash before a store call",
  "crash after a store call",
  "drain engine",
  "drain orchestrator",
  "drain worker",
  "freeze",
  "freeze beyond the lease",
  "partition one way",
  "partition both ways",
  "isolation one way",
  "isolation both ways",
  "partition from the store one way",
  "partition from the store both ways",
  "connections cut",
  "clock jump",
  "store clock jump",
  "store rolled back",
  "takeover rolled back",
  "store away",
  "answer lost",
  "request duplicated",
  "store call lost",
  "store answer lost",
  "hint lost",
  "hint twice",
  "pod refused",
  "platform away",
] as const;

type Planned = { atMs: number; strike: (faults: Faults) => void };

/** What the seed does to its cluster: the weather all the time, and some blows at their moments. */
export function unleash(cluster: Cluster, faults: Faults, random: Random): void {
  cluster.network.weather = drawWeather(random);
  cluster.doorFaults = drawDoorFaults(random);
  const plan = Array.from({ length: between(random, 0, 6) }, () => drawBlow(cluster, random));
  for (const { atMs, strike } of plan) cluster.timeline.after(atMs, () => cluster.calm || strike(faults));
  cluster.timeline.after(FAULTS_MS, () => faults.heal());
}

function drawWeather(random: Random): Weather {
  const toMs = pick(random, [0.5, 2, 2, 30]);
  return {
    ...CALM,
    toMs,
    slow: pick(random, [0, 0.01, 0.1]),
    slowMs: pick(random, [50, 1_000, 6_000]),
    duplicated: pick(random, [0, 0, 0.02, 0.2]),
    lost: pick(random, [0, 0, 0.02, 0.1]),
  };
}

function drawDoorFaults(random: Random): DoorFaults {
  const share = (): number => pick(random, [0, 0, 0.01, 0.05]);
  return { failBefore: share(), failAfter: share(), hintLost: pick(random, [0, 0, 0.2, 1]), hintTwice: share() };
}

type Blow = (cluster: Cluster, random: Random) => Planned["strike"];

const BLOWS: readonly [weight: number, blow: Blow][] = [
  [3, crash],
  [3, crashAtCall],
  [2, drain],
  [3, freeze],
  [3, partition],
  [1, cut],
  [1, jumpClock],
  [1, rollBack],
  [2, rollBackTakeover],
  [1, storeAway],
];

function drawBlow(cluster: Cluster, random: Random): Planned {
  const total = BLOWS.reduce((sum, [weight]) => sum + weight, 0);
  let left = random.float() * total;
  const [, blow] = BLOWS.find(([weight]) => (left -= weight) < 0) ?? BLOWS[0] ?? [0, crash];
  // Most of what is worth striking happens early.
  const atMs = Math.floor(random.float() ** 1.5 * (FAULTS_MS - 2_000));
  return { atMs, strike: blow(cluster, random) };
}

function crash(cluster: Cluster, random: Random): Planned["strike"] {
  const target = anyNode(cluster, random);
  const withDisk = chance(random, 0.5);
  const how = { backMs: backMs(random), silently: chance(random, 0.3) };
  return (faults) => {
    const name = target();
    faults.crash(name, { ...how, loseDisk: withDisk && cluster.node(name).role === "worker" });
  };
}

function crashAtCall(cluster: Cluster, random: Random): Planned["strike"] {
  const name = pick(random, [...cluster.names("engine"), ...cluster.names("engine"), ...cluster.names("orchestrator")]);
  const when = chance(random, 0.5) ? "before" : "after";
  const how = { calls: between(random, 1, 25), when, backMs: backMs(random) } as const;
  return (faults) => faults.crashAtCall(name, how);
}

function drain(cluster: Cluster, random: Random): Planned["strike"] {
  const target = anyNode(cluster, random);
  const back = backMs(random);
  return (faults) => faults.drain(target(), back);
}

function freeze(cluster: Cluster, random: Random): Planned["strike"] {
  const target = anyNode(cluster, random);
  const forMs = chance(random, 0.6) ? between(random, 10_000, 25_000) : between(random, 50, 9_999);
  const withHost = chance(random, 0.5);
  return (faults) => faults.freeze(target(), { forMs, withHost });
}

function partition(cluster: Cluster, random: Random): Planned["strike"] {
  const [target, other] = [anyNode(cluster, random), anyNode(cluster, random)];
  const what = pick(random, ["node", "node", "store", "store", "all", "all"] as const);
  const forMs = between(random, 100, 25_000);
  const bothWays = chance(random, 0.5);
  const turned = chance(random, 0.5);
  return (faults) => {
    const from = target();
    // A worker has nothing to do with the store.
    const farStore = what === "store" && cluster.node(from).role !== "worker";
    const to = what === "all" ? "*" : farStore ? STORE : other();
    if (from !== to) faults.partition(turned ? to : from, turned ? from : to, { forMs, bothWays });
  };
}

function cut(cluster: Cluster, random: Random): Planned["strike"] {
  const target = anyNode(cluster, random);
  const share = pick(random, [0.3, 1]);
  return (faults) => faults.cut(target(), share);
}

function jumpClock(cluster: Cluster, random: Random): Planned["strike"] {
  if (chance(random, 0.3)) {
    const aheadMs = pick(random, [500, 5_000, 15_000, 60_000]);
    return (faults) => faults.jumpStoreClock(aheadMs);
  }
  const target = anyNode(cluster, random);
  const byMs = pick(random, [-3_600_000, -15_000, -1_000, 1_000, 15_000, 3_600_000]);
  return (faults) => faults.jumpClock(target(), byMs);
}

function rollBack(_cluster: Cluster, random: Random): Planned["strike"] {
  const lostMs = pick(random, [1, 20, 200, 2_000]) * random.float();
  return (faults) => faults.rollBack(lostMs);
}

function rollBackTakeover(cluster: Cluster, random: Random): Planned["strike"] {
  const dead = pick(random, cluster.names("engine"));
  const back = backMs(random);
  // The next owner takes over when the lease of 10 s is over; what is late arrives while it settles in.
  const how = { forMs: between(random, 9_000, 14_000), frozen: chance(random, 0.3) };
  return (faults) => {
    faults.crash(dead, { backMs: back });
    faults.rollBackTakeover(how);
  };
}

function storeAway(_cluster: Cluster, random: Random): Planned["strike"] {
  const forMs = between(random, 500, 20_000);
  return (faults) => faults.storeAway(forMs);
}

/** Chosen among those that there are when it strikes: pods come and go. */
function anyNode(cluster: Cluster, random: Random): () => string {
  const role = pick(random, ["engine", "engine", "worker", "worker", "orchestrator"] as const);
  const draw = random.float();
  return () => {
    const names = cluster.names(role);
    return names[Math.floor(draw * names.length)] ?? "engine-1";
  };
}

function backMs(random: Random): number {
  return pick(random, [50, 1_000, 8_000, 20_000]) * (0.5 + random.float());
}
