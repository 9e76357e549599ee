/** Where something stands in a document: keys and indices from the root. */
export type Path = readonly (string | number)[];

/** As people read it: `spec.steps.build.needs[0]`, with `["a key"]` for keys that are no plain names. "" is the root. */
export function formatPath(path: Path): string {
  let text = "";
  for (const part of path) {
    if (typeof part === "number") text += `[${part}]`;
    else if (!/^[A-Za-z_$][A-Za-z0-9_$-]*$/.test(part)) text += `[${JSON.stringify(part)}]`;
    else text += text === "" ? part : `.${part}`;
  }
  return text;
}
