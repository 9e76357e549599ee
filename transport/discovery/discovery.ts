/**
 * The port to "which engines are there": a static list, DNS or the Kubernetes API. A discovery only reports; what a
 * failed or suspiciously empty report means is decided by the orchestrator's membership.
 */
export type Discovery = {
  /** The engines that are discovered and ready now. Throws UNAVAILABLE when that cannot be told. */
  current(): EngineAddress[];
  /** Tells that `current` may have changed; hints may repeat. Returns the way to stop. */
  watch(onChange: () => void): () => void;
};

/** `name` is stable over restarts (a pod's name); `address` is `host:port` as others reach it. */
export type EngineAddress = { name: string; address: string };
