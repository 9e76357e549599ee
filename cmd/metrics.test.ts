import { expect, test } from "vitest";
import { createMetrics } from "./metrics.ts";

const help = { jobs_total: "jobs, by kind", wait_seconds: "how long they waited", open: "how many are open" };

test("counts, gauges and distributions are told in Prometheus' text format, one family each", async () => {
  const metrics = createMetrics(help);
  const [one, two] = [metrics.sink({ engine: "one" }), metrics.sink({ engine: "two" })];
  one.count("jobs_total", { kind: "done" });
  one.count("jobs_total", { kind: "done" }, 2);
  two.count("jobs_total", { kind: "done" });
  one.count("jobs_total", { kind: 'a "b"\n\\' });
  one.gauge("open", 3);
  one.gauge("open", 5);
  for (const seconds of [0.001, 0.002, 7, 5000]) one.observe("wait_seconds", seconds);
  const text = await metrics.registry.metrics();
  const own = text.slice(text.indexOf("# HELP jobs_total")).split("\n");
  expect(own.slice(0, 5)).toEqual([
    "# HELP jobs_total jobs, by kind",
    "# TYPE jobs_total counter",
    'jobs_total{engine="one",kind="done"} 3',
    'jobs_total{engine="two",kind="done"} 1',
    'jobs_total{engine="one",kind="a \\"b\\"\\n\\\\"} 1',
  ]);
  expect(own).toContain('open{engine="one"} 5');
  const buckets = own.filter((line) => line.startsWith("wait_seconds"));
  expect(buckets[0]).toBe('wait_seconds_bucket{le="0.001",engine="one"} 1');
  expect(buckets[1]).toBe('wait_seconds_bucket{le="0.0025",engine="one"} 2');
  expect(buckets.slice(-4)).toEqual([
    'wait_seconds_bucket{le="900",engine="one"} 3',
    'wait_seconds_bucket{le="+Inf",engine="one"} 4',
    'wait_seconds_sum{engine="one"} 5007.003',
    'wait_seconds_count{engine="one"} 4',
  ]);
});

test("what the process itself tells comes first, and every line of the whole is well formed", async () => {
  const metrics = createMetrics(help);
  metrics.sink({}).count("jobs_total");
  const lines = (await metrics.registry.metrics()).trimEnd().split("\n");
  expect(lines.some((line) => line.startsWith("nodejs_heap_size_used_bytes "))).toBe(true);
  expect(lines.at(-1)).toBe("jobs_total 1");
  const sample =
    /^[a-zA-Z_:][\w:]*(\{[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*"(?:,[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*")*\})? \S+( \d+)?$/;
  expect(lines.filter((line) => line !== "" && !line.startsWith("# ") && !sample.test(line))).toEqual([]);
});
