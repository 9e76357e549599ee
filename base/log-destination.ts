/** What a reader that has stopped may make us hold; lines beyond are counted and dropped. */
const HELD_BYTES = 4 * 1024 * 1024;
/** Lines wait so long for others: a write costs as much as twenty lines. A full pipe is tried again after the same. */
const GATHER_MS = 10;

/** Writes what it can at once and answers how many bytes that was, as `writeSync` does; throws EAGAIN when that is none. */
type Write = (bytes: Uint8Array) => number;

/**
 * Where log lines go: those of 10 ms are one write. A kill -9 loses that much at most; an exit calls `flush`. A slow reader
 * never holds up the process: pino's own destination, when it is synchronous, sleeps 100 ms with the event loop each time the
 * pipe is full (leases are renewed on that loop); when it is not, an exit may lose what a thread was just writing.
 */
export class LogDestination {
  readonly #write: Write;
  readonly #later: (action: () => void) => void;
  #lines: string[] = [];
  /** What a write left over. */
  #rest: Buffer | undefined;
  #heldBytes = 0;
  #dropped = 0;
  #planned = false;

  constructor(write: Write, later = gathering) {
    this.#write = write;
    this.#later = later;
  }

  /** One line with its newline. Never throws. */
  write(line: string): void {
    if (this.#heldBytes + line.length > HELD_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#heldBytes += line.length;
    this.#lines.push(line);
    this.#plan();
  }

  /** Whatever the reader takes at once. */
  flush(): void {
    while (this.#rest !== undefined || this.#lines.length > 0) {
      const bytes = this.#rest ?? Buffer.from(this.#lines.join(""));
      if (this.#rest === undefined) this.#lines = [];
      const written = this.#some(bytes);
      this.#rest = written < bytes.length ? bytes.subarray(written) : undefined;
      this.#heldBytes = (this.#rest?.length ?? 0) + this.#lines.reduce((sum, line) => sum + line.length, 0);
      if (written === 0) return;
      if (this.#rest === undefined) this.#tellDropped();
    }
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    this.#later(() => {
      this.#planned = false;
      this.flush();
      if (this.#rest !== undefined) this.#plan();
    });
  }

  #some(bytes: Uint8Array): number {
    try {
      return this.#write(bytes);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // Any other error (EPIPE, ENOSPC) means that there is no reader: there is nobody to tell of it either.
      return code === "EAGAIN" || code === "EBUSY" ? 0 : bytes.length;
    }
  }

  #tellDropped(): void {
    if (this.#dropped === 0) return;
    const line = `${JSON.stringify({ level: 40, dropped: this.#dropped, msg: "log lines were dropped: nobody read them" })}\n`;
    this.#dropped = 0;
    this.write(line);
  }
}

/** Lines are no reason to stay alive. */
function gathering(action: () => void): void {
  setTimeout(action, GATHER_MS).unref();
}
