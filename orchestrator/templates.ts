import type { Logger } from "../base/log.ts";
import type { TemplateView } from "../transport/api/template.ts";
import type { ServiceHandlers } from "../transport/transport.ts";
import { HodeiError } from "../workflow/errors.ts";
import { suggestion } from "../workflow/suggest.ts";
import { type EngineLink, type EngineLinks, STATUS_DEADLINE_MS } from "./links.ts";

type Handlers = ServiceHandlers<"template">;

/**
 * The templates that engines make workers from now, asked of the engines themselves: nothing stores templates yet.
 * Where several engines have one of the same id, the first of them by name says what it is.
 */
export class Templates implements Handlers {
  readonly #options: TemplatesOptions;

  constructor(options: TemplatesOptions) {
    this.#options = options;
  }

  readonly list: Handlers["list"] = async (_, { identity }) => await this.#find(identity.namespace);

  readonly get: Handlers["get"] = async ({ id }, { identity }) => {
    if (id === "") throw new HodeiError("INVALID_ARGUMENT", "the request names no template", { field: "id" });
    const { templates, unanswered } = await this.#find(identity.namespace);
    const found = templates.find((template) => template.id === id);
    if (found) return found;
    const ids = templates.map((template) => template.id);
    const unasked = unanswered.length === 0 ? "" : `; ${unanswered.join(", ")} did not answer and may have it`;
    throw new HodeiError("NOT_FOUND", `there is no template ${JSON.stringify(id)}${suggestion(id, ids)}${unasked}`, {
      field: "id",
      hint: "`hodei get templates` lists them.",
    });
  };

  async #find(namespace: string): Promise<{ templates: TemplateView[]; unanswered: string[] }> {
    const links = this.#options.links.all().toSorted((a, b) => (a.name < b.name ? -1 : 1));
    const answers = await Promise.all(links.map(async (link) => ({ link, templates: await this.#ask(link) })));
    const found = new Map<string, TemplateView>();
    for (const template of answers.flatMap(({ templates }) => templates ?? [])) {
      const owner = template.offer.namespace;
      if (owner !== "*" && owner !== namespace) continue;
      const known = found.get(template.id);
      if (known) known.engines.push(...template.engines);
      else found.set(template.id, { ...template, engines: [...template.engines] });
    }
    return {
      templates: [...found.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1)),
      unanswered: answers.filter(({ templates }) => !templates).map(({ link }) => link.name),
    };
  }

  /** Undefined when it does not say. */
  async #ask(link: EngineLink): Promise<TemplateView[] | undefined> {
    try {
      return (await link.channel.call("engine", "templates", {}, { deadlineMs: STATUS_DEADLINE_MS })).templates;
    } catch (error) {
      this.#options.logger.debug({ engine: link.name, error }, "an engine does not say what its templates are");
      return undefined;
    }
  }
}

export type TemplatesOptions = { links: EngineLinks; logger: Logger };
