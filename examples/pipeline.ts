import { label, parallel, pipeline, sh, stage } from "../sdk/pipeline.ts";

/** The Jenkins shape: `hodei apply examples/pipeline.ts`, `hodei run site --follow`. */
export const site = pipeline({
  name: "site",
  version: "1.0.0",
  input: { type: "object", properties: { publish: { type: "boolean", default: false } } },
  agent: label("linux"),
  environment: { OUT: "public" },
  stages: [
    stage("Build", { steps: [sh('mkdir -p "$OUT"'), sh('echo "<h1>hello</h1>" > "$OUT/index.html"')] }),
    parallel(
      "Checks",
      stage("Links", { steps: [sh('! grep -r "href=\\"\\"" "$OUT"')] }),
      stage("Size", {
        matrix: { limit: ["100", "1000"] },
        environment: { LIMIT: "${{ matrix.limit }}" },
        steps: [sh('test "$(wc -c < "$OUT/index.html")" -lt "$LIMIT"')],
      }),
    ),
    stage("Publish", { when: "input.publish", steps: [sh('ls "$OUT"')], retry: 2 }),
  ],
  post: { always: [sh('rm -rf "$OUT"')], failure: [sh('echo "somebody should look"')] },
});
