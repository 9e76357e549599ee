import { createFileRegistry, fromBinary, ScalarType } from "@bufbuild/protobuf";
import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import fc from "fast-check";
import { descriptorSet } from "../../proto/gen/descriptor.ts";

/**
 * Messages with any values, made from the descriptors and not from our types: what a client in another language may send.
 * A value is an object by field name, so that a failure is readable; `encode` makes its bytes.
 */
export type Fields = { [field: string]: unknown };

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(descriptorSet, "base64")));

/** Every method that proto/ describes, with its path on the wire. */
export const METHODS: readonly { path: string; method: DescMethod }[] = Array.from(registry)
  .filter((desc) => desc.kind === "service")
  .flatMap(({ typeName, methods }) => methods.map((method) => ({ path: `/${typeName}/${method.name}`, method })));

/** Texts for a field of this name that mean something to the server, or nearly so. */
export type Words = (field: string) => fc.Arbitrary<string>;

export function fieldsOf(desc: DescMessage, words: Words, depth = 0): fc.Arbitrary<Fields> {
  const fields = desc.fields.filter((field) => depth < 4 || messageIn(field) === undefined);
  const all = Object.fromEntries(fields.map((field) => [field.name, valueOf(field, words, depth)]));
  return fc.record(all, { requiredKeys: [] });
}

function valueOf(field: DescField, words: Words, depth: number): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case "scalar":
      return scalarOf(field.scalar, words(field.name));
    case "enum":
      return ENUMS;
    case "message":
      return fieldsOf(field.message, words, depth + 1);
    case "list": {
      const message = messageIn(field);
      const one =
        message === undefined
          ? field.listKind === "scalar"
            ? scalarOf(field.scalar, words(field.name))
            : ENUMS
          : fieldsOf(message, words, depth + 1);
      const many = fc.tuple(one, fc.nat(300)).map(([value, count]) => Array<unknown>(count).fill(value));
      return fc.oneof({ weight: 9, arbitrary: fc.array(one, { maxLength: 3 }) }, many);
    }
    case "map": {
      const message = messageIn(field);
      const value = message === undefined ? words(field.name) : fieldsOf(message, words, depth + 1);
      return fc.array(fc.tuple(words(field.name), value), { maxLength: 4 });
    }
    default:
      return field satisfies never;
  }
}

function messageIn(field: DescField): DescMessage | undefined {
  return "message" in field ? field.message : undefined;
}

/** Mostly what a sound client sends: a message with ten odd values says little about any of them. */
function mostly<T>(usual: fc.Arbitrary<T>, ...odd: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 9, arbitrary: usual }, { weight: 1, arbitrary: fc.constantFrom(...odd) });
}

const ENUMS = mostly(fc.integer({ min: 0, max: 3 }), -1, 99, 2 ** 31 - 1, -(2 ** 31));
const INTS = mostly(fc.integer({ min: 0, max: 10 }), -1, 1000, 2 ** 31 - 1, -(2 ** 31));
const LONGS = mostly(
  fc.integer({ min: 0, max: 10 }).map(BigInt),
  -1n,
  2n ** 31n,
  2n ** 53n,
  2n ** 53n - 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
);

function scalarOf(type: ScalarType, words: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return words;
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 64 });
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return mostly(fc.double({ min: 0, max: 100, noNaN: true }), Number.NaN, Infinity, -1, 5e-324);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return LONGS;
    default:
      return INTS;
  }
}

export function encode(desc: DescMessage, fields: Fields): Buffer {
  const writer = new BinaryWriter();
  writeFields(writer, desc, fields);
  return Buffer.from(writer.finish());
}

function writeFields(writer: BinaryWriter, desc: DescMessage, fields: Fields): void {
  for (const field of desc.fields) {
    const value = fields[field.name];
    if (value === undefined) continue;
    switch (field.fieldKind) {
      case "list":
        for (const one of value as unknown[]) writeOne(writer, field.number, field, one);
        break;
      case "map":
        for (const [key, one] of value as [string, unknown][]) {
          writer.tag(field.number, WireType.LengthDelimited).fork();
          writer.tag(1, WireType.LengthDelimited).string(key);
          writeOne(writer, 2, field, one);
          writer.join();
        }
        break;
      default:
        writeOne(writer, field.number, field, value);
    }
  }
}

function writeOne(writer: BinaryWriter, number: number, field: DescField, value: unknown): void {
  const message = messageIn(field);
  if (message !== undefined) {
    writer.tag(number, WireType.LengthDelimited).fork();
    writeFields(writer, message, value as Fields);
    writer.join();
  } else if (typeof value === "string") writer.tag(number, WireType.LengthDelimited).string(value);
  else if (value instanceof Uint8Array) writer.tag(number, WireType.LengthDelimited).bytes(value);
  else if (typeof value === "bigint") writer.tag(number, WireType.Varint).int64(value);
  else if (typeof value === "boolean") writer.tag(number, WireType.Varint).bool(value);
  else if ("scalar" in field && field.scalar === ScalarType.DOUBLE)
    writer.tag(number, WireType.Bit64).double(value as number);
  else writer.tag(number, WireType.Varint).int32(value as number);
}
