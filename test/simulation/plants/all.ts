import type { Plant } from "../run.ts";
import { CHILD_BUGS } from "./children.ts";
import { COMMIT_BUGS } from "./commits.ts";
import { JOB_BUGS } from "./jobs.ts";
import { OWNERSHIP_BUGS } from "./ownership.ts";
import { TIME_BUGS } from "./time.ts";

/** Bugs that the simulator must see: each is caught within 1,000 seeds, or the simulator is blind in one eye. */
export const PLANTED_BUGS: readonly Plant[] = [
  ...OWNERSHIP_BUGS,
  ...COMMIT_BUGS,
  ...JOB_BUGS,
  ...CHILD_BUGS,
  ...TIME_BUGS,
];
