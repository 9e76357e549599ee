import { HodeiError } from "../../workflow/errors.ts";
import type { RegistryRecord, RegistryStore } from "../store.ts";
import { recall, remember } from "./operations.ts";
import type { RegistryRow } from "./rows.ts";
import type { State } from "./state.ts";

type Request<Name extends keyof RegistryStore> = Parameters<RegistryStore[Name]>[0];

const EMPTY: RegistryRow = { revision: 0, channels: {} };

export function readRegistry(state: State, namespace: string): RegistryRecord {
  const { revision, channels } = state.registries.get(namespace) ?? EMPTY;
  const definitions = [...state.definitions.values()].filter((row) => row.namespace === namespace);
  return { revision, channels, definitions: definitions.map(({ record }) => record) };
}

/**
 * `channels` replaces the channels of the workflows it names (none: forgotten). Errors: ALREADY_EXISTS when `put` names
 * a published version under another digest.
 */
export function writeRegistry(
  state: State,
  { opId, namespace, expectedRevision, put, remove, channels }: Request<"write">,
): { status: "OK" | "DUPLICATE" | "CONFLICT"; revision: number } {
  const first = recall(state, opId, "registry");
  if (first !== undefined) return { status: "DUPLICATE", revision: first.revision };
  const current = state.registries.get(namespace) ?? EMPTY;
  if (current.revision !== expectedRevision) return { status: "CONFLICT", revision: current.revision };
  const key = put === undefined ? "" : `${namespace}/${put.name}@${put.version}`;
  const published = state.definitions.get(key)?.record;
  if (put !== undefined && published !== undefined && published.digest !== put.digest) {
    throw new HodeiError("ALREADY_EXISTS", `${put.name}@${put.version} is published with another digest`);
  }

  if (put !== undefined) {
    const { body, ...record } = put;
    state.definitions.set(key, { namespace, record });
    state.journal.put("definitions", key, { namespace, record });
    state.cold.putBody(`${namespace}/${put.digest}`, body);
  }
  if (remove !== undefined) removeDefinition(state, namespace, remove);
  const merged = Object.entries({ ...current.channels, ...channels }).filter(([, of]) => Object.keys(of).length > 0);
  const row = { revision: expectedRevision + 1, channels: Object.fromEntries(merged) };
  state.registries.set(namespace, row);
  state.journal.put("registries", namespace, row);
  remember(state, opId, { kind: "registry", revision: row.revision });
  state.hints.give({ kind: "registry", namespace }, { kind: "changed" });
  return { status: "OK", revision: row.revision };
}

/** Its body goes too, unless another version has the same text. Running executions have their own copies. */
function removeDefinition(state: State, namespace: string, { name, version }: { name: string; version: string }): void {
  const key = `${namespace}/${name}@${version}`;
  const digest = state.definitions.get(key)?.record.digest;
  if (digest === undefined) return;
  state.definitions.delete(key);
  state.journal.remove("definitions", key);
  for (const other of state.definitions.values()) {
    if (other.namespace === namespace && other.record.digest === digest) return;
  }
  state.cold.removeBody(`${namespace}/${digest}`);
}

export function readBody(state: State, { namespace, digest }: Request<"body">): string | undefined {
  return state.cold.body(`${namespace}/${digest}`);
}

export function nextRunNumber(state: State, { opId, namespace, name }: Request<"nextRunNumber">): number {
  const first = recall(state, opId, "runNumber");
  if (first !== undefined) return first.value;
  const key = `${namespace}/${name}`;
  const value = state.cold.counter(key) + 1;
  state.cold.setCounter(key, value);
  remember(state, opId, { kind: "runNumber", value });
  return value;
}

/** After a number was given that the counter does not know any more. */
export function raiseRunNumber(
  state: State,
  { namespace, name }: Pick<Request<"nextRunNumber">, "namespace" | "name">,
  given: number,
): void {
  const key = `${namespace}/${name}`;
  if (state.cold.counter(key) < given) state.cold.setCounter(key, given);
}
