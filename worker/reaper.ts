import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import type { Logger } from "../base/log.ts";

/**
 * Steps run in process groups of their own, so nothing in the kernel ends them when the worker is killed with -9; they would
 * run on beside the next attempt. One small shell outlives the worker: it reads which groups run from a pipe, and when
 * the pipe ends, the worker is gone and it ends what is left. `kill` is a builtin and every word a number that we wrote.
 */
const SCRIPT = `
groups=" "
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) case $groups in *" $group "*) groups="\${groups%%" $group "*} \${groups#*" $group "}" ;; esac ;;
  esac
done
for group in $groups; do kill -TERM "-$group"; kill -CONT "-$group"; done 2>/dev/null
[ "$groups" = " " ] || sleep 2
for group in $groups; do kill -KILL "-$group"; done 2>/dev/null
exit 0
`;

/** Started with the first step: a worker that runs handlers alone never pays for it. */
export class Reaper {
  readonly #logger: Logger;
  readonly #groups = new Set<number>();
  #child: ChildProcess | undefined;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  add(group: number): void {
    this.#groups.add(group);
    if (this.#child) this.#tell(`+ ${group}\n`);
    else this.#start();
  }

  remove(group: number): void {
    if (this.#groups.delete(group)) this.#tell(`- ${group}\n`);
  }

  /** Its pipe ends; with no group left it exits at once. */
  stop(): void {
    this.#child?.stdin?.end();
    this.#child = undefined;
  }

  #start(): void {
    // Detached: who kills the worker's group must not kill the one that cleans up after it.
    const child = spawn("/bin/sh", ["-c", SCRIPT], { stdio: ["pipe", "ignore", "ignore"], detached: true, cwd: "/" });
    this.#child = child;
    const lost = (error?: Error): void => {
      if (this.#child !== child) return;
      this.#child = undefined; // the next step starts another, which learns all groups
      this.#logger.warn({ error }, "the reaper of step processes ended; steps would outlive a killed worker");
    };
    child.on("error", lost);
    child.on("exit", () => lost());
    child.stdin.on("error", lost);
    child.unref();
    // The pipe must not keep a worker alive that has nothing else to do. Its handle is a socket that can be unreferenced.
    if ("unref" in child.stdin && typeof child.stdin.unref === "function") child.stdin.unref();
    for (const group of this.#groups) this.#tell(`+ ${group}\n`);
  }

  #tell(line: string): void {
    this.#child?.stdin?.write(line);
  }
}
