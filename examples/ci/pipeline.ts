import { defineWorkflow } from "../../sdk/workflow.ts";
import { ephemeral, label, parallel, pipeline, sh, stage, subworkflow } from "../../sdk/pipeline.ts";
import { reference } from "../../sdk/reference.ts";

/**
 * The CI of this repository, on Hodei: `npm run demo` runs it. `pack` is a workflow of its own, so that another
 * pipeline could use it; `ci` reaches it as `pack@^1.0.0`, and which 1.x that is was fixed when an execution started.
 */
export const pack = defineWorkflow({
  name: "pack",
  version: "1.0.0",
  description: "Builds the npm package of one commit from a clean clone.",
  input: {
    type: "object",
    required: ["repository", "commit", "cache"],
    properties: { repository: { type: "string" }, commit: { type: "string" }, cache: { type: "string" } },
    additionalProperties: false,
  },
  agent: { label: "linux && git && node", ephemeral: true },
  workspace: "pack",
  timeout: "10m",
  steps({ input, run }) {
    const clone = run("clone", {
      script: 'git clone --quiet "$REPOSITORY" . && git checkout --quiet "$COMMIT"',
      env: { REPOSITORY: input.repository, COMMIT: input.commit },
    });
    const install = run("install", {
      script: 'npm ci --silent --no-audit --no-fund --prefer-offline --cache "$CACHE"',
      env: { CACHE: input.cache },
      needs: [clone],
    });
    const packed = run("pack", {
      script: [
        "npm pack --silent --pack-destination . > name.txt",
        'file="$(tail -n 1 name.txt)"',
        'echo "file=$file" >> "$HODEI_OUTPUT"',
        'echo "bytes=$(wc -c < "$file" | tr -d " ")" >> "$HODEI_OUTPUT"',
      ].join("\n"),
      outputs: ["file", "bytes"],
      needs: [install],
    });
    return { file: packed.outputs.file, bytes: packed.outputs.bytes };
  },
});

type Input = { repository: string; commit: string; cache: string };

/** The same pipeline in two versions: 1.1.0 checks the format too, which adds a step and so needs a minor bump. */
function ciPipeline(version: string, options: { checkFormat: boolean }) {
  const input = reference<Input>("input");
  return pipeline({
    name: "ci",
    version,
    description: "Clone, install, check everything at once, pack.",
    input: {
      type: "object",
      required: ["repository", "commit", "cache"],
      properties: { repository: { type: "string" }, commit: { type: "string" }, cache: { type: "string" } },
      additionalProperties: false,
    },
    agent: ephemeral(label("linux && git && node")),
    environment: { CI: "true" },
    stages: [
      stage("Clone", {
        environment: { REPOSITORY: input.repository, COMMIT: input.commit },
        steps: [sh('git clone --quiet "$REPOSITORY" . && git checkout --quiet "$COMMIT" && git log --oneline -1')],
      }),
      stage("Install", {
        environment: { CACHE: input.cache },
        steps: [
          sh(
            '[ -d "$CACHE" ] && echo "npm cache: reused" || echo "npm cache: new"\nnpm ci --no-audit --no-fund --prefer-offline --cache "$CACHE"',
          ),
        ],
      }),
      parallel(
        "Checks",
        stage("Types", { steps: [sh("npm run --silent check:types")] }),
        stage("Lint", { steps: [sh("npm run --silent check:lint")] }),
        stage("Unit tests", { steps: [sh("npm run --silent check:unit")], timeout: "10m" }),
        stage("Proto", { steps: [sh("npm run --silent check:proto")] }),
        ...(options.checkFormat ? [stage("Format", { steps: [sh("npm run --silent check:format")] })] : []),
      ),
      stage("Pack", {
        steps: [subworkflow("pack", pack, { repository: input.repository, commit: input.commit, cache: input.cache })],
      }),
    ],
    post: {
      always: [sh('echo "workspace used: $(du -sh . | cut -f1)"')],
      success: [sh('echo "all checks passed"')],
      failure: [sh('echo "a check failed"')],
    },
    output: { file: "${{ steps.pack.outputs.file }}", bytes: "${{ steps.pack.outputs.bytes }}" },
  });
}

export const ci = ciPipeline("1.0.0", { checkFormat: false });
export const ciNext = ciPipeline("1.1.0", { checkFormat: true });
