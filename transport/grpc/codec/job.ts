import * as wire from "../../../proto/gen/hodei/v1/job_service.ts";
import type { JobView, SubmitRequest } from "../../api/job.ts";
import type { ServiceCodec } from "./codec.ts";
import { codec, enumeration, optional, required, sameShape, unary } from "./codec.ts";
import { requirementFromWire, requirementToWire } from "./requirement.ts";
import { priority } from "./work.ts";

const state = enumeration("state", { queued: wire.JobState.QUEUED, claimed: wire.JobState.CLAIMED });

function jobToWire(job: JobView): wire.Job {
  return {
    ...job,
    state: state.toWire(job.state),
    priority: priority.toWire(job.priority),
    requirement: optional(job.requirement, requirementToWire),
  };
}

function jobFromWire(message: wire.Job): JobView {
  return {
    ...message,
    state: state.fromWire(message.state),
    priority: priority.fromWire(message.priority),
    requirement: optional(message.requirement, requirementFromWire),
  };
}

const submit = codec<SubmitRequest, wire.SubmitJobRequest>(
  wire.SubmitJobRequest,
  (value) => ({ ...value, priority: optional(value.priority, priority.toWire) }),
  (message) => ({ ...message, priority: priority.fromWireOptional(message.priority) }),
);

const service = wire.JobServiceService;

export const jobCodec: ServiceCodec<"job"> = {
  name: "hodei.v1.JobService",
  methods: {
    submit: unary(service.submitJob, submit, sameShape(wire.SubmitJobResponse)),
    get: unary(
      service.getJob,
      sameShape(wire.GetJobRequest),
      codec(
        wire.GetJobResponse,
        (job) => ({ job: jobToWire(job) }),
        (message) => jobFromWire(required(message.job, "job")),
      ),
    ),
    list: unary(
      service.listJobs,
      sameShape(wire.ListJobsRequest),
      codec(
        wire.ListJobsResponse,
        (value) => ({ jobs: value.jobs.map(jobToWire) }),
        (message) => ({ jobs: message.jobs.map(jobFromWire) }),
      ),
    ),
    why: unary(
      service.explainJob,
      sameShape(wire.ExplainJobRequest),
      codec(
        wire.ExplainJobResponse,
        (value) => ({ lines: value.lines, job: optional(value.job, jobToWire) }),
        (message) => ({ lines: message.lines, job: optional(message.job, jobFromWire) }),
      ),
    ),
  },
};
