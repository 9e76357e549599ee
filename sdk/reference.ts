import { HodeiError } from "../workflow/errors.ts";

/**
 * A value that is known only when the execution runs: `input.who`, `hello.outputs.greeting`. It is written into the
 * definition as `${{ path }}`; property access makes a longer path. Inside a template literal it becomes its
 * expression, so that `Hello ${input.who}` reads as it will run.
 */
export type Ref<T> = RefMark<T> &
  ([T] extends [object] ? { readonly [K in keyof T]-?: Ref<Exclude<T[K], undefined>> } : unknown);

declare const carried: unique symbol;
type RefMark<T> = { readonly [carried]: T; toString(): string };

/** A value, a reference to one, or a structure that holds references. */
export type Value<T> =
  | T
  | Ref<T>
  | (T extends string ? string : never)
  | (T extends readonly (infer E)[]
      ? readonly Value<E>[]
      : T extends object
        ? { readonly [K in keyof T]: Value<T[K]> }
        : never);

/** What a structure of values comes to at run time. */
export type Resolved<V> =
  V extends RefMark<infer T>
    ? T
    : V extends string | number | boolean | null
      ? V extends string
        ? string
        : V
      : { -readonly [K in keyof V]: Resolved<V[K]> };

const EXPRESSION = Symbol("expression");

/** A proxy whose properties extend the path. Only CEL-safe names are written with a dot. */
export function reference<T>(expression: string): Ref<T> {
  const target = { [EXPRESSION]: expression };
  const text = (): string => `\${{ ${expression} }}`;
  const proxy: object = new Proxy(target, {
    get(_, key) {
      if (key === EXPRESSION) return expression;
      if (key === Symbol.toPrimitive || key === "toString" || key === "toJSON" || key === "valueOf") return text;
      if (typeof key === "symbol") return undefined;
      // A reference must not look like a promise, or `await` would take it for one.
      if (key === "then") return undefined;
      if (/^\d+$/.test(key)) return reference(`${expression}[${key}]`);
      return reference(/^[A-Za-z_]\w*$/.test(key) ? `${expression}.${key}` : `${expression}[${JSON.stringify(key)}]`);
    },
    set() {
      throw new HodeiError(
        "INVALID_DEFINITION",
        `${expression} is known only when the execution runs; it cannot be assigned`,
      );
    },
  });
  return proxy as Ref<T>;
}

/** The CEL text of a reference, or undefined for anything else. */
export function expressionOf(value: unknown): string | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const text = (value as { [EXPRESSION]?: unknown })[EXPRESSION];
  return typeof text === "string" ? text : undefined;
}

/** Replaces every reference within by its `${{ }}` text. */
export function plain(value: unknown): unknown {
  const expression = expressionOf(value);
  if (expression !== undefined) return `\${{ ${expression} }}`;
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, inner]) => (inner === undefined ? [] : [[key, plain(inner)]])),
  );
}

/** Ids of the steps that expressions anywhere within `value` refer to. */
export function referredSteps(value: unknown): Set<string> {
  const text = JSON.stringify(plain(value)) ?? "";
  const found = new Set<string>();
  for (const match of text.matchAll(/\bsteps(?:\.([A-Za-z_]\w*)|\[\\?"([^"\\]+)\\?"\])/g))
    found.add((match[1] ?? match[2]) as string);
  return found;
}

/** A condition or computed value in CEL: expr`${hello.outputs.count} > 3`. References inside become their paths. */
export function expr<T = unknown>(parts: TemplateStringsArray, ...values: unknown[]): Ref<T> {
  const text = parts.reduce((whole, part, at) => {
    if (at === 0) return part;
    const value = values[at - 1];
    return `${whole}${expressionOf(value) ?? JSON.stringify(value)}${part}`;
  }, "");
  return reference<T>(text.trim());
}
