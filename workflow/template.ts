import { HodeiError } from "./errors.ts";

/** A text with expressions, taken apart: what stands as it is, and what stands between `${{` and `}}`. */
export type Piece = { kind: "text"; text: string } | { kind: "expression"; expression: string; at: number };

/**
 * `$${{` stands for a literal `${{`. The `}}` that ends an expression is the first one outside of the expression's own
 * string literals and braces, so `${{ {"a": {"b": 1}} }}` and `${{ "}}" }}` are what they look like.
 * Throws INVALID_EXPRESSION when an expression is never closed or empty.
 */
export function piecesOf(template: string): Piece[] {
  const pieces: Piece[] = [];
  let text = "";
  let at = 0;
  for (;;) {
    const open = template.indexOf("${{", at);
    if (open < 0) break;
    if (open > at && template[open - 1] === "$") {
      text += `${template.slice(at, open - 1)}\${{`;
      at = open + 3;
      continue;
    }
    text += template.slice(at, open);
    const close = closeOf(template, open + 3);
    const expression = template.slice(open + 3, close).trim();
    if (expression === "") throw invalid(template, open, "is empty");
    if (text !== "") pieces.push({ kind: "text", text });
    pieces.push({ kind: "expression", expression, at: open });
    text = "";
    at = close + 2;
  }
  text += template.slice(at);
  if (text !== "" || pieces.length === 0) pieces.push({ kind: "text", text });
  return pieces;
}

/** The expression when the text is one whole expression, which keeps its type; else undefined. */
export function wholeExpression(template: string): string | undefined {
  const [piece, more] = template.startsWith("${{") ? piecesOf(template) : [];
  return piece?.kind === "expression" && more === undefined ? piece.expression : undefined;
}

function closeOf(template: string, start: number): number {
  let depth = 0;
  for (let at = start; at < template.length; at += 1) {
    const character = template[at];
    if (character === '"' || character === "'") at = endOfLiteral(template, at, character);
    else if (character === "{") depth += 1;
    else if (character === "}" && depth > 0) depth -= 1;
    else if (character === "}" && template[at + 1] === "}") return at;
  }
  throw invalid(template, start - 3, 'has no closing "}}"');
}

/** Index of the last quote of the literal that starts at `at`; a literal that does not end runs to the end. */
function endOfLiteral(template: string, at: number, quote: string): number {
  const triple = quote.repeat(3);
  const delimiter = template.startsWith(triple, at) ? triple : quote;
  for (let next = at + delimiter.length; next < template.length; next += 1) {
    if (template[next] === "\\") next += 1;
    else if (template.startsWith(delimiter, next)) return next + delimiter.length - 1;
  }
  return template.length;
}

function invalid(template: string, at: number, why: string): HodeiError {
  const shown = template.slice(at, at + 40);
  return new HodeiError("INVALID_EXPRESSION", `the expression at column ${at + 1}, ${JSON.stringify(shown)}, ${why}`, {
    hint: "a literal ${{ is written $${{",
    facts: { column: String(at + 1) },
  });
}
