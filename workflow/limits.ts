/** Every published bound of the domain, in one place. Checked at the edge; the error names the bound. */
export const LIMITS = {
  definitionBytes: 256 * 1024,
  /** Values of a definition once its YAML aliases are resolved, and how deep they nest. */
  definitionNodes: 100_000,
  definitionDepth: 64,
  /** After defaults are filled into every step. */
  normalFormBytes: 1024 * 1024,
  /** Violations listed in one error. */
  violations: 50,
  /** Definitions that one definition can reach through sub-workflows. */
  closure: 1000,
  inputBytes: 256 * 1024,
  /** How deep an input or a payload may nest. */
  valueDepth: 64,
  /** Of one step iteration. */
  outputBytes: 64 * 1024,
  signalBytes: 64 * 1024,
  scriptBytes: 64 * 1024,
  expressionLength: 4096,
  /** Nodes of one expression's syntax tree. */
  expressionNodes: 1000,
  /** Of parentheses, calls and selections within one expression; also of lists and objects in a template. */
  expressionDepth: 50,
  /** Work of one evaluation, and of all expressions of one template together: about 20 ms (see evaluator.ts). */
  expressionSteps: 200_000,
  /** Of the JSON that one evaluation, or one template, gives. */
  expressionResultBytes: 256 * 1024,
  patternLength: 512,
  labelExpressionLength: 1024,
  idLength: 128,
  steps: 1000,
  /** Of one forEach or matrix. */
  iterations: 10_000,
  /** Iterations of one step that are open at once, whatever maxParallel says. */
  openIterations: 256,
  childDepth: 16,
  treeSize: 10_000,
  /** Jobs or messages in one commit; the rest waits for the next turn. */
  commitEntries: 256,
  commitBytes: 1024 * 1024,
  infrastructureAttempts: 3,
  userAttempts: 100,
  signalsRemembered: 1000,
  labels: 32,
  envEntries: 128,
} as const;
