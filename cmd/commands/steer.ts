import type { Command } from "commander";
import { UsageError } from "../exit.ts";
import { printOne } from "../output.ts";
import { type Session, withClient } from "../session.ts";
import { idOf } from "./read.ts";

/** cancel, signal, pause, resume, retry of an execution; drain of an engine. */
export function addSteerCommands(program: Command): void {
  program
    .command("cancel")
    .description("stop an execution; its finally steps still run")
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .option("--reason <text>", "kept in the history", "")
    .action((words: string[], flags: { reason: string }, command: Command) =>
      withClient(command, async (session) => {
        await session.client.cancel(idOf(words), flags.reason);
        await acknowledge(session, idOf(words), (state) =>
          ["succeeded", "failed"].includes(state) ? `has ${state}, there is nothing to cancel` : "cancel requested",
        );
      }),
    );
  program
    .command("signal")
    .description("send a signal, or an approval, to an execution that waits for it")
    .argument("<id>", "the execution")
    .argument("<name>", "the signal that a step waits for; that of an approval is its step's id")
    .argument("[payload]", 'JSON; for an approval {"approved": true, "comment": "…"}')
    .action((id: string, name: string, payload: string | undefined, _: object, command: Command) =>
      withClient(command, async (session) => {
        await session.client.signal(id, name, payloadOf(payload));
        await acknowledge(session, id, `signal ${name} taken`);
      }),
    );
  simple(program, "pause", "start no further step; running ones go on", "paused", (session, id) =>
    session.client.pause(id),
  );
  simple(program, "resume", "go on after pause", "resumed", (session, id) => session.client.resume(id));
  program
    .command("retry")
    .description("run the failed steps of an ended execution again, and what depends on them")
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .option("--step <id...>", "these steps instead")
    .action((words: string[], flags: { step?: string[] }, command: Command) =>
      withClient(command, async (session) => {
        await session.client.retry(idOf(words), flags.step);
        await acknowledge(session, idOf(words), "runs again");
      }),
    );
  program
    .command("engine")
    .description("engine drain NAME: move its shards and workers to the others")
    .argument("<verb>", "drain")
    .argument("<name>", "the engine")
    .action((verb: string, name: string, _: object, command: Command) => {
      if (verb !== "drain") throw new UsageError(`engine ${verb}: the verb is drain`, "verb");
      return withClient(command, async (session) => {
        await session.client.call("cluster", "drainEngine", { name });
        printOne(
          session.format,
          { engine: name, state: "draining" },
          () => `${name}: draining`,
          () => name,
        );
      });
    });
}

function simple(
  program: Command,
  name: string,
  description: string,
  done: string,
  send: (session: Session, id: string) => Promise<void>,
): void {
  program
    .command(name)
    .description(description)
    .usage("[options] [execution] ID")
    .argument("<id...>", "the execution")
    .action((words: string[], _: object, command: Command) =>
      withClient(command, async (session) => {
        await send(session, idOf(words));
        await acknowledge(session, idOf(words), done);
      }),
    );
}

async function acknowledge(session: Session, id: string, words: string | ((state: string) => string)): Promise<void> {
  const { state } = await session.client.get(id);
  printOne(
    session.format,
    { executionId: id, state },
    () => `${id}: ${typeof words === "string" ? words : words(state)}`,
    () => id,
  );
}

function payloadOf(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UsageError(`the payload is not JSON: ${(error as Error).message}`, "payload");
  }
}
