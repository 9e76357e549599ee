import { describe, expect, it } from "vitest";
import type { Definition } from "./definition.ts";
import { HodeiError } from "./errors.ts";
import { LIMITS } from "./limits.ts";
import { definitionOf, digestOf } from "./load.ts";
import { closureLock, directDependencies } from "./lock.ts";
import type { Resolve } from "./lock.ts";
import { pickVersion } from "./version.ts";

/** `name@version` and the workflows it starts; each becomes a step w0, w1, …, the last one under finally. */
function definition(name: string, version: string, ...children: string[]): Definition {
  const starts = children.map((workflow, index) => [`w${index}`, { workflow }] as const);
  return definitionOf({
    apiVersion: "hodei.dev/v1",
    kind: "Workflow",
    metadata: { name, version },
    spec: {
      steps: { first: { run: name }, ...Object.fromEntries(starts.slice(0, 2)) },
      finally: Object.fromEntries(starts.slice(2)),
    },
  });
}

function registry(...published: Definition[]): Resolve & { asked: string[] } {
  const asked: string[] = [];
  const resolve: Resolve = (name, range) => {
    asked.push(`${name} ${range}`);
    const named = published.filter((one) => one.name === name);
    const version = pickVersion({ versions: named.map((one) => one.version), channels: { stable: "1.0.0" } }, range);
    const found = named.find((one) => one.version === version);
    return found === undefined ? undefined : { version: found.version, digest: digestOf(found), definition: found };
  };
  return Object.assign(resolve, { asked });
}

describe("the closure lock", () => {
  it("pins everything that can be reached, each name and range once and as written", () => {
    const leaf = definition("leaf", "1.2.0");
    const old = definition("leaf", "1.0.0");
    const middle = definition("middle", "3.0.0", "leaf@^1", "leaf");
    const root = definition("root", "1.0.0", "middle@>=2", "leaf@^1");
    const resolve = registry(leaf, old, middle);
    const { lock, definitions } = closureLock(root, resolve);
    expect(lock.entries).toEqual({
      "middle >=2": { name: "middle", version: "3.0.0", digest: digestOf(middle) },
      "leaf ^1": { name: "leaf", version: "1.2.0", digest: digestOf(leaf) },
      "leaf ": { name: "leaf", version: "1.0.0", digest: digestOf(old) },
    });
    expect(definitions.map((one) => `${one.name}@${one.version}`)).toEqual([
      "root@1.0.0",
      "middle@3.0.0",
      "leaf@1.2.0",
      "leaf@1.0.0",
    ]);
    expect(resolve.asked.toSorted()).toEqual(["leaf ", "leaf ^1", "middle >=2"]);
  });

  it("ends where definitions start themselves or each other", () => {
    const self = definition("self", "1.0.0", "self@^1");
    expect(closureLock(self, registry(self)).definitions).toEqual([self]);
    const ping = definition("ping", "1.0.0", "pong");
    const pong = definition("pong", "1.0.0", "ping");
    const { lock, definitions } = closureLock(ping, registry(ping, pong));
    expect(Object.keys(lock.entries)).toEqual(["pong ", "ping "]);
    expect(definitions).toEqual([ping, pong]);
  });

  it("of a definition without children is empty", () => {
    const alone = definition("alone", "1.0.0");
    expect(closureLock(alone, registry())).toEqual({ lock: { entries: {} }, definitions: [alone] });
  });

  it("names the step, its definition and the range that nothing satisfies", () => {
    const middle = definition("middle", "1.0.0", "other", "other", "leaf@^9");
    const other = definition("other", "1.0.0");
    const build = (): unknown => closureLock(definition("root", "1.0.0", "middle"), registry(middle, other));
    expect(build).toThrow('step "w2" of middle@1.0.0 needs leaf@^9, and no published version is that');
    expect(build).toThrow(
      expect.objectContaining({
        code: "NO_SUCH_VERSION",
        field: "spec.finally.w2.workflow",
        facts: expect.objectContaining({ name: "leaf", range: "^9" }),
      }),
    );
  });

  it("is bounded", () => {
    let next = 0;
    // Each one starts another that nobody saw before.
    const endless: Resolve = (name) => {
      next += 1;
      const made = definition(name, "1.0.0", `n${next}`);
      return { version: "1.0.0", digest: digestOf(made), definition: made };
    };
    expect(() => closureLock(definition("root", "1.0.0", "n0"), endless)).toThrow(HodeiError);
    expect(next).toBeLessThanOrEqual(LIMITS.closure + 1);
  });

  it("direct dependencies are listed step by step", () => {
    expect(directDependencies(definition("root", "1.0.0", "a@^1", "b", "a@stable"))).toEqual([
      { name: "a", range: "^1", step: "w0" },
      { name: "b", range: "", step: "w1" },
      { name: "a", range: "stable", step: "w2" },
    ]);
  });
});
