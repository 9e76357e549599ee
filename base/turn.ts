/**
 * Runs `action` when the promise callbacks of this turn of the event loop have run and the input that is ready has been
 * read: where calls that came together are gathered into one. A primitive of its own because timers are banned elsewhere
 * and a delay of 0 ms would cost a millisecond.
 */
export function nextTurn(action: () => void): void {
  setImmediate(action);
}
