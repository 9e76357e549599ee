import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";

/**
 * Binds the counting interface of the roles to prom-client: a metric is declared by its first use, its help text comes
 * from the role's own list. Units are in the names; ids are never labels, so the number of series is bounded.
 */
export type MetricSink = {
  count(name: string, labels?: Record<string, string>, by?: number): void;
  observe(name: string, value: number, labels?: Record<string, string>): void;
  gauge(name: string, value: number, labels?: Record<string, string>): void;
};

/** From 1 ms to 15 min: steps are no-ops and builds alike. */
const BUCKETS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900];

export function createMetrics(help: Readonly<Record<string, string>>): {
  registry: Registry;
  sink(fixed: Record<string, string>): MetricSink;
} {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const counters = new Map<string, Counter>();
  const gauges = new Map<string, Gauge>();
  const histograms = new Map<string, Histogram>();
  const declared = <Kind>(known: Map<string, Kind>, name: string, make: () => Kind): Kind => {
    const found = known.get(name) ?? make();
    known.set(name, found);
    return found;
  };
  const common = (name: string, labels: Record<string, string>) => ({
    name,
    help: help[name] ?? name,
    labelNames: Object.keys(labels),
    registers: [registry],
  });
  const sink = (fixed: Record<string, string>): MetricSink => ({
    count(name, labels = {}, by = 1) {
      const all = { ...fixed, ...labels };
      declared(counters, name, () => new Counter(common(name, all))).inc(all, by);
    },
    observe(name, value, labels = {}) {
      const all = { ...fixed, ...labels };
      declared(histograms, name, () => new Histogram({ ...common(name, all), buckets: BUCKETS_SECONDS })).observe(
        all,
        value,
      );
    },
    gauge(name, value, labels = {}) {
      const all = { ...fixed, ...labels };
      declared(gauges, name, () => new Gauge(common(name, all))).set(all, value);
    },
  });
  return { registry, sink };
}
