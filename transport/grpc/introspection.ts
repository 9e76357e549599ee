import { createRequire } from "node:module";
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type * as HealthCheck from "grpc-health-check";
import type * as Reflection from "@grpc/reflection";
import type { MethodDefinition, Server, ServiceDefinition, StatusObject } from "@grpc/grpc-js";
import type { UntypedServiceImplementation } from "@grpc/grpc-js";
import { descriptorSet } from "../../proto/gen/descriptor.ts";
import { HodeiError } from "../../workflow/errors.ts";
import { toStatus } from "./errors.ts";
import { unreadable } from "./stream.ts";

/**
 * grpc.health.v1.Health and grpc.reflection on every server. Their packages bring protobufjs (65 ms and 13 MB), which
 * most processes never need: each service is registered by its paths alone and filled in by its first call.
 */
export class Introspection {
  readonly #services: readonly string[];
  #health: HealthCheck.HealthImplementation | undefined;
  #serving = true;

  /** `services` by their full names: what reflection shows, and what health knows beside "" (the whole server). */
  constructor(services: readonly string[]) {
    this.#services = services;
  }

  addTo(server: Server): void {
    addLazily(server, HEALTH_METHODS, (target) => this.#loadHealth().addToServer(target));
    addLazily(server, REFLECTION_METHODS, (target) => this.#reflection().addToServer(target));
  }

  notServing(): void {
    this.#serving = false;
    for (const service of this.#known) this.#health?.setStatus(service, "NOT_SERVING");
  }

  get #known(): readonly string[] {
    return ["", ...this.#services];
  }

  #loadHealth(): HealthCheck.HealthImplementation {
    const { HealthImplementation } = load("grpc-health-check") as typeof HealthCheck;
    const status = this.#serving ? "SERVING" : "NOT_SERVING";
    this.#health = new HealthImplementation(Object.fromEntries(this.#known.map((service) => [service, status])));
    return this.#health;
  }

  #reflection(): Reflection.ReflectionService {
    const { ReflectionService } = load("@grpc/reflection") as typeof Reflection;
    // Reflection reads the descriptors alone; this is the form of a package that asks for nothing else.
    const format = "Protocol Buffer 3 EnumDescriptorProto";
    const files = { format, type: {}, fileDescriptorProtos: fileDescriptors() } as const;
    return new ReflectionService({ hodei: files }, { services: [...this.#services] });
  }
}

const load = createRequire(import.meta.url);

type Call = { request?: unknown; emit(event: "error", status: StatusObject): unknown };
type Path = { path: string; requestStream: boolean; responseStream: boolean };

const HEALTH_METHODS: Record<string, Path> = {
  check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false },
  list: { path: "/grpc.health.v1.Health/List", requestStream: false, responseStream: false },
  watch: { path: "/grpc.health.v1.Health/Watch", requestStream: false, responseStream: true },
};

const REFLECTION_METHODS: Record<string, Path> = {
  v1: {
    path: "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    requestStream: true,
    responseStream: true,
  },
  v1alpha: {
    path: "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    requestStream: true,
    responseStream: true,
  },
};

type Real = { definition: MethodDefinition<unknown, unknown>; handle: (...args: unknown[]) => unknown };

/** `fill` adds the real services to what it is given; a request's bytes are the first to ask for them. */
function addLazily(
  server: Server,
  methods: Record<string, Path>,
  fill: (target: Pick<Server, "addService">) => void,
): void {
  let found: Map<string, Real> | undefined;
  const real = (path: string): Real => {
    found ??= collect(fill);
    const method = found.get(path);
    if (!method) throw new Error(`no implementation of ${path}`);
    return method;
  };
  const definition: Record<string, MethodDefinition<unknown, unknown>> = {};
  const implementation: UntypedServiceImplementation = {};
  for (const [name, method] of Object.entries(methods)) {
    const { path } = method;
    definition[name] = {
      ...method,
      requestSerialize: (value) => real(path).definition.requestSerialize(value),
      requestDeserialize: (bytes) => {
        try {
          return real(path).definition.requestDeserialize(bytes);
        } catch (error) {
          // Thrown on, it would be INTERNAL to grpc-js. Reflection says to its stream that it knows no such request.
          return unreadable(error, "INVALID_ARGUMENT");
        }
      },
      responseSerialize: (value) => real(path).definition.responseSerialize(value),
      responseDeserialize: (bytes) => real(path).definition.responseDeserialize(bytes),
    };
    implementation[name] = (call: Call, respond?: (status: Partial<StatusObject>) => void) => {
      const { request } = call;
      if (!(request instanceof HodeiError)) return real(path).handle(call, respond);
      if (respond) respond(toStatus(request));
      else call.emit("error", toStatus(request));
    };
  }
  server.addService(definition, implementation);
}

function collect(fill: (target: Pick<Server, "addService">) => void): Map<string, Real> {
  const found = new Map<string, Real>();
  fill({
    addService(service: ServiceDefinition, implementation: UntypedServiceImplementation) {
      for (const [name, definition] of Object.entries(service)) {
        const handle: unknown = implementation[name] ?? implementation[definition.originalName ?? name];
        if (typeof handle !== "function") continue;
        const bound = (...args: unknown[]): unknown => Reflect.apply(handle, implementation, args) as unknown;
        found.set(definition.path, { definition, handle: bound });
      }
    },
  });
  return found;
}

/** The files of a FileDescriptorSet, whose one field is `repeated FileDescriptorProto file = 1`. */
function fileDescriptors(): Buffer[] {
  const reader = new BinaryReader(Buffer.from(descriptorSet, "base64"));
  const files: Buffer[] = [];
  while (reader.pos < reader.len) {
    reader.tag();
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
}
