import type { Random } from "../../../base/random.ts";
import type { MakeWorkload, Workload } from "../run.ts";
import { runClients } from "./clients.ts";
import { drawFamilies, type Families } from "./definitions.ts";
import { diceOf } from "./dice.ts";
import { HANDLERS, handlersOf } from "./handlers.ts";
import { type Action, type Client, drawClients } from "./script.ts";

/** Everything that a seed decided about definitions and clients, as data. */
export type Drawn = { families: Families; clients: Client[] };

/** `linux` is what every simulated worker offers, `big` what some do, `gpu` what none does: such a step fails in its time. */
const LABELS = ["linux", "linux", "big", "linux && big", "!big", "gpu"] as const;

export function drawWorkload(random: Random): Drawn {
  const dice = diceOf(random);
  const families = drawFamilies(dice, { labels: LABELS, handlers: HANDLERS });
  return { families, clients: drawClients(dice, families) };
}

export const makeWorkload: MakeWorkload = (random): Workload => {
  const { families, clients } = drawWorkload(random);
  return {
    words: wordsOf({ families, clients }),
    handlers: handlersOf,
    run: (site) => runClients(site, families, clients),
  };
};

function wordsOf({ families, clients }: Drawn): string[] {
  const definitions = [...families.children, ...families.roots].flatMap(({ first, next, stable }) => [
    `published at first${stable ? " as stable" : ""}: ${JSON.stringify(first)}`,
    ...(next === undefined ? [] : [`published in the middle: ${JSON.stringify(next)}`]),
  ]);
  const actions = clients.flatMap(({ name, actions: all }) => all.map((action) => ({ name, action })));
  actions.sort((a, b) => a.action.atMs - b.action.atMs);
  return [...definitions, ...actions.map(({ name, action }) => `${action.atMs} ms ${name}: ${words(action)}`)];
}

function words({ atMs: _atMs, ...action }: Action): string {
  if (action.do !== "publish" && action.do !== "plan") return JSON.stringify(action);
  const { name, version } = action.document.metadata;
  return `${action.do} ${name}@${version}`;
}
