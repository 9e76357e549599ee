import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { chooseAddresses } from "../../cmd/addresses.ts";
import { alive, beginHodei, cleanUp, type Dev, folder, hodei, startDev, until } from "./harness.ts";

let dev: Dev;
beforeAll(async () => {
  dev = await startDev({ args: ["--port", "0", "--engines", "2", "--workers", "1"] });
});
afterAll(cleanUp);

async function get(address: string, path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://${address}${path}`);
  return { status: response.status, text: await response.text() };
}

describe("health and metrics", () => {
  it("of a cluster: it lives, it is ready, and it tells what it counts, by the documented names", async () => {
    const { http } = dev.ready;
    expect(await get(http, "/healthz")).toEqual({ status: 200, text: "ok\n" });
    expect(await get(http, "/readyz")).toEqual({ status: 200, text: "ready\n" });
    expect((await get(http, "/nothing")).status).toBe(404);
    expect((await hodei(["submit", "--wait", "--", "true"], { address: dev.ready.address })).code).toBe(0);
    const text = await until(async () => {
      const { text } = await get(http, "/metrics");
      return text.includes("hodei_worker_heartbeats_total") && text;
    });
    for (const name of [
      "hodei_job_execution_duration_seconds",
      "hodei_worker_cpu_usage_percent",
      "hodei_scheduler_queue_size",
      "hodei_engine_shards",
    ]) {
      expect(text).toMatch(new RegExp(`^${name}[_{]`, "m"));
    }
    expect(text).not.toMatch(/execution_?id|job_?id/i);
  });

  it("of a worker: not ready before an engine has welcomed it", async () => {
    const wishes = { host: "127.0.0.1", apiPort: 0, httpPort: 0, engines: ["nobody"] };
    const { http, engines } = await chooseAddresses(undefined, wishes);
    const env = (server: string): Record<string, string> => ({
      SERVER_HOST: "127.0.0.1",
      SERVER_PORT: server.split(":")[1] ?? "",
      HODEI_HTTP_ADDRESS: http,
      HODEI_WORKER_DIRECTORY: folder(),
    });
    const answers = (status: number) => async () => {
      const answer = await get(http, "/readyz").catch(() => undefined);
      return answer?.status === status && answer;
    };
    const alone = beginHodei(["worker"], { env: env(engines["nobody"] ?? "") });
    expect(await until(answers(503))).toMatchObject({ text: "not ready: engine\n" });
    expect(await get(http, "/healthz")).toMatchObject({ status: 200 });
    alone.kill("SIGTERM");
    await alone.done;
    const welcome = beginHodei(["worker"], { env: env(dev.ready.engines[0]?.address ?? "") });
    await until(answers(200));
    expect((await get(http, "/metrics")).text).toContain("process_cpu_seconds_total");
    welcome.kill("SIGTERM");
    expect(await welcome.done).toMatchObject({ code: 0 });
    expect(alive(dev.pid)).toBe(true);
  });
});
