import type { Sandbox } from "../sandboxes/backend";
import type { SandboxBody } from "./schema/sandbox";

/** Every sandbox belongs to the one organisation that this server is. */
export const ORGANISATION = "00000000-0000-4000-8000-000000000001";

/** Which generation of clients asks: the wire's spec differs, and only this header tells. */
export type ClientShape = "0.6" | "0.7";
export const clientShape = (userAgent: string | undefined): ClientShape =>
  /^microsandbox-sdk\/0\.[0-6]\./.test(userAgent ?? "") ? "0.6" : "0.7";

/** The answer's sandbox object. */
export function sandboxBodyOf(record: Sandbox, shape: ClientShape): SandboxBody {
  const { status } = record;
  return {
    id: record.id,
    org_id: ORGANISATION,
    name: record.name,
    slug: record.slug,
    status,
    paused: record.paused,
    forked_from: record.forkOf,
    status_reason: status === "starting" ? "scheduling" : null,
    spec: specOf(record, shape),
    ephemeral: record.ephemeral,
    created_at: record.createdAt,
    started_at: record.startedAt,
    stopped_at: record.stoppedAt,
    last_failure_message: lastFailureOf(record),
  };
}

/** Of one whose first start failed before anything was made, too: it is as it was before. */
function lastFailureOf({ status, failure }: Sandbox): string | null {
  if (status === "created") return failure?.message ?? null;
  if (status !== "failed") return null;
  return failure?.message ?? "the microVM ended without being stopped; its log may say why";
}

/**
 * A projection of the resolved configuration: a client that reconnects takes the working
 * folder, the shell and the user from it. 0.7 reads the root from `source` and `reference`, and
 * lists show `image.Oci`; 0.6 reads `image` with a type.
 */
function specOf(record: Sandbox, shape: ClientShape): Record<string, unknown> | null {
  const { spec, resolved } = record;
  const reference = spec?.reference ?? resolved?.reference;
  if (!reference) return null;
  const runtime = {
    workdir: resolved?.workdir ?? spec?.runtime.workdir ?? null,
    shell: resolved?.shell ?? spec?.runtime.shell ?? null,
    scripts: {},
    entrypoint: resolved?.entrypoint ?? spec?.runtime.entrypoint ?? null,
    cmd: resolved?.cmd ?? spec?.runtime.cmd ?? null,
    user: resolved?.user ?? spec?.runtime.user ?? null,
    log_level: spec?.runtime.log_level ?? null,
  };
  const network = spec?.network;
  const common = {
    name: record.name,
    resources: {
      vcpus: spec?.resources.vcpus ?? resolved?.vcpus ?? 1,
      memory_mib: spec?.resources.memory_mib ?? resolved?.memoryMib ?? 512,
      ...(spec?.resources.disk_size_mib && { disk_size_mib: spec.resources.disk_size_mib }),
    },
    runtime,
    env: spec?.env ?? [],
    labels: spec?.labels ?? resolved?.labels ?? {},
    rlimits: spec?.rlimits ?? [],
    mounts: spec?.mounts ?? [],
    // Like the scripts payload of the create: not repeated in every answer.
    patches: [],
    network: {
      enabled: network?.enabled ?? true,
      ...(network?.policy && { policy: network.policy }),
      strict: network?.strict ?? shape === "0.7",
      ...(network?.max_connections !== undefined && { max_connections: network.max_connections }),
    },
    init: spec?.init ?? null,
    security_profile: spec?.security_profile ?? "default",
    lifecycle: {
      ephemeral: record.ephemeral,
      max_duration_secs: spec?.lifecycle.max_duration_secs ?? null,
      idle_timeout_secs: spec?.lifecycle.idle_timeout_secs ?? null,
    },
  };
  if (shape === "0.6")
    return { ...common, image: { type: "oci", reference }, pull_policy: spec?.pull_policy ?? "if_missing" };
  return { ...common, source: "oci", reference, image: { Oci: { reference } } };
}
