import { HodeiError } from "../../workflow/errors.ts";
import type { OperationRow, SettledToken, StoredAnswer } from "./rows.ts";
import type { State } from "./state.ts";

/**
 * The first answer to an operation id, while it is among the newest REMEMBERED.operations. Errors: INVALID_ARGUMENT
 * when the id was used for another kind of call.
 */
export function recall<Kind extends StoredAnswer["kind"]>(
  state: State,
  opId: string,
  kind: Kind,
): Extract<StoredAnswer, { kind: Kind }> | undefined {
  const answer = state.operations.get(opId);
  if (answer === undefined) return undefined;
  if (isOf(answer, kind)) return answer;
  throw new HodeiError("INVALID_ARGUMENT", `operation id ${opId} was used for another call (${answer.kind})`, {
    field: "opId",
  });
}

function isOf<Kind extends StoredAnswer["kind"]>(
  answer: StoredAnswer,
  kind: Kind,
): answer is Extract<StoredAnswer, { kind: Kind }> {
  return answer.kind === kind;
}

/** Only for calls that wrote something: repeating one that did not is harmless, and then costs no commit. */
export function remember(state: State, opId: string, answer: StoredAnswer, settled: SettledToken[] = []): void {
  const row = { order: state.order++, opId, answer, settled };
  // Numbered one by one, so that an adapter forgets the oldest by number, without a write of its own for each.
  state.journal.put("operations", String(state.operationNumber), row);
  state.operationNumber += 1;
  keep(state, row);
}

/**
 * For a call that wrote nothing and would write if it were repeated when things have changed: an acquire that got nothing
 * would take shards that nobody knows of. Without a write: sessions end with the process that remembers it.
 */
export function rememberHere(state: State, opId: string, answer: StoredAnswer): void {
  state.operations.set(opId, answer);
}

function keep(state: State, row: OperationRow): void {
  state.operations.set(row.opId, row.answer);
  for (const token of row.settled) state.settled.set(token.token, token);
}

/** Answers the highest order among them. */
export function restoreOperations(state: State, rows: Iterable<[string, OperationRow]>): number {
  const sorted = [...rows].sort(([, a], [, b]) => a.order - b.order);
  for (const [, row] of sorted) keep(state, row);
  const newest = sorted.at(-1);
  state.operationNumber = newest === undefined ? 1 : Number(newest[0]) + 1;
  return newest?.[1].order ?? 0;
}
