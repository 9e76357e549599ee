import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** What the tests read of the documentation: pages, fenced blocks, tables. Paths are from the root of the project. */
export const ROOT = join(import.meta.dirname, "../..");

export const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** Every page under docs/. */
export function pages(folder = "docs"): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return pages(path);
    return path.endsWith(".md") ? [path] : [];
  });
}

/** The texts between ```language and ```, in order. */
export function blocks(page: string, language: string): string[] {
  const fence = new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm");
  return [...page.matchAll(fence)].map((match) => match[1] ?? "");
}

/** The rows of the table under a heading, as cells without backticks. Throws when there is none: a test must not go blind. */
export function table(page: string, heading: string): string[][] {
  const lines = page.split("\n");
  const at = lines.findIndex((line) => /^#+ /.test(line) && line.replace(/^#+ /, "") === heading);
  const start = at < 0 ? -1 : lines.findIndex((line, index) => index > at && line.startsWith("|"));
  if (start < 0) throw new Error(`there is no table under "${heading}"`);
  const end = lines.findIndex((line, index) => index > start && !line.startsWith("|"));
  const rows = lines.slice(start, end < 0 ? undefined : end).map(cellsOf);
  return rows.slice(2);
}

/** A `|` within a cell is written `\|`. */
function cellsOf(line: string): string[] {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1);
  return cells.map((cell) => cell.replaceAll("`", "").replaceAll("\\|", "|").trim());
}
