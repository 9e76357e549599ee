import type { TurnRequest } from "../../store/store.ts";
import type { HistoryEvent } from "../../workflow/event.ts";
import type { Execution } from "../../workflow/execution.ts";
import { fold } from "../../workflow/fold.ts";
import type { JobSeen, TraceEvent } from "../simulation/trace.ts";

/** A handler that began in a worker, and whether it has ended. */
export type RunSeen = { worker: string; run: number; job: JobSeen; ended?: string };
/** What the store answered to whom. */
type AnswerSeen = { node: string; method: string; status: string };

/** What a scenario can tell of: read from the trace alone, as it grows. */
export class Sight {
  readonly runs: RunSeen[] = [];
  readonly answers: AnswerSeen[] = [];
  readonly #trace: readonly TraceEvent[];
  #commits: { at: number; id: string; opId: string; events: HistoryEvent[] }[] = [];
  #read = 0;

  constructor(trace: readonly TraceEvent[]) {
    this.#trace = trace;
  }

  /** Takes in what has happened since; true when something has. */
  look(): boolean {
    const from = this.#read;
    for (; this.#read < this.#trace.length; this.#read++) this.#take(this.#read, this.#trace[this.#read] as TraceEvent);
    return this.#read > from;
  }

  history(id: string): HistoryEvent[] {
    return this.#commits.flatMap((commit) => (commit.id === id ? commit.events : []));
  }

  execution(id: string): Execution | undefined {
    const events = this.history(id);
    return events.length === 0 ? undefined : fold(structuredClone(events));
  }

  /** `step` is a step, or one iteration of it: `charge[2]`. */
  runsOf(step: string, id: string): RunSeen[] {
    const { name, iteration } = stepOf(step);
    return this.runs.filter(
      ({ job }) =>
        job.executionId === id && job.step === name && (iteration === undefined || job.iteration === iteration),
    );
  }

  #take(at: number, event: TraceEvent): void {
    switch (event.kind) {
      case "ran":
        this.runs.push({ worker: event.worker, run: event.run, job: event.job });
        return;
      case "runEnded": {
        const of = this.runs.find(({ run }) => run === event.run);
        if (of) of.ended = event.outcome;
        return;
      }
      case "rolledBack":
        this.#commits = this.#commits.filter((commit) => commit.at < event.keptEvents);
        return;
      case "store":
        this.#takeAnswer(at, event);
        return;
      default:
    }
  }

  #takeAnswer(at: number, { node, method, request, answer }: Extract<TraceEvent, { kind: "store" }>): void {
    const status = statusOf(answer);
    if (status !== undefined) this.answers.push({ node, method, status });
    if (method !== "turn" || status !== "OK") return;
    const { id, opId, events } = request as TurnRequest;
    this.#commits.push({ at, id, opId, events: events.map((text) => JSON.parse(text) as HistoryEvent) });
  }
}

export function stepOf(words: string): { name: string; iteration?: string } {
  const found = /^(.+)\[(.+)\]$/.exec(words);
  return found?.[1] === undefined ? { name: words } : { name: found[1], iteration: found[2] as string };
}

function statusOf(answer: unknown): string | undefined {
  if (typeof answer !== "object" || answer === null || !("status" in answer)) return undefined;
  return typeof answer.status === "string" ? answer.status : undefined;
}
