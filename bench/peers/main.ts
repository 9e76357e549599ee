import { inspect, parseArgs } from "node:util";
import { endOnSignals } from "../cluster.ts";
import { now } from "../measure.ts";
import { machine, othersFromNow } from "../report.ts";
import { linesOf, type Measured, type Rounds, tablesOf } from "./comparison.ts";
import { startDbos } from "./dbos.ts";
import type { Order } from "./driver.ts";
import { startHodei } from "./hodei.ts";
import type { Peer, PeerCpu } from "./peer.ts";
import { startRestate } from "./restate.ts";

/**
 * `npm --prefix bench/peers run bench [-- --rounds 5] [--only dbos] [-o json]`: see README.md here. All systems are
 * started once and wait while another is measured; every round goes through all of them, each time another one first.
 */
const STARTS: Readonly<Record<string, () => Promise<Peer>>> = {
  hodei: startHodei,
  dbos: () => startDbos(),
  restate: () => startRestate(),
};
const BASE = "hodei";

const ORDERS: readonly Order[] = [
  { work: "three-step", count: 6_000, width: 64, mostMs: 3_000 },
  { work: "one-step", count: 1_000, width: 1, mostMs: 1_500 },
];
/** Shorter ones, for compilers, connections and pools. */
const WARM_UPS = 2;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string", multiple: true },
    output: { type: "string", short: "o", default: "table" },
  },
});
const rounds = Number(values.rounds);
const names = [...new Set([BASE, ...(values.only ?? Object.keys(STARTS))])];
const unknown = names.filter((name) => !Object.hasOwn(STARTS, name));
const given = Number.isInteger(rounds) && rounds >= 1 && rounds <= 20 && /^(table|json)$/.test(values.output);

if (unknown.length > 0 || !given) {
  const usage = "npm --prefix bench/peers run bench -- [--rounds 1…20] [--only dbos|restate]… [-o table|json]";
  process.stderr.write(`usage: ${usage}\n`);
  process.exitCode = 2;
} else process.exitCode = await run();

async function run(): Promise<number> {
  endOnSignals();
  const startedAt = now();
  const others = othersFromNow();
  const peers: Peer[] = [];
  let failed = 0;
  try {
    for (const name of names) {
      try {
        peers.push(await (STARTS[name] as () => Promise<Peer>)());
      } catch (error) {
        // The others still compare.
        failed += 1;
        process.stderr.write(`${name} cannot be run here: ${inspect(error)}\n`);
      }
    }
    const measured = await interleaved(peers);
    const lines = linesOf(measured, BASE);
    if (values.output === "json") for (const line of lines) process.stdout.write(`${JSON.stringify(line)}\n`);
    else process.stdout.write(`${machine()}, ${rounds} rounds, ${others()}\n\n${tablesOf(lines, BASE)}`);
  } finally {
    for (const peer of peers) await peer.stop();
  }
  process.stderr.write(`took ${Math.round((now() - startedAt) / 1000)} s\n`);
  return failed > 0 ? 1 : 0;
}

async function interleaved(peers: readonly Peer[]): Promise<Rounds> {
  const measured: Rounds = { "three-step": {}, "one-step": {} };
  for (let time = 0; time < WARM_UPS; time += 1)
    for (const peer of peers) for (const order of ORDERS) await peer.run({ ...order, mostMs: order.mostMs / 2 });
  for (let round = 0; round < rounds; round += 1) {
    for (let place = 0; place < peers.length; place += 1) {
      const peer = peers[(place + round) % peers.length] as Peer;
      for (const order of ORDERS) (measured[order.work][peer.name] ??= []).push(await once(peer, order));
    }
    process.stderr.write(`round ${round + 1} of ${rounds}\n`);
  }
  return measured;
}

async function once(peer: Peer, order: Order): Promise<Measured> {
  const writesBefore = await peer.writes();
  const before = peer.cpu();
  const report = await peer.run(order);
  const after = peer.cpu();
  const each = (part: keyof PeerCpu): number => (after[part] - before[part]) / report.count;
  const cpu = { driver: each("driver"), server: each("server"), workers: each("workers") };
  return { ...report, cpu, writes: ((await peer.writes()) - writesBefore) / report.count };
}
