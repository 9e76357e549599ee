import { IsolationLevel } from "../../../proto/gen/hodei/v1/requirement.ts";
import type {
  Isolation as WireIsolation,
  ModelList,
  Offer as WireOffer,
  Quantity,
  Requirement as WireRequirement,
  Resources as WireResources,
} from "../../../proto/gen/hodei/v1/requirement.ts";
import type { Offer, Requirement, Resources } from "../../../workflow/requirement.ts";
import { enumeration, optional, parseJsonObject, required } from "./codec.ts";

const isolationLevel = enumeration("isolation.level", { loose: IsolationLevel.LOOSE, strict: IsolationLevel.STRICT });

export function offerToWire(offer: Offer): WireOffer {
  return {
    ...offer,
    hardware: hardwareToWire(offer.hardware),
    models: modelsToWire(offer.models),
    customJson: JSON.stringify(offer.custom),
  };
}

export function offerFromWire(wire: WireOffer): Offer {
  const { customJson, ...rest } = wire;
  return {
    ...rest,
    hardware: hardwareFromWire(wire.hardware),
    models: modelsFromWire(wire.models),
    custom: parseJsonObject(customJson, "offer.customJson"),
    total: resourcesFromWire(wire.total, "offer.total"),
  };
}

export function requirementToWire(requirement: Requirement): WireRequirement {
  return {
    ...requirement,
    hardware: hardwareToWire(requirement.hardware ?? {}),
    models: modelsToWire(requirement.models ?? {}),
    customJson: requirement.custom ? JSON.stringify(requirement.custom) : "",
    isolation: optional(requirement.isolation, (of) => ({ ...of, level: isolationLevel.toWire(of.level) })),
  };
}

/** Empty maps come back as absent: they ask for nothing. */
export function requirementFromWire(wire: WireRequirement): Requirement {
  const { hardware, models, customJson, isolation, ...rest } = wire;
  const requirement: Requirement = { ...rest, resources: resourcesFromWire(wire.resources, "requirement.resources") };
  if (Object.keys(hardware).length > 0) requirement.hardware = hardwareFromWire(hardware);
  if (Object.keys(models).length > 0) requirement.models = modelsFromWire(models);
  if (customJson !== "") requirement.custom = parseJsonObject(customJson, "requirement.customJson");
  if (isolation) requirement.isolation = isolationFromWire(isolation);
  return requirement;
}

export function resourcesFromWire(wire: WireResources | undefined, field: string): Resources {
  return required(wire, field);
}

function isolationFromWire(wire: WireIsolation): { level: "loose" | "strict"; customer: string } {
  return { level: isolationLevel.fromWire(wire.level), customer: wire.customer };
}

function hardwareToWire(hardware: Record<string, number | string>): Record<string, Quantity> {
  return mapValues(hardware, (value) => ({
    value: typeof value === "number" ? { $case: "number", value } : { $case: "text", value },
  }));
}

function hardwareFromWire(wire: Record<string, Quantity>): Record<string, number | string> {
  return mapValues(wire, (quantity) => required(quantity.value, "hardware").value);
}

function modelsToWire(models: Record<string, string[]>): Record<string, ModelList> {
  return mapValues(models, (names) => ({ names }));
}

function modelsFromWire(wire: Record<string, ModelList>): Record<string, string[]> {
  return mapValues(wire, (list) => list.names);
}

function mapValues<A, B>(of: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [key, map(value)]));
}
