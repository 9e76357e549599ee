import type { Job } from "../../../workflow/job.ts";
import { fits, mismatches } from "../../../workflow/matching.ts";
import type { Resources } from "../../../workflow/requirement.ts";
import type { FactOf } from "./facts.ts";
import type { Invariant, Report } from "./invariant.ts";
import { executionOf, type World } from "./world.ts";

export const rightWorker: Invariant = {
  name: "a job goes to a worker that can have it",
  promise: "A claim respects capability, namespace, what the worker has free, and the worker that holds its workspace.",
  watch(report) {
    /** What the asking workers have left while one call gives out jobs. */
    let giving: { at: number; left: Map<string, Resources & { slots: number }> } = { at: -1, left: new Map() };
    const workspaces = new Map<string, { worker: string; at: number }>();
    return {
      before(fact, world) {
        if (fact.kind === "commit") return releaseWorkspaces(fact, world, workspaces);
        if (fact.kind === "reported") return useWorkspace(fact, world, workspaces);
        if (fact.kind !== "claimed") return;
        if (giving.at !== fact.at) giving = { at: fact.at, left: new Map() };
        checkOffer(fact, report);
        const bound = checkWorkspace(fact, workspaces, report);
        if (!bound) checkRoom(fact, giving.left, report);
      },
    };
  },
};

function checkOffer(fact: FactOf<"claimed">, report: Report): void {
  const { job, worker } = fact.assignment;
  const about = `job ${job.id}`;
  const [slot] = fact.slots;
  if (slot === undefined) {
    return report({ about, expected: "a worker that asked", seen: `${worker}, which did not`, events: [fact.at] });
  }
  const { namespace } = slot.offer;
  if (namespace !== "*" && namespace !== job.namespace) {
    report({
      about,
      expected: `a worker of namespace ${job.namespace}`,
      seen: `${worker} of ${namespace}`,
      events: [fact.at],
    });
  }
  const against = mismatches(job.requirement, slot.offer).map(({ clause, reason }) => `${clause}: ${reason}`);
  if (against.length === 0) return;
  report({
    about,
    expected: "a worker that meets its requirement",
    seen: `${worker}: ${against.join("; ")}`,
    events: [fact.at],
  });
}

/** Whether it waited for this very worker: then it needs no free slot. */
function checkWorkspace(
  fact: FactOf<"claimed">,
  workspaces: Map<string, { worker: string; at: number }>,
  report: Report,
): boolean {
  const { job, worker } = fact.assignment;
  const bound = job.workspace === undefined ? undefined : workspaces.get(job.workspace);
  if (bound !== undefined && bound.worker !== worker) {
    const expected = `${bound.worker}, which holds workspace ${job.workspace}`;
    report({ about: `job ${job.id}`, expected, seen: worker, events: [bound.at, fact.at] });
  }
  return job.workspace !== undefined;
}

function checkRoom(fact: FactOf<"claimed">, left: Map<string, Resources & { slots: number }>, report: Report): void {
  const { job, worker } = fact.assignment;
  const [slot] = fact.slots;
  if (slot === undefined) return;
  const slots = fact.slots.reduce((sum, { free }) => sum + free.slots, 0);
  const free = left.get(worker) ?? { ...slot.free, slots };
  const { resources } = job.requirement;
  if (free.slots < 1 || !fits(resources, free)) {
    const seen = `${worker} has ${JSON.stringify(free)} left`;
    report({ about: `job ${job.id}`, expected: `room for ${JSON.stringify(resources)}`, seen, events: [fact.at] });
  }
  left.set(worker, {
    slots: free.slots - 1,
    cpuMillis: free.cpuMillis - resources.cpuMillis,
    memoryBytes: free.memoryBytes - resources.memoryBytes,
    gpu: free.gpu - resources.gpu,
    storageBytes: free.storageBytes - resources.storageBytes,
  });
}

/** From the first job that has ended in it, a workspace is on that worker. */
function useWorkspace(
  fact: FactOf<"reported">,
  world: World,
  workspaces: Map<string, { worker: string; at: number }>,
): void {
  const { request, status, at } = fact;
  const known = world.jobs.get(request.jobId);
  const workspace = known?.job.workspace;
  if (status !== "OK" || workspace === undefined || known?.claim === undefined) return;
  if (request.outcome.kind === "lost") workspaces.delete(workspace);
  else if (request.outcome.kind !== "rejected") workspaces.set(workspace, { worker: known.claim.worker, at });
}

function releaseWorkspaces(
  fact: FactOf<"commit">,
  world: World,
  workspaces: Map<string, { worker: string; at: number }>,
): void {
  const { request, at } = fact;
  for (const { jobId } of request.settle) {
    const known = world.jobs.get(jobId);
    const workspace = known?.job.workspace;
    if (workspace === undefined || known?.claim === undefined || wasRefused(fact, known.job)) continue;
    workspaces.set(workspace, { worker: known.claim.worker, at });
  }
  for (const workspace of request.releaseWorkspaces) workspaces.delete(workspace);
  if (request.head.state === "running") return;
  for (const workspace of workspaces.keys())
    if (workspace.startsWith(`${request.head.uid}/`)) workspaces.delete(workspace);
}

/** Nothing ran in it then. */
function wasRefused({ events }: FactOf<"commit">, { step, iteration, attempt }: Job): boolean {
  return events.some(
    (event) =>
      event.type === "attemptEnded" &&
      event.step === step &&
      event.iteration === iteration &&
      event.attempt === attempt &&
      event.outcome.kind === "rejected",
  );
}

export const openGate: Invariant = {
  name: "nothing is given out behind a closed gate",
  promise:
    "From the commit of a pause or a cancel on no worker is given a job of that execution, and no job is given out twice.",
  watch: (report) => ({
    before(fact, world) {
      if (fact.kind !== "claimed") return;
      const { job, worker } = fact.assignment;
      const about = `job ${job.id}`;
      const execution = world.executions.get(executionOf(job));
      const known = world.jobs.get(job.id);
      if (execution === undefined || execution.state.state !== "running" || execution.state.gate !== "open") {
        const { state, gate } = execution?.state ?? { state: "unknown", gate: "unknown" };
        const seen = `${worker} was given it while the execution was ${state}, its gate ${gate}`;
        report({ about, expected: "to wait", seen, events: [...(execution?.commits.slice(-1) ?? []), fact.at] });
      }
      if (known === undefined) {
        report({ about, expected: "to be over, or never enqueued", seen: `${worker} was given it`, events: [fact.at] });
      } else if (known.claim !== undefined || known.outcome !== undefined) {
        const expected = `only ${known.claim?.worker ?? "its outcome"} to have it`;
        const at = known.claim?.at ?? known.outcome?.at ?? known.enqueuedAt;
        report({ about, expected, seen: `${worker} was given it too`, events: [at, fact.at] });
      } else if (known.job.executionUid !== job.executionUid || known.job.attempt !== job.attempt) {
        report({
          about,
          expected: "the job as it was enqueued",
          seen: `${job.executionUid}#${job.attempt}`,
          events: [fact.at],
        });
      }
    },
  }),
};

export const repeatedAnswers: Invariant = {
  name: "a repeated operation has its first answer",
  promise: "Whoever asks again, because an answer was lost, gets the jobs that it was given then and nothing more.",
  watch(report) {
    const given = new Map<string, { jobId: string; token: string; at: number }[]>();
    return {
      before(fact, world) {
        if (fact.kind === "claimed" && fact.op !== undefined) {
          const { job, token } = fact.assignment;
          given.set(fact.op, [...(given.get(fact.op) ?? []), { jobId: job.id, token, at: fact.at }]);
        }
        if (fact.kind !== "repeated") return;
        const first = given.get(fact.opId) ?? [];
        const standing = first.filter(({ jobId, token }) => world.jobs.get(jobId)?.claim?.token === token);
        const told = fact.assignments.map(({ token }) => token).sort();
        const expected = standing.map(({ token }) => token).sort();
        if (told.join(" ") === expected.join(" ")) return;
        report({
          about: `operation ${fact.opId}`,
          expected: `the claims of ${standing.map(({ jobId }) => jobId).join(", ") || "nothing"} again`,
          seen: fact.assignments.map(({ job }) => job.id).join(", ") || "nothing",
          events: [...first.map(({ at }) => at).slice(0, 1), fact.at],
        });
      },
    };
  },
};

export const adoption: Invariant = {
  name: "only running attempts are adopted",
  promise: "A job moves to another session only under its own token, while nothing has come of it.",
  watch: (report) => ({
    before(fact, world) {
      if (fact.kind !== "adopted" || fact.again) return;
      for (const { jobId, token } of [...fact.jobs, ...fact.missing]) {
        const known = world.jobs.get(jobId);
        if (known?.claim?.token === token) continue;
        const at = known?.outcome?.at ?? known?.claim?.at ?? known?.enqueuedAt;
        const seen = `${fact.node} adopted it for ${fact.worker}`;
        const expected =
          known === undefined ? "to be stale: it is over" : "to be stale: the token is not the one it is held under";
        report({ about: `job ${jobId}`, expected, seen, events: [...(at === undefined ? [] : [at]), fact.at] });
      }
    },
  }),
};
