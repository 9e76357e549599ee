import semver from "semver";
import { HodeiError } from "./errors.ts";
import { LIMITS } from "./limits.ts";

/**
 * Label expressions: what a step asks of a worker's labels. A recursive descent over the grammar
 *
 *   or   = and { "||" and }          range = semver range; compact forms stand bare (node@>=20, node@^20.1, node@20.x),
 *   and  = not { "&&" not }                  with spaces it takes quotes ("node@>=18 <21")
 *   not  = "!" not | "(" or ")" | atom
 *   atom = name [ "@" range ] | quoted atom
 *
 * rejecting with a position what it does not read. (The seed's split on "&&" dropped `!label` and ran the job on just
 * the workers it was meant to avoid.)
 */
export type LabelExpression =
  | { kind: "label"; name: string }
  /** A version of a tool: matches an offered `name@version` within the semver range. */
  | { kind: "version"; name: string; range: string }
  | { kind: "not"; term: LabelExpression }
  /** Two or more terms, none of them of the same kind: `a && (b && c)` is one list of three. */
  | { kind: "and" | "or"; terms: LabelExpression[] };

/** Of parentheses and negations. More is not written by people, and recursion must have a bound. */
const MAX_DEPTH = 32;
const ATOM_CHARACTER = /[A-Za-z0-9._:/+-]/;
const RANGE_CHARACTER = /[A-Za-z0-9.*^~<>=+-]/;
const BARE_NAME = /^[A-Za-z0-9._:/+-]+$/;
const BARE_RANGE = /^[A-Za-z0-9.*^~<>=+-]+$/;

type TokenKind = "and" | "or" | "not" | "open" | "close" | "atom" | "end";
type Token = { kind: TokenKind; start: number; end: number; atom?: LabelExpression };

/** Parses, or throws INVALID_ARGUMENT with the column (from 1) in `facts.column` and a caret under it in the message. */
export function parseLabel(text: string): LabelExpression {
  if (typeof text !== "string") throw new HodeiError("INVALID_ARGUMENT", "a label expression must be a text");
  checkLength(text);
  const tokens = tokensOf(text);
  const state = { text, tokens, next: 0, depth: 0 };
  const expression = parseTerms(state, "or");
  const rest = peek(state);
  if (rest.kind === "close") fail(text, rest.start, 'this ")" closes nothing');
  if (rest.kind !== "end") fail(text, rest.start, 'expected "&&" or "||" before this');
  // The canonical form has more spaces, and it must parse again wherever it is stored.
  checkLength(formatLabel(expression));
  return expression;
}

function checkLength(text: string): void {
  if (text.length <= LIMITS.labelExpressionLength) return;
  throw new HodeiError(
    "INVALID_ARGUMENT",
    `a label expression holds at most ${LIMITS.labelExpressionLength} characters, this one has ${text.length}`,
    { field: "label" },
  );
}

type ParserState = { text: string; tokens: Token[]; next: number; depth: number };

function parseTerms(state: ParserState, kind: "and" | "or"): LabelExpression {
  const terms: LabelExpression[] = [];
  for (;;) {
    const term = kind === "or" ? parseTerms(state, "and") : parseNot(state);
    if (term.kind === kind) terms.push(...term.terms);
    else terms.push(term);
    if (peek(state).kind !== kind) break;
    state.next += 1;
  }
  const [only] = terms;
  return terms.length === 1 && only !== undefined ? only : { kind, terms };
}

function parseNot(state: ParserState): LabelExpression {
  const token = peek(state);
  state.next += 1;
  switch (token.kind) {
    case "atom":
      if (token.atom !== undefined) return token.atom;
      break;
    case "not":
    case "open": {
      if ((state.depth += 1) > MAX_DEPTH) fail(state.text, token.start, `nests deeper than ${MAX_DEPTH}`);
      const inner = token.kind === "not" ? parseNot(state) : parseTerms(state, "or");
      if (token.kind === "open" && peek(state).kind !== "close") {
        const at = peek(state);
        fail(
          state.text,
          at.kind === "end" ? token.start : at.start,
          at.kind === "end" ? 'this "(" is never closed' : 'expected "&&", "||" or ")" before this',
        );
      }
      if (token.kind === "open") state.next += 1;
      state.depth -= 1;
      return token.kind === "not" ? { kind: "not", term: inner } : inner;
    }
    case "and":
    case "or":
    case "close":
    case "end":
  }
  const before = state.tokens[state.next - 2];
  const place = before === undefined ? "" : ` after ${JSON.stringify(state.text.slice(before.start, before.end))}`;
  return fail(state.text, token.start, `expected a label${place}`);
}

/** The last token is always `end`, so reading past it is reading it again. */
function peek(state: ParserState): Token {
  return state.tokens[state.next] ?? { kind: "end", start: state.text.length, end: state.text.length };
}

const SIGNS: Record<string, TokenKind> = { "&&": "and", "||": "or", "!": "not", "(": "open", ")": "close" };

function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (at < text.length) {
    const character = text[at] ?? "";
    if (/\s/.test(character)) {
      at += 1;
      continue;
    }
    const sign = [text.slice(at, at + 2), character].find((candidate) => SIGNS[candidate] !== undefined);
    const kind = sign === undefined ? undefined : SIGNS[sign];
    const token: Token =
      sign !== undefined && kind !== undefined
        ? { kind, start: at, end: at + sign.length }
        : character === '"' || character === "'"
          ? quotedAtom(text, at)
          : bareAtom(text, at);
    tokens.push(token);
    at = token.end;
  }
  return tokens;
}

function bareAtom(text: string, start: number): Token {
  let end = start;
  while (ATOM_CHARACTER.test(text[end] ?? "")) end += 1;
  const character = text[end] ?? "";
  if (end === start) {
    const hint = character === "&" || character === "|" ? `, write "${character}${character}"` : "";
    fail(
      text,
      start,
      character === "@" ? 'expected a name before "@"' : `unexpected ${JSON.stringify(character)}${hint}`,
    );
  }
  const name = text.slice(start, end);
  if (character !== "@") return { kind: "atom", start, end, atom: { kind: "label", name } };
  const rangeStart = end + 1;
  end = rangeStart;
  while (RANGE_CHARACTER.test(text[end] ?? "")) end += 1;
  const range = rangeOf(text, text.slice(rangeStart, end), rangeStart);
  return { kind: "atom", start, end, atom: { kind: "version", name, range } };
}

/** Either quote; a backslash takes the next character as it is. The first "@" inside parts name and range. */
function quotedAtom(text: string, start: number): Token {
  const quote = text[start];
  let value = "";
  let at = start + 1;
  for (; at < text.length && text[at] !== quote; at += 1) {
    if (text[at] === "\\") at += 1;
    value += text[at] ?? "";
  }
  if (at >= text.length) fail(text, start, "this quote is never closed");
  const end = at + 1;
  const parting = value.indexOf("@");
  const name = (parting < 0 ? value : value.slice(0, parting)).trim();
  if (name === "") fail(text, start, "a label cannot be empty");
  if (hasControlCharacter(value)) fail(text, start, "a label cannot hold control characters");
  if (parting < 0) return { kind: "atom", start, end, atom: { kind: "label", name } };
  const range = rangeOf(text, value.slice(parting + 1), start);
  return { kind: "atom", start, end, atom: { kind: "version", name, range } };
}

function rangeOf(text: string, written: string, at: number): string {
  const range = written.trim().replace(/\s+/g, " ");
  if (range === "") fail(text, at, 'expected a version range after "@"');
  if (semver.validRange(range) === null) {
    fail(text, at, `${JSON.stringify(range)} is no semver range; try >=20, ^20.1, 20.x, or "name@>=18 <21" in quotes`);
  }
  return range;
}

function hasControlCharacter(value: string): boolean {
  for (const character of value) if (character < " " || character === "\u007f") return true;
  return false;
}

function fail(text: string, at: number, why: string): never {
  // Tabs and newlines would move the caret away from its column.
  const line = text.replace(/\s/g, " ");
  throw new HodeiError(
    "INVALID_ARGUMENT",
    `label expression, column ${at + 1}: ${why}\n  ${line}\n  ${" ".repeat(at)}^`,
    {
      field: "label",
      facts: { column: String(at + 1) },
    },
  );
}

/** The one canonical way to write `expression`: parses back to the same, formats to itself. */
export function formatLabel(expression: LabelExpression): string {
  switch (expression.kind) {
    case "label":
      return BARE_NAME.test(expression.name) ? expression.name : quoted(expression.name);
    case "version": {
      const bare = BARE_NAME.test(expression.name) && BARE_RANGE.test(expression.range);
      const whole = `${expression.name}@${expression.range}`;
      return bare ? whole : quoted(whole);
    }
    case "not":
      return `!${enclosed(expression.term, "not")}`;
    case "and":
    case "or": {
      const terms = expression.terms.map((term) => enclosed(term, expression.kind));
      return terms.join(expression.kind === "and" ? " && " : " || ");
    }
  }
}

function enclosed(term: LabelExpression, within: "and" | "or" | "not"): string {
  const needs = term.kind === "or" ? within !== "or" : term.kind === "and" && within === "not";
  return needs ? `(${formatLabel(term)})` : formatLabel(term);
}

function quoted(text: string): string {
  return `"${text.replace(/["\\]/g, (character) => `\\${character}`)}"`;
}

/** Whether a worker with these labels will do. `node` is met by "node" and by "node@20.11.1", a range by the latter. */
export function labelMatches(expression: LabelExpression, labels: string[]): boolean {
  switch (expression.kind) {
    case "label":
      return labels.some((label) => label === expression.name || label.startsWith(`${expression.name}@`));
    case "version":
      return offeredVersions(expression.name, labels).some((version) => versionMatches(version, expression.range));
    case "not":
      return !labelMatches(expression.term, labels);
    case "and":
      return expression.terms.every((term) => labelMatches(term, labels));
    case "or":
      return expression.terms.some((term) => labelMatches(term, labels));
  }
}

function offeredVersions(name: string, labels: string[]): string[] {
  return labels.filter((label) => label.startsWith(`${name}@`)).map((label) => label.slice(name.length + 1));
}

/** Tools rarely speak semver ("17", "3.8", "24.0.7-ce"), so an offer is read as leniently as possible: 17 is 17.0.0. */
function versionMatches(offered: string, range: string): boolean {
  const version = semver.parse(offered, { loose: true }) ?? semver.coerce(offered);
  return version !== null && semver.satisfies(version, range, { includePrerelease: true, loose: true });
}

/** Why a worker with these labels will not do, in a few words; undefined when it will. */
export function labelFailure(expression: LabelExpression, labels: string[]): string | undefined {
  if (labelMatches(expression, labels)) return undefined;
  switch (expression.kind) {
    case "label":
      return `no label ${formatLabel(expression)}`;
    case "version": {
      const versions = offeredVersions(expression.name, labels);
      if (versions.length > 0) return `${expression.name} is ${versions.join(", ")}, not ${expression.range}`;
      return labels.includes(expression.name)
        ? `the version of ${expression.name} is not known`
        : `no label ${expression.name}`;
    }
    case "not":
      return `${formatLabel(expression.term)} is excluded`;
    case "and": {
      const failures = expression.terms.map((term) => labelFailure(term, labels));
      return failures.filter((failure) => failure !== undefined).join(", ");
    }
    case "or":
      return expression.terms.map((term) => labelFailure(term, labels)).join(" and ");
  }
}

/** A seed style offer: a name, a hyphen, a dotted number. `kubernetes-deploy` is a name, not a version of kubernetes. */
const SEED_STYLE = /^([A-Za-z][A-Za-z0-9._:/+-]*)-(\d+(?:\.\d+)*)$/;

/** Adds to each `name-1.2` what it also says: `name` and `name@1.2`. Order kept, nothing twice. */
export function widenLabels(labels: string[]): string[] {
  const widened = labels.flatMap((label) => {
    const [, name, version] = SEED_STYLE.exec(label) ?? [];
    return name === undefined || version === undefined ? [label] : [label, name, `${name}@${version}`];
  });
  return [...new Set(widened)];
}

/**
 * For an evaluator with a stack and no parser (a store's script): operands first, then their operator. An operand is
 * "=label" or "@name range", an operator "!", "&" or "|", the two last taking two operands.
 */
export function labelPostfix(expression: LabelExpression): string[] {
  switch (expression.kind) {
    case "label":
      return [`=${expression.name}`];
    case "version":
      return [`@${expression.name} ${expression.range}`];
    case "not":
      return [...labelPostfix(expression.term), "!"];
    case "and":
    case "or": {
      const operator = expression.kind === "and" ? "&" : "|";
      return expression.terms.flatMap((term, index) =>
        index === 0 ? labelPostfix(term) : [...labelPostfix(term), operator],
      );
    }
  }
}
