import type { Json } from "./json.ts";

/** What a job asks of a worker. Jobs with equal requirements form one requirement class. */
export type Requirement = {
  /** Label expression in canonical form; absent = any worker. */
  label?: string;
  /** Handler name a `task` step needs. */
  handler?: string;
  template?: string;
  service?: string;
  /** Numbers are minimums, strings must be equal. */
  hardware?: Record<string, number | string>;
  /** Model names, by service where the list is not for the required service. */
  models?: Record<string, string[]>;
  /** Equality, or >= for numbers. */
  custom?: Record<string, Json>;
  isolation?: { level: "loose" | "strict"; customer: string };
  /** Must run on a worker that is gone afterwards. */
  ephemeral?: boolean;
  resources: Resources;
};

export type Resources = { cpuMillis: number; memoryBytes: number; gpu: number; storageBytes: number };

/** What a worker offers. Workers with equal offers (apart from their id) form one capability signature. */
export type Offer = {
  /** Plain labels ("linux") and versioned ones ("node@20.11.1"). Seed style "java-17" is widened when it is declared. */
  labels: string[];
  handlers: string[];
  services: string[];
  hardware: Record<string, number | string>;
  models: Record<string, string[]>;
  custom: Record<string, Json>;
  template?: string;
  customer?: string;
  ephemeral: boolean;
  /** Whose jobs it runs; "*" = of every namespace. */
  namespace: string;
  total: Resources;
};

/** One clause of a requirement that an offer does not meet, in words a user knows: {clause: "label linux && gpu", reason: "no label gpu"}. */
export type Mismatch = { clause: string; reason: string };
