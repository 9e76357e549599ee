import { BinaryWriter } from "@bufbuild/protobuf/wire";
import { HodeiError } from "../../../workflow/errors.ts";
import type { Json, JsonObject } from "../../../workflow/json.ts";
import type { Api } from "../../transport.ts";

/**
 * Between a port type and its bytes. Plain object mapping: where a port type and the generated one have the same shape
 * the object is passed on as it is. `decode` throws INVALID_ARGUMENT with the field where bytes are well formed but a
 * value is missing or unknown, and whatever the reader throws where they are not.
 */
export type Codec<T> = { encode(value: T): Buffer; decode(bytes: Buffer): T };

export type MethodCodec<Method> = Method extends { type: infer Type; request: infer Request; response: infer Response }
  ? { type: Type; path: string; request: Codec<Request>; response: Codec<Response> }
  : never;

export type ServiceCodec<S extends keyof Api> = {
  /** As health and reflection name it, e.g. "hodei.v1.WorkerService". */
  name: string;
  methods: { [M in keyof Api[S]]: MethodCodec<Api[S][M]> };
};

/** What ts-proto generates for a message. */
type WireType<W> = { encode(message: W, writer?: BinaryWriter): BinaryWriter; decode(bytes: Uint8Array): W };
type Definition = { readonly path: string; readonly requestStream: boolean; readonly responseStream: boolean };

export function codec<T, W>(wire: WireType<W>, toWire: (value: T) => W, fromWire: (message: W) => T): Codec<T> {
  return {
    encode: (value) => written(wire, toWire(value)),
    decode: (bytes) => fromWire(wire.decode(bytes)),
  };
}

/**
 * One for all messages: a fresh one grows by doubling from nothing, which was two thirds of an encoding (an acknowledgement
 * 2.4 → 0.8 µs). A large message gets its own, lest its room stays taken. Nothing is encoded while something is.
 */
let writer = new BinaryWriter();
const KEPT_BYTES = 64 * 1024;

function written<W>(wire: WireType<W>, message: W): Buffer {
  try {
    const bytes = wire.encode(message, writer).finish();
    if (bytes.length > KEPT_BYTES) writer = new BinaryWriter();
    return viewOf(bytes);
  } catch (error) {
    writer = new BinaryWriter();
    throw error;
  }
}

/** The same bytes as a Buffer, which is what grpc-js and the generated code want: not a copy. */
export function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** For messages whose two types have the same shape. */
export function sameShape<T>(wire: WireType<T>): Codec<T> {
  return codec(wire, same, same);
}

export function same<T>(value: T): T {
  return value;
}

/** For messages without fields. */
export function empty(wire: WireType<object>): Codec<Record<string, never>> {
  return codec<Record<string, never>, object>(wire, same, () => ({}));
}

export function unary<Q, A>(definition: Definition, request: Codec<Q>, response: Codec<A>) {
  return { type: "unary" as const, path: definition.path, request, response };
}

export function stream<Q, A>(definition: Definition, request: Codec<Q>, response: Codec<A>) {
  return { type: "stream" as const, path: definition.path, request, response };
}

export function duplex<Q, A>(definition: Definition, request: Codec<Q>, response: Codec<A>) {
  return { type: "duplex" as const, path: definition.path, request, response };
}

/** The message inside `field` must be there; proto3 cannot say so itself. */
export function required<T>(value: T | undefined, field: string): T {
  if (value === undefined) throw new HodeiError("INVALID_ARGUMENT", `${field} is missing`, { field });
  return value;
}

export function optional<T, W>(value: T | undefined, map: (value: T) => W): W | undefined {
  return value === undefined ? undefined : map(value);
}

type Enumeration<Name extends string, W extends number> = {
  toWire: (name: Name) => W;
  fromWire: (value: number) => Name;
  /** Unset (0) is absent. */
  fromWireOptional: (value: number | undefined) => Name | undefined;
};

/** Names ↔ numbers of one enum. Names of untyped callers and numbers of newer peers are refused, naming `field`. */
export function enumeration<Name extends string, W extends number>(
  field: string,
  numbers: Record<Name, W>,
): Enumeration<Name, W> {
  const names = new Map<number, Name>();
  for (const name of Object.keys(numbers) as Name[]) names.set(numbers[name], name);
  const refuse = (found: string): HodeiError =>
    new HodeiError("INVALID_ARGUMENT", `${field} is ${found}, not one of ${[...names.values()].join(", ")}`, { field });
  const fromWire = (value: number): Name => {
    const name = names.get(value);
    if (name === undefined) throw refuse(value === 0 ? "not set" : `unknown (${value})`);
    return name;
  };
  return {
    toWire: (name) => {
      if (!Object.hasOwn(numbers, name)) throw refuse(JSON.stringify(name) ?? "missing");
      return numbers[name];
    },
    fromWire,
    fromWireOptional: (value) => (value === undefined || value === 0 ? undefined : fromWire(value)),
  };
}

/** For fields that hold any JSON value as text. */
export function parseJson(text: string, field: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (error) {
    throw new HodeiError("INVALID_ARGUMENT", `${field} is not JSON: ${(error as Error).message}`, {
      field,
      cause: error,
    });
  }
}

/** For fields that hold a JSON object as text; empty text is an empty object. */
export function parseJsonObject(text: string, field: string): JsonObject {
  const value = text === "" ? {} : parseJson(text, field);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new HodeiError("INVALID_ARGUMENT", `${field} is not a JSON object`, { field });
}
