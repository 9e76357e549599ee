import { LIMITS } from "./limits.ts";

/**
 * Regular expressions in time linear to the text: RE2 syntax without captures, run as a set of states that advances one
 * character at a time (Thompson). JavaScript's own RegExp backtracks, so `matches("(a+)+$")` on 30 letters stops an
 * engine for seconds; refusing "dangerous" patterns was rejected, no syntactic rule catches all of them.
 */
export type Pattern = { readonly program: readonly Instruction[]; readonly foldCase: boolean };

/** A pattern that cannot be read; `at` counts from 0. */
export class PatternError extends Error {
  override readonly name = "PatternError";
  readonly at: number;

  constructor(message: string, at: number) {
    super(message);
    this.at = at;
  }
}

type Range = readonly [number, number];
type Assertion = "start" | "end" | "word" | "notWord";
type Syntax =
  | { kind: "set"; ranges: readonly Range[]; negated: boolean }
  | { kind: "assert"; assertion: Assertion }
  | { kind: "sequence" | "choice"; parts: Syntax[] }
  | { kind: "repeat"; part: Syntax; min: number; max: number };

type Instruction =
  | { op: "set"; ranges: readonly Range[]; negated: boolean }
  | { op: "assert"; assertion: Assertion }
  /** Go on at both. */
  | { op: "split"; first: number; second: number }
  | { op: "jump"; to: number }
  | { op: "match" };

/** `x{1000}` writes x a thousand times, so the program is bounded beside the text. Empty groups count too. */
const MAX_EMITTED = 2000;
const MAX_GROUPS = 32;
/** Looking at an instruction takes 9 ns, a step of the evaluator about 100. */
const VISITS_PER_STEP = 10;
const LAST_CODE_POINT = 0x10ffff;

const DIGITS: Range[] = [[48, 57]];
const WORD: Range[] = [
  [48, 57],
  [65, 90],
  [95, 95],
  [97, 122],
];
const SPACES: Range[] = [
  [9, 10],
  [12, 13],
  [32, 32],
];
const CLASSES: Record<string, { ranges: Range[]; negated: boolean }> = {
  d: { ranges: DIGITS, negated: false },
  D: { ranges: DIGITS, negated: true },
  w: { ranges: WORD, negated: false },
  W: { ranges: WORD, negated: true },
  s: { ranges: SPACES, negated: false },
  S: { ranges: SPACES, negated: true },
};
const CONTROLS: Record<string, number> = { t: 9, n: 10, v: 11, f: 12, r: 13, a: 7 };

type Reader = { text: string[]; at: number; groups: number };

/** Throws PatternError. A leading `(?i)` ignores the case of ASCII letters. */
export function parsePattern(text: string): Pattern {
  if (text.length > LIMITS.patternLength) throw new PatternError(`longer than ${LIMITS.patternLength}`, 0);
  const foldCase = text.startsWith("(?i)");
  const reader: Reader = { text: Array.from(text), at: foldCase ? 4 : 0, groups: 0 };
  const syntax = readChoice(reader);
  if (reader.at < reader.text.length) throw new PatternError('a ")" closes nothing', reader.at);
  const writer: Writer = { program: [], emitted: 0 };
  emit(syntax, writer);
  writer.program.push({ op: "match" });
  return { program: writer.program, foldCase };
}

function readChoice(reader: Reader): Syntax {
  const parts = [readSequence(reader)];
  while (reader.text[reader.at] === "|") {
    reader.at += 1;
    parts.push(readSequence(reader));
  }
  return { kind: "choice", parts };
}

function readSequence(reader: Reader): Syntax {
  const parts: Syntax[] = [];
  for (;;) {
    const character = reader.text[reader.at];
    if (character === undefined || character === "|" || character === ")") return { kind: "sequence", parts };
    parts.push(readRepeat(reader, readAtom(reader, character)));
  }
}

function readRepeat(reader: Reader, part: Syntax): Syntax {
  const start = reader.at;
  const bounds = readBounds(reader);
  if (bounds === undefined) return part;
  // Laziness chooses between matches; whether there is one does not depend on it.
  if (reader.text[reader.at] === "?") reader.at += 1;
  const next = reader.text[reader.at];
  if (next === "*" || next === "+" || next === "?") throw new PatternError("a repetition of a repetition", reader.at);
  if (part.kind === "assert") throw new PatternError("nothing to repeat", start);
  return { kind: "repeat", part, ...bounds };
}

function readBounds(reader: Reader): { min: number; max: number } | undefined {
  const simple = { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] }[reader.text[reader.at] ?? ""];
  if (simple !== undefined) {
    reader.at += 1;
    return { min: simple[0] ?? 0, max: simple[1] ?? 0 };
  }
  const counted = /^\{(\d{1,4})(?:(,)(\d{1,4})?)?\}/.exec(reader.text.slice(reader.at, reader.at + 12).join(""));
  if (counted === null) return undefined;
  const min = Number(counted[1]);
  const max = counted[2] === undefined ? min : counted[3] === undefined ? Infinity : Number(counted[3]);
  if (max < min) throw new PatternError("the bounds are the wrong way round", reader.at);
  reader.at += counted[0].length;
  return { min, max };
}

function readAtom(reader: Reader, character: string): Syntax {
  const start = reader.at;
  reader.at += 1;
  switch (character) {
    case ".":
      return { kind: "set", ranges: [[10, 10]], negated: true };
    case "^":
      return { kind: "assert", assertion: "start" };
    case "$":
      return { kind: "assert", assertion: "end" };
    case "[":
      return readSet(reader);
    case "(":
      return readGroup(reader, start);
    case "*":
    case "+":
    case "?":
      throw new PatternError("nothing to repeat", start);
    case "\\":
      return readEscape(reader);
    default:
      return single(character.codePointAt(0) ?? 0);
  }
}

function readGroup(reader: Reader, start: number): Syntax {
  if ((reader.groups += 1) > MAX_GROUPS) throw new PatternError(`more than ${MAX_GROUPS} groups`, start);
  if (reader.text[reader.at] === "?") {
    if (reader.text[reader.at + 1] !== ":") {
      throw new PatternError("only (?:…) and a leading (?i) are known; lookaround and names are not", start);
    }
    reader.at += 2;
  }
  const inner = readChoice(reader);
  if (reader.text[reader.at] !== ")") throw new PatternError('this "(" is never closed', start);
  reader.at += 1;
  return inner;
}

function readEscape(reader: Reader): Syntax {
  const character = reader.text[reader.at];
  if (character === "b" || character === "B") {
    reader.at += 1;
    return { kind: "assert", assertion: character === "b" ? "word" : "notWord" };
  }
  const known = CLASSES[character ?? ""];
  if (known === undefined) return single(readEscapedCharacter(reader));
  reader.at += 1;
  return { kind: "set", ...known };
}

function readEscapedCharacter(reader: Reader): number {
  const start = reader.at - 1;
  const character = reader.text[reader.at];
  reader.at += 1;
  if (character === undefined) throw new PatternError("a backslash at the end", start);
  const control = CONTROLS[character];
  if (control !== undefined) return control;
  if (character === "x") {
    const digits = reader.text.slice(reader.at, reader.at + 2).join("");
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw new PatternError("\\x takes two hex digits", start);
    reader.at += 2;
    return Number.parseInt(digits, 16);
  }
  if (/[A-Za-z0-9]/.test(character)) throw new PatternError(`\\${character} is not known`, start);
  return character.codePointAt(0) ?? 0;
}

function readSet(reader: Reader): Syntax {
  const start = reader.at - 1;
  const negated = reader.text[reader.at] === "^";
  if (negated) reader.at += 1;
  const ranges: Range[] = [];
  for (let first = true; first || reader.text[reader.at] !== "]"; first = false) {
    const low = readSetMember(reader, start);
    if (typeof low !== "number") ranges.push(...low);
    else if (reader.text[reader.at] === "-" && ![undefined, "]"].includes(reader.text[reader.at + 1])) {
      reader.at += 1;
      const high = readSetMember(reader, start);
      if (typeof high !== "number" || high < low) throw new PatternError("a range the wrong way round", start);
      ranges.push([low, high]);
    } else ranges.push([low, low]);
  }
  reader.at += 1;
  return { kind: "set", ranges, negated };
}

function readSetMember(reader: Reader, start: number): number | Range[] {
  const character = reader.text[reader.at];
  if (character === undefined) throw new PatternError('this "[" is never closed', start);
  reader.at += 1;
  if (character !== "\\") return character.codePointAt(0) ?? 0;
  const known = CLASSES[reader.text[reader.at] ?? ""];
  if (known === undefined) return readEscapedCharacter(reader);
  reader.at += 1;
  return known.negated ? complement(known.ranges) : known.ranges;
}

/** Of ascending ranges that do not touch. */
function complement(ranges: readonly Range[]): Range[] {
  const gaps: Range[] = [];
  let next = 0;
  for (const [low, high] of ranges) {
    if (low > next) gaps.push([next, low - 1]);
    next = high + 1;
  }
  gaps.push([next, LAST_CODE_POINT]);
  return gaps;
}

function single(codePoint: number): Syntax {
  return { kind: "set", ranges: [[codePoint, codePoint]], negated: false };
}

type Writer = { program: Instruction[]; emitted: number };

function emit(syntax: Syntax, writer: Writer): void {
  if ((writer.emitted += 1) > MAX_EMITTED) throw new PatternError("its repetitions make it too large", 0);
  switch (syntax.kind) {
    case "set":
      writer.program.push({ op: "set", ranges: syntax.ranges, negated: syntax.negated });
      return;
    case "assert":
      writer.program.push({ op: "assert", assertion: syntax.assertion });
      return;
    case "sequence":
      for (const part of syntax.parts) emit(part, writer);
      return;
    case "choice":
      emitChoice(syntax.parts, writer);
      return;
    case "repeat":
      emitRepeat(syntax, writer);
  }
}

function emitChoice(parts: Syntax[], writer: Writer): void {
  const { program } = writer;
  const jumps: { op: "jump"; to: number }[] = [];
  for (const [index, part] of parts.entries()) {
    if (index === parts.length - 1) {
      emit(part, writer);
      break;
    }
    const split = emitSplit(writer);
    emit(part, writer);
    const jump = { op: "jump" as const, to: 0 };
    program.push(jump);
    jumps.push(jump);
    split.second = program.length;
  }
  for (const jump of jumps) jump.to = program.length;
}

function emitRepeat({ part, min, max }: Extract<Syntax, { kind: "repeat" }>, writer: Writer): void {
  const { program } = writer;
  for (let count = 0; count < min; count += 1) emit(part, writer);
  if (max === Infinity) {
    const start = program.length;
    const split = emitSplit(writer);
    emit(part, writer);
    program.push({ op: "jump", to: start });
    split.second = program.length;
    return;
  }
  const exits: { second: number }[] = [];
  for (let count = min; count < max; count += 1) {
    exits.push(emitSplit(writer));
    emit(part, writer);
  }
  for (const exit of exits) exit.second = program.length;
}

/** Goes on behind itself, or at `second`, which the caller sets. */
function emitSplit({ program }: Writer): { second: number } {
  const split = { op: "split" as const, first: program.length + 1, second: 0 };
  program.push(split);
  return split;
}

/** Whether `text` holds a match anywhere. `spend` pays for every state visited. */
export function patternMatches(pattern: Pattern, text: string, spend: (steps: number) => void): boolean {
  const { program } = pattern;
  let current: number[] = [];
  let before: number | undefined;
  const seen = new Int32Array(program.length).fill(-1);
  let position = 0;
  for (let offset = 0; offset <= text.length; position += 1) {
    const here = text.codePointAt(offset);
    // Starting anew at each position is what makes it a search; states already there are not entered twice.
    current.push(0);
    const { sets, visited } = closure(program, current, { before, here, position, seen });
    if (sets === undefined) return true;
    if (here === undefined) return false;
    current = [];
    let work = 1 + Math.floor(visited / VISITS_PER_STEP);
    for (const state of sets) {
      const instruction = program[state];
      if (instruction?.op !== "set") continue;
      work += 1 + (instruction.ranges.length >> 2);
      if (accepts(instruction, here, pattern.foldCase)) current.push(state + 1);
    }
    spend(work);
    before = here;
    offset += here > 0xffff ? 2 : 1;
  }
  return false;
}

/**
 * The set instructions reachable without reading a character, undefined when `match` is among what is reached; and how
 * many instructions were looked at on the way, which empty alternatives can make thousands.
 */
function closure(
  program: readonly Instruction[],
  from: number[],
  at: { before: number | undefined; here: number | undefined; position: number; seen: Int32Array },
): { sets: number[] | undefined; visited: number } {
  const sets: number[] = [];
  const open = from;
  let visited = 0;
  for (let state = open.pop(); state !== undefined; state = open.pop()) {
    visited += 1;
    if (at.seen[state] === at.position) continue;
    at.seen[state] = at.position;
    const instruction = program[state];
    switch (instruction?.op) {
      case "match":
        return { sets: undefined, visited };
      case "set":
        sets.push(state);
        break;
      case "jump":
        open.push(instruction.to);
        break;
      case "split":
        open.push(instruction.first, instruction.second);
        break;
      case "assert":
        if (holds(instruction.assertion, at.before, at.here)) open.push(state + 1);
        break;
      case undefined:
    }
  }
  return { sets, visited };
}

function holds(assertion: Assertion, before: number | undefined, here: number | undefined): boolean {
  if (assertion === "start") return before === undefined;
  if (assertion === "end") return here === undefined;
  return (isWord(before) !== isWord(here)) === (assertion === "word");
}

function isWord(codePoint: number | undefined): boolean {
  return codePoint !== undefined && within(WORD, codePoint);
}

function accepts(instruction: Extract<Instruction, { op: "set" }>, codePoint: number, foldCase: boolean): boolean {
  const letter = codePoint | 32;
  const hasCase = foldCase && letter >= 97 && letter <= 122;
  const found = within(instruction.ranges, codePoint) || (hasCase && within(instruction.ranges, codePoint ^ 32));
  return found !== instruction.negated;
}

function within(ranges: readonly Range[], codePoint: number): boolean {
  return ranges.some(([low, high]) => codePoint >= low && codePoint <= high);
}
