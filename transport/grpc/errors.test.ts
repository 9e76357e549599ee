import { status as Status } from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BadRequest, ErrorInfo, RetryInfo } from "../../proto/gen/google/rpc/error_details.ts";
import { Status as RpcStatus } from "../../proto/gen/google/rpc/status.ts";
import type { ErrorCode } from "../../workflow/errors.ts";
import { ERROR_CODES, HodeiError } from "../../workflow/errors.ts";
import { fromStatus, STATUS_CODES, toStatus } from "./errors.ts";

const CODES = Object.keys(ERROR_CODES) as ErrorCode[];
const text = (maxLength: number) => fc.string({ unit: "grapheme", maxLength });
const key = fc.string({ minLength: 1, maxLength: 12 }).filter((of) => of !== "__proto__");
const position = fc.option(fc.integer({ min: 1, max: 100_000 }), { nil: undefined });

const violation = fc.record({
  path: text(20),
  message: fc.oneof(
    text(30),
    text(10).map((of) => `[${of}] x`),
    text(10).map((of) => `[a:1:2] ${of}`),
  ),
  file: fc.option(
    fc.oneof(
      text(10).filter((of) => of !== ""),
      fc.constantFrom("a]b", "c:\\d", "50%25", "x:1"),
    ),
    { nil: undefined },
  ),
  line: position,
  column: position,
});

const smallError = fc
  .record({
    code: fc.constantFrom(...CODES),
    message: text(100),
    field: fc.option(text(20), { nil: undefined }),
    hint: fc.option(text(20), { nil: undefined }),
    facts: fc.dictionary(fc.oneof(key, fc.constantFrom("field", "hint", "fact.x", "fact.field")), text(20), {
      maxKeys: 4,
      noNullPrototype: true,
    }),
    violations: fc.array(violation, { maxLength: 4 }),
  })
  .map(({ code, message, ...details }) => new HodeiError(code, message, details));

const shape = ({ code, message, field, hint, facts, violations }: HodeiError): object => ({
  code,
  message,
  field,
  hint,
  facts,
  violations,
});

function detailsOf(error: HodeiError): { bytes: Buffer; types: string[]; status: RpcStatus } {
  const [bytes] = toStatus(error).metadata.get("grpc-status-details-bin");
  if (!(bytes instanceof Buffer)) throw new Error("no details");
  const status = RpcStatus.decode(bytes);
  return { bytes, status, types: status.details.map((detail) => detail.typeUrl) };
}

describe("errors as gRPC status", () => {
  it("come back as they were", () => {
    fc.assert(
      fc.property(smallError, (error) => {
        expect(shape(fromStatus(toStatus(error), "a:1"))).toEqual(shape(error));
      }),
    );
  });

  it("have a status for every code", () => {
    for (const code of CODES) {
      const status = toStatus(new HodeiError(code, "x"));
      expect(status.code).toBe(STATUS_CODES[code]);
      expect(status.code).not.toBe(Status.OK);
      expect(status.code).not.toBe(Status.UNKNOWN);
    }
  });

  it("carry google.rpc details that any client can read", () => {
    const error = new HodeiError("INVALID_DEFINITION", "1 violation", {
      field: "spec",
      hint: "see line 3",
      facts: { name: "greet" },
      violations: [{ path: "spec.steps.a", message: "unknown step b", file: "ci.yaml", line: 3, column: 7 }],
    });
    const { status, types } = detailsOf(error);
    expect(types).toEqual(["type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.BadRequest"]);
    expect(ErrorInfo.decode(status.details[0]?.value ?? Buffer.alloc(0))).toEqual({
      reason: "INVALID_DEFINITION",
      domain: "hodei.dev",
      metadata: { field: "spec", hint: "see line 3", name: "greet" },
    });
    expect(BadRequest.decode(status.details[1]?.value ?? Buffer.alloc(0))).toEqual({
      fieldViolations: [{ field: "spec.steps.a", description: "[ci.yaml:3:7] unknown step b" }],
    });
  });

  it("say when to try again where that can help, and only there", () => {
    for (const code of CODES) {
      const retryable = detailsOf(new HodeiError(code, "x")).types.includes("type.googleapis.com/google.rpc.RetryInfo");
      expect([code, retryable]).toEqual([code, code === "UNAVAILABLE" || code === "RESOURCE_EXHAUSTED"]);
    }
    const { status } = detailsOf(new HodeiError("RESOURCE_EXHAUSTED", "x", { facts: { retryAfterMs: "2500" } }));
    expect(RetryInfo.decode(status.details[1]?.value ?? Buffer.alloc(0)).retryDelay).toEqual({
      seconds: 2,
      nanos: 500_000_000,
    });
  });

  it("stay within what a trailer may hold, and count what they left out", () => {
    const long = "ñ".repeat(5000);
    const error = new HodeiError("INVALID_DEFINITION", long, {
      hint: long,
      facts: { kept: "yes", long },
      violations: Array.from({ length: 1000 }, (_, line) => ({ path: `spec.${line}`, message: "bad", line: line + 1 })),
    });
    const { bytes } = detailsOf(error);
    expect(bytes.toString("base64").length + encodeURI(toStatus(error).details).length).toBeLessThan(8 * 1024);
    const back = fromStatus(toStatus(error), "a:1");
    expect(back.code).toBe("INVALID_DEFINITION");
    expect(back.facts["kept"]).toBe("yes");
    expect(back.violations.length).toBeGreaterThan(20);
    expect(back.violations).toEqual(error.violations.slice(0, back.violations.length));
    expect(Number(back.facts["omitted"])).toBe(1000 - back.violations.length + 2);
  });

  it("survive half a surrogate pair", () => {
    const back = fromStatus(toStatus(new HodeiError("NOT_FOUND", "a\uD800b")), "a:1");
    expect(back).toMatchObject({ code: "NOT_FOUND", message: "a\uFFFDb" });
    expect(() => encodeURI(toStatus(new HodeiError("NOT_FOUND", "a\uD800b")).details)).not.toThrow();
  });
});

describe("a status without our details", () => {
  const bare = (code: Status, details: string, metadata = new Metadata()): HodeiError =>
    fromStatus({ code, details, metadata }, "10.0.0.7:50052");

  it("keeps what the status says", () => {
    expect(bare(Status.NOT_FOUND, "no")).toMatchObject({ code: "NOT_FOUND", message: "no" });
    expect(bare(Status.UNKNOWN, "?")).toMatchObject({ code: "INTERNAL" });
    expect(bare(Status.UNIMPLEMENTED, "no method")).toMatchObject({ code: "UNIMPLEMENTED" });
    expect(bare(Status.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs 8)").code).toBe("TOO_LARGE");
    expect(bare(Status.RESOURCE_EXHAUSTED, "quota").code).toBe("RESOURCE_EXHAUSTED");
  });

  it("is evidence of death for a refused connection alone", () => {
    const address = "10.0.0.7:50052";
    expect(bare(Status.UNAVAILABLE, "Last error: Error: connect ECONNREFUSED 10.0.0.7:50052").facts).toEqual({
      address,
      evidence: "refused",
    });
    expect(bare(Status.UNAVAILABLE, "Connection dropped").facts).toEqual({ address });
    expect(bare(Status.CANCELLED, "Call cancelled")).toMatchObject({ code: "UNAVAILABLE", facts: { address } });
  });

  it("is not confused by a foreign trailer of the same name", () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([0xff, 0xff, 0xff]));
    expect(bare(Status.NOT_FOUND, "no", metadata)).toMatchObject({ code: "NOT_FOUND", message: "no" });
  });

  it("of a newer peer's unknown code falls back on the status", () => {
    const status = toStatus(new HodeiError("NOT_FOUND", "gone"));
    const info = ErrorInfo.encode({ reason: "FROM_THE_FUTURE", domain: "hodei.dev", metadata: {} }).finish();
    const details = [{ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value: Buffer.from(info) }];
    status.metadata.set(
      "grpc-status-details-bin",
      Buffer.from(RpcStatus.encode({ code: status.code, message: "gone", details }).finish()),
    );
    expect(fromStatus(status, "a:1")).toMatchObject({ code: "NOT_FOUND", message: "gone" });
  });
});
