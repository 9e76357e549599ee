import type { Offer } from "../../workflow/requirement.ts";
import type { Unary } from "../transport.ts";

/** What workers are made from. Applying and deleting templates is described in proto/ and not there yet. */
export type TemplateApi = {
  /** By id. `unanswered` names the engines that did not answer: templates of theirs alone are missing here. */
  list: Unary<Record<string, never>, { templates: TemplateView[]; unanswered: string[] }>;
  get: Unary<{ id: string }, TemplateView>;
};

export type TemplateView = {
  id: string;
  /** `local`: the machine that an engine runs on. */
  origin: "local";
  /** Absent: workers are processes of the engine's host. */
  image?: string;
  /** Without what Hodei tells its own workers (`HODEI_…`). */
  environment: Record<string, string>;
  /** Of a warm worker; an ephemeral one runs one job. */
  maxConcurrentJobs: number;
  timeouts: { registerMs: number; idleMs: number; stopMs: number };
  /** What workers of it offer. */
  offer: Offer;
  /** Names of the engines that make workers from it. */
  engines: string[];
};
