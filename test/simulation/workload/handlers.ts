import type { TaskContext, TaskFunction } from "../../../worker/options.ts";
import type { WorkerSite } from "../run.ts";
import type { Behaviour } from "./steps.ts";

/** Errors as handlers throw them: the name is what `retry.on` may list, `permanent` says that a retry is useless. */
class Flaky extends Error {
  override readonly name = "Flaky";
}
class Broken extends Error {
  override readonly name = "Broken";
  readonly permanent = true;
}

/** On every worker; `rare` not on worker-2 and worker-4, so that jobs of it must find their worker. */
export const HANDLERS = ["work", "rare"] as const;

export function handlersOf(site: WorkerSite): Map<string, TaskFunction> {
  const work: TaskFunction = (input, context) => behave(site, input as Behaviour, context);
  const rare = !/^worker-\d*[02468]$/.test(site.worker);
  return new Map([["work", work], ...(rare ? [["rare", work] as const] : [])]);
}

/** What it answers names the attempt and tells how much it has logged: a checker can hold both against what is stored. */
async function behave({ clock }: WorkerSite, input: Behaviour, context: TaskContext): Promise<unknown> {
  const { signal, attempt, step } = context;
  const lines = input.lines ?? 0;
  let logged = 0;
  for (let line = 1; line <= lines; line++) {
    const text = `${step} attempt ${attempt} line ${line} of ${lines}\n`;
    context.log(text);
    logged += text.length;
    if (line < lines) await clock.sleep(input.ms / lines);
  }
  const restMs = lines > 0 ? input.ms / lines : input.ms;
  const told = input.deaf === true ? undefined : signal;
  if (input.hang === true) await endOf(signal);
  else if (restMs > 0) await clock.sleep(restMs, told);
  if (told?.aborted === true) throw told.reason as Error;
  if (input.permanent === true) throw new Broken("it will never do");
  if (attempt <= (input.failFirst ?? 0)) throw new Flaky(`attempt ${attempt} fails, as told`);
  const own = { attempt, key: context.idempotencyKey, logged };
  return { v: input.ms, ...own, ...(input.out ? { text: "x".repeat(input.out) } : {}) };
}

function endOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
