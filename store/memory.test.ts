import { storeConformance } from "./conformance.ts";
import { createMemoryStore } from "./memory.ts";

storeConformance("memory", async (options) => ({ store: createMemoryStore(options) }));
