import type { ExecutionView } from "../transport/api/execution.ts";
import { HodeiError, type ErrorCode, ERROR_CODES } from "../workflow/errors.ts";

/** The execution ended, but not well. `view` holds what there is to know: state, error, steps. */
export class ExecutionFailed extends HodeiError {
  declare readonly view: ExecutionView;

  constructor(view: ExecutionView) {
    const { error } = view;
    const code: ErrorCode = error !== undefined && error.code in ERROR_CODES ? (error.code as ErrorCode) : "JOB_FAILED";
    const where = error?.step === undefined ? "" : ` at step ${error.step}`;
    super(code, `${view.workflow}@${view.version} ${view.id} ${view.state}${where}: ${error?.message ?? view.state}`);
    this.name = "ExecutionFailed";
    // Not enumerable: an error that nobody caught would print every step after the message that says it all.
    Object.defineProperty(this, "view", { value: view });
  }
}
