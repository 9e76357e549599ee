/** Keys of in-memory maps and how ids read back. */

/** Unique over the store: a namespace holds no `/`. */
export function executionKey(namespace: string, id: string): string {
  return `${namespace}/${id}`;
}

/** The parts of `jobId(...)`; undefined when the text is none. Child execution ids hold `/`, hence read from the right. */
export function parseJobId(
  text: string,
): { namespace: string; executionId: string; step: string; iteration: string; attempt: number } | undefined {
  const match = /^([^/]+)\/(.+)\/([^/]+)\/([^/#]+)#(\d+)$/.exec(text);
  if (!match) return undefined;
  const [, namespace = "", executionId = "", step = "", iteration = "", attempt = ""] = match;
  return { namespace, executionId, step, iteration, attempt: Number(attempt) };
}
