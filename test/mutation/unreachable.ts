/** What the ignorer looks at in a node of the syntax tree. */
type Case = {
  type: string;
  test?: unknown;
  consequent?: { type: string; expression?: { callee?: { name?: string } } }[];
};

/**
 * `default: unreachable(value)` is for the compiler, which proves that nothing gets there: no test can tell a mutant of it
 * apart.
 */
export const strykerPlugins = [
  {
    kind: "Ignore",
    name: "unreachable",
    value: {
      shouldIgnore({ node }: { node: Case }): string | undefined {
        const only = node.type === "SwitchCase" && node.test === null ? node.consequent?.[0] : undefined;
        return only?.expression?.callee?.name === "unreachable" ? "no value gets there" : undefined;
      },
    },
  },
];
