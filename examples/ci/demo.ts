/**
 * The main job: a cluster on free ports, this repository's own CI registered in two versions, both run on ephemeral
 * local workers with live logs, and a table of what happened. Exit 0 when both succeeded and nothing is left running.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { stepTable } from "../../cmd/execution-view.ts";
import { follow } from "../../cmd/follow.ts";
import { shortDuration } from "../../cmd/output.ts";
import { HodeiClient } from "../../cmd/package.ts";
import type { ExecutionView } from "../../transport/api/execution.ts";
import { ci, ciNext, pack } from "./pipeline.ts";

const repository = join(import.meta.dirname, "../..");
const data = mkdtempSync(join(tmpdir(), "hodei-demo-"));
const say = (text: string): void => void process.stderr.write(`${text}\n`);

const cluster = spawn(
  process.execPath,
  [join(repository, "cmd/main.ts"), "dev", "--data", data, "--port", "0", "--workers", "0"],
  {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, HODEI_LOG_LEVEL: "warn" },
  },
);
const ended = new Promise<number | null>((resolve) => cluster.once("exit", resolve));

try {
  const ready = await readyLine(cluster);
  say(`cluster ready at ${ready.address}: ${ready.engines.map((engine) => engine.name).join(", ")}`);
  const client = new HodeiClient({ address: ready.address });
  const pids = new Set<number>([cluster.pid as number]);
  try {
    const views = await runBoth(client, pids);
    await drained(client);
    for (const view of views)
      process.stdout.write(
        `\n${view.workflow}@${view.version} ${view.state}\n${stepTable(view.steps, view.endedAtMs ?? 0)}\n`,
      );
    if (views.some((view) => view.state !== "succeeded")) process.exitCode = 1;
  } finally {
    await client.close();
  }
  cluster.kill("SIGTERM");
  const code = await ended;
  const left = [...pids].filter(alive);
  if (code !== 0 || left.length > 0) {
    say(`the cluster ended with ${code}; still running: ${left.join(", ") || "nothing"}`);
    process.exitCode = 1;
  } else say("the cluster has stopped, nothing is left running");
} finally {
  cluster.kill("SIGKILL");
  rmSync(data, { recursive: true, force: true });
}

async function runBoth(client: HodeiClient, pids: Set<number>): Promise<ExecutionView[]> {
  const commit = execFileSync("git", ["rev-parse", "HEAD"], { cwd: repository, encoding: "utf8" }).trim();
  const input = { repository: `file://${repository}`, commit, cache: join(data, "npm-cache") };
  const views: ExecutionView[] = [];
  await client.register(pack);
  for (const workflow of [ci, ciNext]) {
    const { name, version } = await client.register(workflow);
    say(`\n${name}@${version}`);
    const { id } = await client.start(workflow, input);
    const watching = watchWorkers(client, pids);
    const view = await follow({ client, format: "table", now: () => Date.now(), freshId: () => id }, id, {
      logs: true,
    });
    watching.stop();
    views.push(view);
    say(`${name}@${version} ${view.state} in ${shortDuration((view.endedAtMs ?? 0) - view.startedAtMs)}`);
    for (const step of view.steps) if (step.childId !== undefined) views.push(await client.get(step.childId));
  }
  return views;
}

/** Remembers every worker process seen, to prove at the end that none is left. */
function watchWorkers(client: HodeiClient, pids: Set<number>): { stop(): void } {
  const look = async (): Promise<void> => {
    const { workers } = await client.call("fleet", "list", { limit: 0 });
    for (const worker of workers) pids.add(worker.pid);
  };
  const timer = setInterval(() => void look().catch(() => undefined), 1000);
  return { stop: () => clearInterval(timer) };
}

/** Ephemeral workers go by themselves once their workspace is released. */
async function drained(client: HodeiClient): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const { workers } = await client.call("fleet", "list", { limit: 0 });
    if (workers.length === 0) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error("ephemeral workers are still there 10 s after their work ended");
}

type Ready = { address: string; engines: { name: string }[] };

async function readyLine(child: ChildProcess): Promise<Ready> {
  if (child.stdout === null) throw new Error("no stdout");
  for await (const line of createInterface({ input: child.stdout })) {
    const parsed = JSON.parse(line) as Ready & { ready?: boolean };
    if (parsed.ready === true) return parsed;
  }
  throw new Error("the cluster ended before it was ready");
}

function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}
