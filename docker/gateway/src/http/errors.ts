import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { type ErrorKind, ServiceError } from "../errors";

/** Status and code of the contract for each kind of error. Clients turn most of the codes into typed errors. */
export const ANSWERS: Record<ErrorKind, readonly [status: number, code: string]> = {
  sandboxNotFound: [404, "sandbox_not_found"],
  volumeNotFound: [404, "volume_not_found"],
  fileNotFound: [404, "volume_file_not_found"],
  snapshotNotFound: [404, "snapshot_not_found"],
  notFound: [404, "not_found"],
  nameTaken: [409, "name_already_exists"],
  snapshotNameTaken: [409, "snapshot_name_already_exists"],
  invalidRequest: [400, "invalid_request"],
  invalidSpec: [400, "invalid_sandbox_config"],
  invalidPath: [400, "invalid_volume_path"],
  tooLarge: [413, "invalid_request"],
  unsupported: [400, "unsupported"],
  modificationUnsupported: [409, "modification_unsupported"],
  modificationInProgress: [409, "modification_in_progress"],
  modificationRefused: [409, "modification_refused"],
  unauthenticated: [401, "invalid_api_key"],
  forbidden: [403, "invalid_request"],
  conflict: [409, "invalid_state_transition"],
  noCapacity: [429, "quota_exceeded"],
  rateLimited: [429, "rate_limited"],
  requestTimeout: [408, "invalid_request"],
  diskFull: [507, "quota_exceeded"],
  timeout: [504, "orchestrator_unreachable"],
  unavailable: [503, "orchestrator_unreachable"],
  runtimeFailed: [502, "nomad_job_failed"],
};

/** Seconds after which what is not to be had for a moment may be asked for again. */
const RETRY_SECONDS = 2;

export type ErrorBody = { error: { code: string; message: string } };

/** The body of an answer that is an error. */
export const errorBodyOf = (error: ServiceError): ErrorBody => ({
  error: { code: ANSWERS[error.kind][1], message: error.message },
});

export function statusOf(error: FastifyError | ServiceError): number {
  if (error instanceof ServiceError) return ANSWERS[error.kind][0];
  return error.statusCode ?? 500;
}

/** Answers with an error. The text of one that was not foreseen may name the server's paths: it is only in the log. */
export function sendError(error: FastifyError | ServiceError, reply: FastifyReply): FastifyReply {
  const status = statusOf(error);
  reply.code(status);
  if (error instanceof ServiceError) {
    const { closeConnection } = error.options;
    // What has failed behind an answer is kept as a kind and a sentence.
    const retryAfterSeconds =
      error.options.retryAfterSeconds ?? (error.kind === "unavailable" ? RETRY_SECONDS : undefined);
    if (retryAfterSeconds !== undefined) reply.header("retry-after", String(retryAfterSeconds));
    if (closeConnection) reply.header("connection", "close");
    return reply.send(errorBodyOf(error));
  }
  const foreseen = status < 500;
  const code = foreseen ? "invalid_request" : "orchestrator_unreachable";
  const message = foreseen ? wordsOf(error, reply.request) : "the server failed; its log says why";
  return reply.send({ error: { code, message } } satisfies ErrorBody);
}

/** Characters of a client's header in an answer. */
const MAX_HEADER = 100;

/** What fastify found wrong with a body, with what was expected of it. */
function wordsOf({ code, message }: FastifyError, { headers, routeOptions }: FastifyRequest): string {
  if (code === "FST_ERR_CTP_INVALID_MEDIA_TYPE") {
    const type = headers["content-type"]?.slice(0, MAX_HEADER);
    const received =
      type === undefined ? "this one has no content-type" : `this one is ${JSON.stringify(type)}`;
    return `expected a JSON body with the header "content-type: application/json"; ${received}`;
  }
  if (code === "FST_ERR_CTP_BODY_TOO_LARGE")
    return `the body is too large; ${routeOptions.bodyLimit} bytes are the most`;
  return message;
}
