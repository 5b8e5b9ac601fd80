/** The codes of the contract: clients turn the first eleven into typed errors of their own. */
export type ErrorCode =
  | "sandbox_not_found"
  | "volume_not_found"
  | "volume_file_not_found"
  | "name_already_exists"
  | "invalid_request"
  | "invalid_sandbox_config"
  | "invalid_volume_path"
  | "invalid_state_transition"
  | "orchestrator_unreachable"
  | "nomad_job_failed"
  | "invalid_api_key"
  | "rate_limited"
  | "quota_exceeded"
  | "not_found"
  | "unsupported";

/** An answer that is an error: a status, a code of the contract and a sentence for a person. */
export class ApiError extends Error {
  override name = "ApiError";
  constructor(
    readonly status: number,
    readonly code: ErrorCode,
    message: string,
    /** Header fields of the answer, in lower case. */
    readonly headers: Record<string, string> = {},
  ) {
    super(message);
  }

  body(): { error: { code: ErrorCode; message: string } } {
    return { error: { code: this.code, message: this.message } };
  }
}

export const sandboxNotFound = (which: string) =>
  new ApiError(404, "sandbox_not_found", `no sandbox ${JSON.stringify(which)}`);

export const invalidConfig = (message: string) => new ApiError(400, "invalid_sandbox_config", message);

export const nameTaken = (name: string) =>
  new ApiError(409, "name_already_exists", `a sandbox named ${JSON.stringify(name)} exists already`);
