import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** Seeds that failed once, and why: one a line, "SEED reason". They are run again with every `npm test`. */
export const CORPUS = fileURLToPath(new URL("./corpus.txt", import.meta.url));

export function corpusSeeds(): { seed: number; reason: string }[] {
  return readFileSync(CORPUS, "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => {
      const [seed = "", ...reason] = line.split(" ");
      return { seed: Number(seed), reason: reason.join(" ") };
    });
}
