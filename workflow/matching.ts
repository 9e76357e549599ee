import { createHash } from "node:crypto";
import type { Agent } from "./definition.ts";
import { HodeiError } from "./errors.ts";
import type { Json } from "./json.ts";
import { formatLabel, labelFailure, parseLabel, type LabelExpression } from "./label.ts";
import { formatBytes, formatCpuMillis, parseBytes, parseCount, parseCpuMillis } from "./quantity.ts";
import type { Mismatch, Offer, Requirement, Resources } from "./requirement.ts";

/** What a job needs that says nothing about it. */
const DEFAULT_CPU = "500m";
const DEFAULT_MEMORY = "1Gi";
/** Models that any service may offer: a list without a required service. */
const ANY_SERVICE = "*";

/**
 * What an agent asks for, in canonical form: labels formatted, lists sorted, empty parts left out. A foreign image or pod
 * asks for the worker made for it, by a template id that `imageTemplate` and `podTemplate` derive.
 * Errors: INVALID_ARGUMENT naming the field.
 */
export function requirementOf(agent: Agent, extra: { handler?: string; customer?: string }): Requirement {
  const requirement: Requirement = {
    resources: {
      cpuMillis: parseCpuMillis(agent.resources?.cpu ?? DEFAULT_CPU),
      memoryBytes: parseBytes(agent.resources?.memory ?? DEFAULT_MEMORY),
      gpu: parseCount(agent.resources?.gpu ?? "0"),
      storageBytes: parseBytes(agent.resources?.storage ?? "0"),
    },
  };
  if (agent.label !== undefined) requirement.label = formatLabel(parseLabel(agent.label));
  if (extra.handler !== undefined) requirement.handler = extra.handler;
  const template = templateOf(agent);
  if (template !== undefined) requirement.template = template;
  if (agent.service !== undefined) requirement.service = agent.service;
  if (agent.hardware !== undefined && Object.keys(agent.hardware).length > 0) requirement.hardware = agent.hardware;
  const models = modelsOf(agent);
  if (Object.keys(models).length > 0) requirement.models = models;
  if (agent.custom !== undefined && Object.keys(agent.custom).length > 0) requirement.custom = agent.custom;
  if (agent.isolation === "loose" || agent.isolation === "strict") {
    if (extra.customer === undefined) {
      throw new HodeiError("INVALID_ARGUMENT", `isolation ${agent.isolation} needs a customer to isolate by`, {
        field: "agent.isolation",
      });
    }
    requirement.isolation = { level: agent.isolation, customer: extra.customer };
  }
  if (agent.ephemeral === true) requirement.ephemeral = true;
  return requirement;
}

function templateOf(agent: Agent): string | undefined {
  const asked = [
    agent.template,
    agent.docker === undefined ? undefined : imageTemplate(agent.docker),
    agent.kubernetes === undefined ? undefined : podTemplate(agent.kubernetes),
  ].filter((template) => template !== undefined);
  if (asked.length <= 1) return asked[0];
  throw new HodeiError("INVALID_ARGUMENT", "an agent takes one of template, docker and kubernetes", { field: "agent" });
}

/** Template id of the workers made from a foreign image. */
export function imageTemplate(docker: { image: string; args: string[] }): string {
  const suffix = docker.args.length === 0 ? "" : `#${shortHash(JSON.stringify(docker.args))}`;
  return `docker:${docker.image}${suffix}`;
}

/** Template id of the workers made from a pod template given as YAML text. */
export function podTemplate(yaml: string): string {
  return `kubernetes:${shortHash(yaml)}`;
}

function modelsOf(agent: Agent): Record<string, string[]> {
  const asked = Array.isArray(agent.models) ? { [agent.service ?? ANY_SERVICE]: agent.models } : (agent.models ?? {});
  const filled = Object.entries(asked).filter(([, names]) => names.length > 0);
  return Object.fromEntries(filled.map(([service, names]) => [service, sortedSet(names)]));
}

/** Jobs of one namespace with equal requirements, whatever the order of their keys, share this key: one requirement class. */
export function classKeyOf(requirement: Requirement, namespace: string): string {
  const label = requirement.label === undefined ? undefined : formatLabel(unordered(parseLabel(requirement.label)));
  const models = Object.entries(requirement.models ?? {}).map(([service, names]) => [service, sortedSet(names)]);
  return shortHash(canonical({ namespace, ...requirement, label, models: Object.fromEntries(models) }));
}

/** `a && b` asks for what `b && a` asks for. */
function unordered(expression: LabelExpression): LabelExpression {
  switch (expression.kind) {
    case "label":
    case "version":
      return expression;
    case "not":
      return { kind: "not", term: unordered(expression.term) };
    case "and":
    case "or": {
      const byText = new Map(expression.terms.map((term) => unordered(term)).map((term) => [formatLabel(term), term]));
      const terms = [...byText.keys()].sort().flatMap((text) => byText.get(text) ?? []);
      const [only] = terms;
      return terms.length === 1 && only !== undefined ? only : { kind: expression.kind, terms };
    }
  }
}

/** Workers with equal offers, in whatever order they list them, share this signature. */
export function signatureOf(offer: Offer): string {
  const models = Object.entries(offer.models).map(([service, names]) => [service, sortedSet(names)]);
  return shortHash(
    canonical({
      ...offer,
      labels: sortedSet(offer.labels),
      handlers: sortedSet(offer.handlers),
      services: sortedSet(offer.services),
      models: Object.fromEntries(models),
    }),
  );
}

/** 96 bits: short enough for a store key, and two classes of one store do not meet by chance. */
function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 16);
}

/** JSON with sorted keys and without undefined members. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === "object" && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : member,
  );
}

function sortedSet(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}

/**
 * Every clause that keeps a job with `requirement` off a worker with `offer`; none means it can run there once there is
 * room. Resources are compared with what the worker has in all, never with what is free now. The namespace is not looked
 * at: it is part of the class key.
 */
export function mismatches(requirement: Requirement, offer: Offer): Mismatch[] {
  return [
    ...labelMismatch(requirement, offer),
    ...placeMismatches(requirement, offer),
    ...hardwareMismatches(requirement, offer),
    ...modelMismatches(requirement, offer),
    ...customMismatches(requirement, offer),
    ...isolationMismatch(requirement, offer),
    ...resourceMismatches(requirement.resources, offer.total),
  ];
}

function labelMismatch({ label }: Requirement, offer: Offer): Mismatch[] {
  const reason = label === undefined ? undefined : labelFailure(parseLabel(label), offer.labels);
  return reason === undefined ? [] : [{ clause: `label ${label}`, reason }];
}

/** Handler, template, service, ephemeral: there or not there. */
function placeMismatches(requirement: Requirement, offer: Offer): Mismatch[] {
  const { handler, template, service } = requirement;
  const found: Mismatch[] = [];
  if (handler !== undefined && !offer.handlers.includes(handler)) {
    found.push({ clause: `handler ${handler}`, reason: "no connected worker registers it" });
  }
  if (template !== undefined && offer.template !== template) {
    const reason = offer.template === undefined ? "the worker is of no template" : `the worker is ${offer.template}`;
    found.push({ clause: `template ${template}`, reason });
  }
  if (service !== undefined && !offer.services.includes(service)) {
    found.push({ clause: `service ${service}`, reason: offered("service", offer.services) });
  }
  if (requirement.ephemeral === true && !offer.ephemeral) {
    found.push({ clause: "ephemeral", reason: "the worker lives on after the job" });
  }
  return found;
}

function hardwareMismatches(requirement: Requirement, offer: Offer): Mismatch[] {
  return Object.entries(requirement.hardware ?? {}).flatMap(([name, wanted]) => {
    const has = own(offer.hardware, name);
    if (typeof wanted === "number") {
      if (typeof has === "number" && has >= wanted) return [];
    } else if (has === wanted) return [];
    const clause = `hardware ${name} ${typeof wanted === "number" ? ">=" : "="} ${wanted}`;
    return [{ clause, reason: has === undefined ? `no ${name}` : `${name} is ${has}` }];
  });
}

function modelMismatches(requirement: Requirement, offer: Offer): Mismatch[] {
  return Object.entries(requirement.models ?? {}).flatMap(([service, names]) => {
    const has = service === ANY_SERVICE ? Object.values(offer.models).flat() : (own(offer.models, service) ?? []);
    const place = service === ANY_SERVICE ? "" : ` of ${service}`;
    return names
      .filter((name) => !has.includes(name))
      .map((name) => ({ clause: `model ${name}${place}`, reason: offered(`model${place}`, has) }));
  });
}

function customMismatches(requirement: Requirement, offer: Offer): Mismatch[] {
  return Object.entries(requirement.custom ?? {}).flatMap(([name, wanted]) => {
    const has = own(offer.custom, name);
    if (typeof wanted === "number") {
      if (typeof has === "number" && has >= wanted) return [];
    } else if (has !== undefined && canonical(has) === canonical(wanted)) return [];
    const clause = `custom ${name} ${typeof wanted === "number" ? ">=" : "="} ${shown(wanted)}`;
    return [{ clause, reason: has === undefined ? `no ${name}` : `${name} is ${shown(has)}` }];
  });
}

/**
 * A worker that belongs to a customer runs nothing but this customer's isolated work: a job without isolation does not
 * say whose it is, and letting it in would break the promise to those who asked for `strict`.
 */
function isolationMismatch({ isolation }: Requirement, offer: Offer): Mismatch[] {
  if (offer.customer === isolation?.customer) return [];
  if (isolation === undefined) {
    return [{ clause: "isolation none", reason: `the worker is kept for customer ${offer.customer}` }];
  }
  if (isolation.level === "loose" && offer.customer === undefined) return [];
  const reason =
    offer.customer === undefined
      ? "the worker is shared by all customers"
      : `the worker is kept for customer ${offer.customer}`;
  return [{ clause: `isolation ${isolation.level} for ${isolation.customer}`, reason }];
}

const RESOURCES: { name: string; of: (resources: Resources) => number; format: (amount: number) => string }[] = [
  { name: "cpu", of: (resources) => resources.cpuMillis, format: formatCpuMillis },
  { name: "memory", of: (resources) => resources.memoryBytes, format: formatBytes },
  { name: "gpu", of: (resources) => resources.gpu, format: String },
  { name: "storage", of: (resources) => resources.storageBytes, format: formatBytes },
];

function resourceMismatches(wanted: Resources, total: Resources): Mismatch[] {
  return RESOURCES.filter(({ of }) => of(wanted) > of(total)).map(({ name, of, format }) => ({
    clause: `${name} ${format(of(wanted))}`,
    reason: `the worker has ${format(of(total))} in all`,
  }));
}

/** Whether the job fits into what a worker has left now. */
export function fits(resources: Resources, free: Resources): boolean {
  return RESOURCES.every(({ of }) => of(resources) <= of(free));
}

/** Names come from people: `constructor` must not be found on the prototype. */
function own<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

function offered(what: string, names: readonly string[]): string {
  return names.length === 0 ? `the worker offers no ${what}` : `the worker offers ${sortedSet(names).join(", ")}`;
}

function shown(value: Json): string {
  return typeof value === "string" ? value : canonical(value);
}
