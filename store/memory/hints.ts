import type { Hint, WatchTopic } from "../store.ts";

/**
 * Hints wait here until the call that gave them is durable (`deliver`), so that whoever follows one finds what it
 * points at. Equal hints that wait together are one.
 */
export type Hints = {
  watch(topic: WatchTopic, onHint: (hint: Hint) => void): () => void;
  give(topic: WatchTopic, hint: Hint): void;
  /** Each in its own microtask: a subscriber may call the store again at once, and one that throws harms no other. */
  deliver(): void;
  /** Those that wait now; the answer delivers them. For an adapter whose next calls come before this group is durable. */
  take(): () => void;
  /** The calls that gave them did not come to pass. */
  forget(): void;
};

export function createHints(): Hints {
  const watchers = new Map<string, Set<(hint: Hint) => void>>();
  let waiting = new Map<string, { topic: string; hint: Hint }>();

  const take = (): (() => void) => {
    const given = waiting;
    if (given.size > 0) waiting = new Map();
    return () => {
      for (const { topic, hint } of given.values()) {
        for (const watcher of watchers.get(topic) ?? []) {
          queueMicrotask(() => void (watchers.get(topic)?.has(watcher) === true && watcher(hint)));
        }
      }
    };
  };

  return {
    watch(topic, onHint) {
      const key = topicKey(topic);
      // A wrapper of its own per subscription, so that the same function may be given twice.
      const watcher = (hint: Hint): void => onHint(hint);
      const set = watchers.get(key) ?? new Set();
      watchers.set(key, set.add(watcher));
      return () => {
        set.delete(watcher);
        if (set.size === 0 && watchers.get(key) === set) watchers.delete(key);
      };
    },
    give(topic, hint) {
      const key = topicKey(topic);
      if (watchers.has(key)) waiting.set(`${key} ${hintKey(hint)}`, { topic: key, hint });
    },
    deliver: () => take()(),
    take,
    forget: () => void (waiting = new Map()),
  };
}

function topicKey(topic: WatchTopic): string {
  switch (topic.kind) {
    case "session":
      return `session ${topic.session}`;
    case "execution":
    case "end":
      return `${topic.kind} ${topic.namespace}/${topic.id}`;
    case "logs":
      return `logs ${topic.namespace}/${topic.executionId}`;
    case "registry":
      return `registry ${topic.namespace}`;
  }
}

function hintKey(hint: Hint): string {
  switch (hint.kind) {
    case "inbox":
      return `inbox ${hint.shard}`;
    case "cancel":
      return `cancel ${hint.token}`;
    case "workspaceReleased":
      return `workspaceReleased ${hint.workspace}`;
    case "work":
    case "changed":
      return hint.kind;
  }
}
