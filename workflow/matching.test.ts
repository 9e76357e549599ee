import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Agent } from "./definition.ts";
import { classKeyOf, fits, imageTemplate, mismatches, requirementOf, signatureOf } from "./matching.ts";
import type { Offer, Requirement } from "./requirement.ts";

const GI = 2 ** 30;

/** The worker of the capability example that the matching rules come from. */
const worker: Offer = {
  labels: ["linux"],
  handlers: [],
  services: ["comfyui", "a1111"],
  hardware: { gpu_memory_gb: 24, gpu_model: "RTX 4090" },
  models: { comfyui: ["sdxl", "sd15"], a1111: ["anything-v3"] },
  custom: { supports_controlnet: true, max_batch_size: 4 },
  ephemeral: false,
  namespace: "default",
  total: { cpuMillis: 8000, memoryBytes: 32 * GI, gpu: 1, storageBytes: 100 * GI },
};

/** The job of the same example. */
const agent: Agent = {
  service: "comfyui",
  hardware: { gpu_memory_gb: 16 },
  models: ["sdxl"],
  custom: { supports_controlnet: true },
};

const job = requirementOf(agent, {});

describe("requirementOf", () => {
  it("fills the defaults of a job that says nothing", () => {
    expect(requirementOf({}, {})).toEqual({ resources: { cpuMillis: 500, memoryBytes: GI, gpu: 0, storageBytes: 0 } });
  });

  it("puts a plain list of models under the required service, and without one under any", () => {
    expect(job.models).toEqual({ comfyui: ["sdxl"] });
    const anywhere = requirementOf({ models: ["anything-v3"] }, {});
    expect(mismatches(anywhere, worker)).toEqual([]);
    expect(mismatches(requirementOf({ models: ["flux"] }, {}), worker)).toEqual([
      { clause: "model flux", reason: "the worker offers anything-v3, sd15, sdxl" },
    ]);
  });

  it("writes the label in its canonical form", () => {
    expect(requirementOf({ label: "(linux)&&!spot" }, {}).label).toBe("linux && !spot");
  });

  it("names the field that is wrong", () => {
    expect(() => requirementOf({ resources: { memory: "1.5Qi" } }, {})).toThrow('"1.5Qi" is not a memory quantity');
    expect(() => requirementOf({ isolation: "strict" }, {})).toThrow("needs a customer");
    expect(() => requirementOf({ template: "a", docker: { image: "b", args: [] } }, {})).toThrow("one of template");
  });

  it("asks for the worker made of a foreign image", () => {
    const requirement = requirementOf({ docker: { image: "postgres:13", args: [] } }, {});
    expect(requirement.template).toBe("docker:postgres:13");
    expect(imageTemplate({ image: "postgres:13", args: ["-v", "/a"] })).not.toBe(requirement.template);
  });
});

describe("mismatches", () => {
  it("finds none for the job and the worker of the example", () => expect(mismatches(job, worker)).toEqual([]));

  it.each<[string, Partial<Offer>, string]>([
    ["service comfyui", { services: ["a1111"] }, "the worker offers a1111"],
    ["hardware gpu_memory_gb >= 16", { hardware: { gpu_memory_gb: 12 } }, "gpu_memory_gb is 12"],
    ["hardware gpu_memory_gb >= 16", { hardware: {} }, "no gpu_memory_gb"],
    ["hardware gpu_memory_gb >= 16", { hardware: { gpu_memory_gb: "24" } }, "gpu_memory_gb is 24"],
    ["model sdxl of comfyui", { models: { a1111: ["sdxl"] } }, "the worker offers no model of comfyui"],
    ["custom supports_controlnet = true", { custom: { supports_controlnet: false } }, "supports_controlnet is false"],
    ["custom supports_controlnet = true", { custom: { supports_controlnet: "true" } }, "supports_controlnet is true"],
    ["custom supports_controlnet = true", { custom: {} }, "no supports_controlnet"],
    ["cpu 500m", { total: { ...worker.total, cpuMillis: 250 } }, "the worker has 250m in all"],
    ["memory 1Gi", { total: { ...worker.total, memoryBytes: GI / 2 } }, "the worker has 512Mi in all"],
  ])("names %s when the worker is changed to %j", (clause, change, reason) => {
    expect(mismatches(job, { ...worker, ...change })).toEqual([{ clause, reason }]);
  });

  it.each<[string, Agent, { handler?: string; customer?: string }, string]>([
    ["label gpu && linux", { label: "gpu && linux" }, {}, "no label gpu"],
    ["handler send-mail", {}, { handler: "send-mail" }, "no connected worker registers it"],
    ["template node-npm", { template: "node-npm" }, {}, "the worker is of no template"],
    ["service vllm", { service: "vllm" }, {}, "the worker offers a1111, comfyui"],
    ["hardware gpu_model = A100", { hardware: { gpu_model: "A100" } }, {}, "gpu_model is RTX 4090"],
    ["model flux of a1111", { models: { a1111: ["flux"] } }, {}, "the worker offers anything-v3"],
    ["custom max_batch_size >= 8", { custom: { max_batch_size: 8 } }, {}, "max_batch_size is 4"],
    ["custom constructor = x", { custom: { constructor: "x" } }, {}, "no constructor"],
    ["ephemeral", { ephemeral: true }, {}, "the worker lives on after the job"],
    ["gpu 2", { resources: { gpu: "2" } }, {}, "the worker has 1 in all"],
    ["storage 1Ti", { resources: { storage: "1Ti" } }, {}, "the worker has 100Gi in all"],
    [
      "isolation strict for acme",
      { isolation: "strict" },
      { customer: "acme" },
      "the worker is shared by all customers",
    ],
  ])("names %s when the job asks %j", (clause, asked, extra, reason) => {
    expect(mismatches(requirementOf(asked, extra), worker)).toEqual([{ clause, reason }]);
  });

  it("takes more of a numbered capability than was asked", () => {
    expect(mismatches(requirementOf({ custom: { max_batch_size: 2 } }, {}), worker)).toEqual([]);
  });

  it("compares structured capabilities by content, whatever the order of their keys", () => {
    const offer = { ...worker, custom: { limits: { a: 1, b: [2] } } };
    expect(mismatches(requirementOf({ custom: { limits: { b: [2], a: 1 } } }, {}), offer)).toEqual([]);
    expect(mismatches(requirementOf({ custom: { limits: { b: [3], a: 1 } } }, {}), offer)).toHaveLength(1);
  });

  it("lists every clause that fails, not the first", () => {
    const asked = requirementOf({ label: "gpu", service: "vllm", resources: { cpu: "100" } }, {});
    expect(mismatches(asked, worker).map((mismatch) => mismatch.clause)).toEqual([
      "label gpu",
      "service vllm",
      "cpu 100",
    ]);
  });

  it.each<["none" | "loose" | "strict", string | undefined, boolean]>([
    ["none", undefined, true],
    ["none", "acme", false],
    ["loose", undefined, true],
    ["loose", "acme", true],
    ["loose", "other", false],
    ["strict", undefined, false],
    ["strict", "acme", true],
    ["strict", "other", false],
  ])("isolation %s of acme on a worker of %s: %s", (isolation, customer, runs) => {
    const requirement = requirementOf({ isolation }, { customer: "acme" });
    expect(mismatches(requirement, { ...worker, customer })).toHaveLength(runs ? 0 : 1);
  });
});

describe("classKeyOf", () => {
  it("does not depend on the order of keys, models or terms of the label", () => {
    const a: Requirement = { ...job, label: "a && (b || c)", custom: { x: 1, y: { p: 1, q: 2 } } };
    const b: Requirement = {
      resources: { storageBytes: 0, gpu: 0, memoryBytes: GI, cpuMillis: 500 },
      custom: { y: { q: 2, p: 1 }, x: 1 },
      label: "(c || b) && a && a",
      models: { comfyui: ["sdxl", "sdxl"] },
      hardware: { gpu_memory_gb: 16 },
      service: "comfyui",
    };
    expect(classKeyOf(a, "default")).toBe(classKeyOf(b, "default"));
    expect(classKeyOf(a, "default")).toMatch(/^[\w-]{16}$/);
  });

  it("tells requirements and namespaces apart", () => {
    const variants: Requirement[] = [
      job,
      { ...job, label: "a" },
      { ...job, label: "!a" },
      { ...job, ephemeral: true },
      { ...job, handler: "a" },
      { ...job, template: "a" },
      { ...job, custom: { supports_controlnet: "true" } },
      { ...job, resources: { ...job.resources, gpu: 1 } },
    ];
    const keys = variants.flatMap((requirement) => [classKeyOf(requirement, "a"), classKeyOf(requirement, "b")]);
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("gives equal classes equal answers from every worker", () => {
    const labels = fc.subarray(["a", "b", "c"]);
    const text = fc.constantFrom("a && b", "b && a", "a || b", "b || a || a", "!a && c", "c && !a", "(a && b) || c");
    fc.assert(
      fc.property(text, text, labels, (one, two, offered) => {
        const [a, b] = [requirementOf({ label: one }, {}), requirementOf({ label: two }, {})];
        fc.pre(classKeyOf(a, "n") === classKeyOf(b, "n"));
        const runs = (requirement: Requirement): boolean =>
          mismatches(requirement, { ...worker, labels: offered }).length === 0;
        expect(runs(a)).toBe(runs(b));
      }),
    );
  });
});

describe("signatureOf", () => {
  it("is equal for equal offers in any order, and differs with anything offered", () => {
    const shuffled: Offer = {
      ...worker,
      services: ["a1111", "comfyui", "comfyui"],
      models: { a1111: ["anything-v3"], comfyui: ["sd15", "sdxl"] },
    };
    expect(signatureOf(shuffled)).toBe(signatureOf(worker));
    expect(signatureOf({ ...worker, namespace: "other" })).not.toBe(signatureOf(worker));
    expect(signatureOf({ ...worker, total: { ...worker.total, gpu: 2 } })).not.toBe(signatureOf(worker));
  });
});

describe("fits", () => {
  it("needs room for every resource", () => {
    const free = { cpuMillis: 500, memoryBytes: GI, gpu: 0, storageBytes: 0 };
    expect(fits(job.resources, free)).toBe(true);
    for (const key of ["cpuMillis", "memoryBytes", "gpu", "storageBytes"] as const) {
      expect(fits({ ...free, [key]: free[key] + 1 }, free)).toBe(false);
    }
  });
});
