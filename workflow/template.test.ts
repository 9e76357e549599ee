import { describe, expect, it } from "vitest";
import { piecesOf, wholeExpression } from "./template.ts";

const text = (value: string): object => ({ kind: "text", text: value });
const expression = (value: string, at: number): object => ({ kind: "expression", expression: value, at });

describe("piecesOf", () => {
  it.each([
    ["plain", [text("plain")]],
    ["", [text("")]],
    ["${{ a }}", [expression("a", 0)]],
    ["x ${{ a }}${{b}} y", [text("x "), expression("a", 2), expression("b", 10), text(" y")]],
    ["$${{ a }}", [text("${{ a }}")]],
    ["$$${{ a }}", [text("$${{ a }}")]],
    ["$${{ ${{ a }}", [text("${{ "), expression("a", 5)]],
    ["$ ${ {{ }} $x", [text("$ ${ {{ }} $x")]],
    ['${{ "}}" }}', [expression('"}}"', 0)]],
    ["${{ '}}\\'}}' + \"}\" }}", [expression("'}}\\'}}' + \"}\"", 0)]],
    ['${{ """a "}}" b""" }}!', [expression('"""a "}}" b"""', 0), text("!")]],
    ['${{ {"a": {"b": 1}} }}', [expression('{"a": {"b": 1}}', 0)]],
    ['${{{"a": {"b": 1}}}}', [expression('{"a": {"b": 1}}', 0)]],
  ])("takes %j apart", (template, pieces) => expect(piecesOf(template)).toEqual(pieces));

  it.each([
    ["a ${{ b", 'column 3, "${{ b", has no closing "}}"'],
    ['${{ "}} ', "has no closing"],
    ["${{ {a }}", "has no closing"],
    ["${{  }}", "is empty"],
  ])("refuses %j", (template, words) => {
    expect(() => piecesOf(template)).toThrow(
      expect.objectContaining({ code: "INVALID_EXPRESSION", message: expect.stringContaining(words) }),
    );
  });
});

describe("wholeExpression", () => {
  it.each([
    ["${{ a }}", "a"],
    ["${{ a }} ", undefined],
    [" ${{ a }}", undefined],
    ["${{ a }}${{ b }}", undefined],
    ["$${{ a }}", undefined],
    ["a", undefined],
  ])("of %j is %s", (template, whole) => expect(wholeExpression(template)).toBe(whole));
});
