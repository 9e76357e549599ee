import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "../base/clock.ts";
import { isHodeiError } from "../workflow/errors.ts";
import type { Platform, Pod, PodSpec } from "./platform.ts";

/** One adapter over one empty place, for one test. */
export type PlatformUnderTest = {
  /** Each call is a platform of its own over the same place, as after a restart. */
  open(): Platform;
  /** Whether the pod's main process runs, seen from outside. */
  runs(pod: Pod): boolean | Promise<boolean>;
  /** Removes every pod and the place. */
  close(): Promise<void>;
};

/**
 * What every platform does. Its pods must run the shell script that stands in the variable SCRIPT of their environment
 * (`sh -c "$SCRIPT"` as the main process).
 */
export function platformConformance(name: string, create: () => Promise<PlatformUnderTest>): void {
  describe(`platform ${name}`, () => {
    let place: PlatformUnderTest;
    let platform: Platform;
    const stops: (() => void)[] = [];

    beforeEach(async () => {
      place = await create();
      platform = place.open();
    });

    afterEach(async () => {
      for (const stop of stops.splice(0)) stop();
      for (const pod of await platform.list()) await platform.delete({ name: pod.name, uid: pod.uid, graceMs: 0 });
      await place.close();
    });

    const FOREVER = "echo up; while :; do sleep 0.1; done";
    const spec = (script: string, more: Partial<PodSpec> = {}): PodSpec => ({
      name: "pod-1",
      request: "r1",
      labels: { "template-id": "t" },
      env: { SCRIPT: script },
      ...more,
    });

    /** What a watcher has been told; `until` waits for a pod in one of these phases. */
    function watched(by: Platform = platform): {
      seen: Pod[];
      until: (pod: { uid: string }, ...phases: Pod["phase"][]) => Promise<Pod>;
    } {
      const seen: Pod[] = [];
      const wakes = new Set<() => void>();
      stops.push(
        by.watch((pod) => {
          seen.push(pod);
          for (const wake of wakes) wake();
        }),
      );
      return {
        seen,
        until: (wanted, ...phases) =>
          new Promise((resolve) => {
            const check = (): void => {
              const found = seen.find((pod) => pod.uid === wanted.uid && phases.includes(pod.phase));
              if (!found) return;
              wakes.delete(check);
              resolve(found);
            };
            wakes.add(check);
            check();
          }),
      };
    }

    async function logged(pod: Pod, text: string): Promise<void> {
      while (!(await platform.logs({ ...pod, tailBytes: 10_000 })).includes(text)) {
        await systemClock.sleep(10);
      }
    }

    it("creates a pod with the request, its labels and the owner's mark, and lists it", async () => {
      const { until } = watched();
      const pod = await platform.create(spec(FOREVER));
      await until(pod, "running");
      const [listed, ...others] = await platform.list();
      expect(others).toEqual([]);
      expect(listed).toMatchObject({ name: "pod-1", uid: pod.uid, request: "r1", phase: "running" });
      expect(listed?.labels).toMatchObject({ "template-id": "t" });
      expect(listed?.labels["managed-by"]).toBeTruthy();
      expect(await place.runs(pod)).toBe(true);
    });

    it("gives the pod its env", async () => {
      const pod = await platform.create(
        spec('echo "id=$WORKER_ID"', { env: { SCRIPT: 'echo "id=$WORKER_ID"', WORKER_ID: "w7" } }),
      );
      await logged(pod, "id=");
      expect(await platform.logs({ ...pod, tailBytes: 1000 })).toContain("id=w7");
    });

    it("answers a repeat with the pod that is there, also one that has ended", async () => {
      const { until } = watched();
      const pod = await platform.create(spec("exit 0"));
      const [again, atOnce] = await Promise.all([platform.create(spec("exit 0")), platform.create(spec("exit 0"))]);
      expect([again.uid, atOnce.uid]).toEqual([pod.uid, pod.uid]);
      await until(pod, "succeeded");
      expect((await platform.create(spec("exit 0"))).uid).toBe(pod.uid);
      expect(await platform.list()).toHaveLength(1);
    });

    it("refuses a name that another request has", async () => {
      await platform.create(spec(FOREVER));
      await expect(platform.create(spec(FOREVER, { request: "r2" }))).rejects.toSatisfy((error: unknown) =>
        isHodeiError(error, "INVALID_ARGUMENT"),
      );
    });

    it("refuses a name that is none", async () => {
      await expect(platform.create(spec(FOREVER, { name: "../x" }))).rejects.toSatisfy((error: unknown) =>
        isHodeiError(error, "INVALID_ARGUMENT"),
      );
    });

    it("tells how a pod ended, and lists it so until it is deleted", async () => {
      const { until } = watched();
      const good = await platform.create(spec("exit 0", { name: "good", request: "good" }));
      const bad = await platform.create(spec("exit 3", { name: "bad", request: "bad" }));
      expect(await until(good, "succeeded", "failed")).toMatchObject({ phase: "succeeded", exitCode: 0 });
      expect(await until(bad, "succeeded", "failed")).toMatchObject({ phase: "failed", exitCode: 3 });
      expect((await platform.list()).map((pod) => `${pod.name} ${pod.phase}`).toSorted()).toEqual([
        "bad failed",
        "good succeeded",
      ]);
      await platform.delete({ ...bad, graceMs: 0 });
      expect((await platform.list()).map((pod) => pod.name)).toEqual(["good"]);
    });

    it("deletes by SIGTERM first", async () => {
      const { until } = watched();
      const pod = await platform.create(spec(`trap 'exit 0' TERM; ${FOREVER}`));
      await logged(pod, "up");
      await platform.delete({ ...pod, graceMs: 20_000 });
      await until(pod, "gone");
      expect(await place.runs(pod)).toBe(false);
      expect(await platform.list()).toEqual([]);
    });

    it("kills what does not go within the grace period", async () => {
      const pod = await platform.create(spec(`trap '' TERM; ${FOREVER}`));
      await logged(pod, "up");
      await platform.delete({ ...pod, graceMs: 50 });
      expect(await place.runs(pod)).toBe(false);
    });

    it("deletes only the pod of that uid, and an absent one is fine", async () => {
      const pod = await platform.create(spec(FOREVER));
      await platform.delete({ name: pod.name, uid: "another", graceMs: 0 });
      await platform.delete({ name: "absent", uid: pod.uid, graceMs: 0 });
      expect(await place.runs(pod)).toBe(true);
      await Promise.all([platform.delete({ ...pod, graceMs: 0 }), platform.delete({ ...pod, graceMs: 0 })]);
      await platform.delete({ ...pod, graceMs: 0 });
      expect(await place.runs(pod)).toBe(false);
      const next = await platform.create(spec(FOREVER));
      expect(next.uid).not.toBe(pod.uid);
    });

    it("a platform opened later lists the same pods, sees their end and can delete them", async () => {
      const pod = await platform.create(spec(FOREVER));
      const short = await platform.create(
        spec("read nothing < /dev/null; sleep 0.3", { name: "short", request: "short" }),
      );
      const later = place.open();
      expect((await later.list()).map((one) => one.uid).toSorted()).toEqual([pod.uid, short.uid].toSorted());
      expect((await later.create(spec(FOREVER))).uid).toBe(pod.uid);
      const { until } = watched(later);
      await until(short, "succeeded", "failed");
      await later.delete({ ...pod, graceMs: 0 });
      expect(await place.runs(pod)).toBe(false);
    });

    it("gives the last bytes of what a pod wrote, and nothing of another", async () => {
      const { until } = watched();
      const pod = await platform.create(spec("echo first; echo second >&2"));
      await until(pod, "succeeded");
      expect(await platform.logs({ ...pod, tailBytes: 1000 })).toBe("first\nsecond\n");
      expect(await platform.logs({ ...pod, tailBytes: 8 })).toContain("second");
      expect(await platform.logs({ name: pod.name, uid: "another", tailBytes: 1000 })).toBe("");
    });

    it("a watcher that stopped hears nothing more", async () => {
      const other = watched();
      const heard: Pod[] = [];
      platform.watch((pod) => heard.push(pod))();
      const pod = await platform.create(spec("exit 0"));
      await other.until(pod, "succeeded");
      expect(heard).toEqual([]);
    });
  });
}
