/**
 * Runs `action` when the promise callbacks that are ready have run, and those that they make ready: before anything else
 * happens in the event loop, but after all that one reading of a socket brought.
 */
export function afterPromises(action: () => void): void {
  // Asked for by a promise callback, a tick comes after all of these; asked for by anything else, before them.
  queueMicrotask(() => process.nextTick(action));
}

/**
 * Runs `action` when the promise callbacks of this turn of the event loop have run and the input that is ready has been
 * read: where calls that came together are gathered into one. A primitive of its own because timers are banned elsewhere
 * and a delay of 0 ms would cost a millisecond. Not for orchestrator, engine and worker: simulated time goes on without it.
 */
export function nextTurn(action: () => void): void {
  setImmediate(action);
}
