import type { Metadata } from "@grpc/grpc-js";
import { HodeiError } from "../../workflow/errors.ts";
import { STREAM_BUFFER } from "../transport.ts";

/**
 * Several messages of a stream in one gRPC message (hodei.v1.Batch), written and read by hand: the generated code would copy
 * each message once more. A message of its own costs about 15 µs on each side whatever it holds, in a batch 1 to 2.
 */

/** Field 15, length-delimited. No message of a stream has a field 15, so this first byte tells a batch. */
const TAG = (15 << 3) | 2;

/** A message of more bytes travels alone: copying it into a batch would cost more than its frame. */
export const BATCHED_BYTES = 16 * 1024;

/** Of one batch, so that it never nears the bound of a message. */
const BATCH_BYTES = 256 * 1024;

const HEADER = "hodei-batches";

/** Says to the peer that batches may come. */
export function sayBatches(metadata: Metadata): Metadata {
  metadata.set(HEADER, "1");
  return metadata;
}

/** Whether the peer that sent these headers reads batches. */
export function readsBatches(metadata: Metadata): boolean {
  return metadata.get(HEADER)[0] === "1";
}

/** `bytes`: what is written; `count` and `messageBytes` of the messages in it. */
export type Frame = { bytes: Buffer; count: number; messageBytes: number };

/** The same messages in the same order in as few frames as the bounds allow. */
export function framesOf(messages: readonly Buffer[]): Frame[] {
  const frames: Frame[] = [];
  let batch: Buffer[] = [];
  let batchBytes = 0;
  const close = (): void => {
    const [only] = batch;
    const count = batch.length;
    if (only) frames.push({ bytes: count === 1 ? only : joined(batch), count, messageBytes: batchBytes });
    batch = [];
    batchBytes = 0;
  };
  for (const message of messages) {
    const alone = message.length > BATCHED_BYTES;
    if (alone || batch.length === STREAM_BUFFER || batchBytes + message.length > BATCH_BYTES) close();
    batch.push(message);
    batchBytes += message.length;
    if (alone) close();
  }
  close();
  return frames;
}

function joined(messages: readonly Buffer[]): Buffer {
  const size = messages.reduce((sum, { length }) => sum + 1 + varintBytes(length) + length, 0);
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  for (const message of messages) {
    bytes[at++] = TAG;
    let rest = message.length;
    for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
    bytes[at++] = rest;
    at += message.copy(bytes, at);
  }
  return bytes;
}

function varintBytes(value: number): number {
  return value < 1 << 7 ? 1 : value < 1 << 14 ? 2 : value < 1 << 21 ? 3 : 4;
}

/** The messages of one frame: views, no copies. Throws INVALID_ARGUMENT for what begins like a batch and is none. */
export function messagesOf(frame: Buffer): readonly Buffer[] {
  if (frame[0] !== TAG) return [frame];
  const messages: Buffer[] = [];
  for (let at = 0; at < frame.length;) {
    if (frame[at++] !== TAG) throw malformed("it holds something else than messages");
    let length = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = frame[at++];
      if (byte === undefined || shift > 21) throw malformed("the length of a message cannot be read");
      length |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (at + length > frame.length) throw malformed("its last message is cut off");
    if (length > 0 && frame[at] === TAG) throw malformed("it holds another batch");
    if (messages.push(frame.subarray(at, at + length)) > STREAM_BUFFER)
      throw malformed(`it holds more than ${STREAM_BUFFER} messages`);
    at += length;
  }
  return messages;
}

function malformed(why: string): HodeiError {
  return new HodeiError("INVALID_ARGUMENT", `this is no batch of messages: ${why}`, { field: "messages" });
}
