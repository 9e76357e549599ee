import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { EXIT, exitCodeOf } from "../../cmd/exit.ts";
import { STATUS_CODES } from "../../transport/grpc/errors.ts";
import { ERROR_CODES, type ErrorCode, HodeiError } from "../../workflow/errors.ts";
import { schemaOf } from "../schema.ts";
import { read, table } from "./pages.ts";

const page = read("docs/errors.md");
const rows = table(page, "Codes");
const codes = Object.keys(ERROR_CODES) as ErrorCode[];

describe("docs/errors.md", () => {
  it("has every code with its meaning, in the order of the code", () => {
    expect(rows.map(([code, meaning]) => [code, meaning])).toEqual(Object.entries(ERROR_CODES));
  });

  it("says what to do for each", () => {
    expect(rows.filter(([, , action = ""]) => action === "")).toEqual([]);
  });

  it("maps codes to the status that a gRPC client sees", () => {
    const seen = codes.map((code) => [code, status[STATUS_CODES[code]]]);
    expect(rows.map(([code, , , name]) => [code, name])).toEqual(seen);
  });

  it("maps codes to the exit code of the command", () => {
    const exits = codes.map((code) => [code, String(exitCodeOf(new HodeiError(code, "x")))]);
    expect(rows.map(([code, , , , exit]) => [code, exit])).toEqual(exits);
  });

  it("has every exit code", () => {
    const listed = table(page, "Exit codes").map(([code]) => Number(code));
    expect(listed).toEqual(Object.values(EXIT).toSorted((a, b) => a - b));
  });

  it.each(["error", "execution", "history"] as const)("agrees with the schema %s", (name) => {
    expect(schemaOf(name).$defs?.["code"]).toMatchObject({ enum: codes });
  });
});
