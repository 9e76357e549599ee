import type { AssignedJob } from "../transport/api/worker.ts";
import { idempotencyKey } from "../workflow/job.ts";

/**
 * What steps inherit of the worker's environment: what tools need to work at all. A list of what may pass and not of what
 * may not, because the worker's own credentials stand in its environment and nobody can name all of them.
 */
const PASSED = new Set(
  (
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE TZ TMPDIR TERM HOSTNAME JAVA_HOME MAVEN_HOME GRADLE_USER_HOME GOPATH GOROOT " +
    "GOCACHE CARGO_HOME RUSTUP_HOME NVM_DIR PYENV_ROOT DOCKER_HOST KUBECONFIG XDG_CACHE_HOME XDG_CONFIG_HOME XDG_RUNTIME_DIR " +
    "SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE CURL_CA_BUNDLE GIT_SSL_CAINFO PIP_CERT PIP_INDEX_URL " +
    "HODEI_POD_UID HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy npm_config_cache " +
    "npm_config_registry NPM_CONFIG_CACHE NPM_CONFIG_REGISTRY NPM_CONFIG_CAFILE npm_config_cafile GOPROXY GOFLAGS GOSUMDB"
  ).split(" "),
);

export function inheritedEnv(baseEnv: Record<string, string>, passEnv: readonly string[] = []): Record<string, string> {
  const passes = (name: string): boolean => PASSED.has(name) || name.startsWith("LC_") || passEnv.includes(name);
  return Object.fromEntries(Object.entries(baseEnv).filter(([name]) => passes(name)));
}

export type StepPlaces = { output: string; workspace: string };

/** Later ones win: inherited, the step's, ours. Ours cannot be overridden, so that a retry key is never forged by accident. */
export function stepEnv(
  inherited: Record<string, string>,
  job: AssignedJob,
  places: StepPlaces,
): Record<string, string> {
  return {
    ...inherited,
    ...job.work.env,
    CI: job.work.env["CI"] ?? "true",
    BUILD_NUMBER: String(job.runNumber),
    HODEI_NAMESPACE: job.namespace,
    HODEI_EXECUTION: job.executionId,
    HODEI_EXECUTION_UID: job.executionUid,
    HODEI_STEP: job.step,
    HODEI_ITERATION: job.iteration,
    HODEI_ATTEMPT: String(job.attempt),
    HODEI_IDEMPOTENCY_KEY: idempotencyKey(job),
    HODEI_OUTPUT: places.output,
    HODEI_WORKSPACE: places.workspace,
  };
}
