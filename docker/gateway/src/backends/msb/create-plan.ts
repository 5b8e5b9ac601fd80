import { invalidSpec } from "../../errors";
import type { SandboxSpec } from "../../sandboxes/spec";
import { isBefore07 } from "./command-line";
import { boundPolicy, type EgressPolicy } from "./egress";
import { secretArguments, secretsConf } from "./guest-secrets";
import { networkArguments } from "./network-rules";

/** What msb needs for one create: a configuration file, flags, script files, environment. */
export type CreatePlan = {
  conf: Record<string, unknown>;
  args: string[];
  /** Script bodies, to be written to files: the configuration file would add a shebang. */
  scripts: Record<string, string>;
  env: Record<string, string>;
};

/**
 * msb replaces `${NAME}` in its configuration file by its own environment, and knows no
 * escape. So a literal `${` is written as a reference to a variable that holds a dollar.
 */
const DOLLAR = "GATEWAY_DOLLAR";

export type PlanOptions = {
  msbVersion: string;
  /** What the guest may reach at most. */
  egress: EgressPolicy;
  /** What msb is asked for where it is another name than the client's: a mirror's. */
  reference?: string;
  /** msb's names of the volumes, by the client's; a name that is not there stands for itself. */
  volumeHandles?: Record<string, string>;
};

/** Refuses what {@link planCreate} would refuse, without making the plan. @throws ServiceError invalidSpec */
export function checkPlan(spec: SandboxSpec, { msbVersion, egress }: PlanOptions): void {
  networkArguments(spec, boundPolicy(spec, egress), msbVersion);
  refuseSecrets(spec, msbVersion);
}

/** Translates a checked spec; every field of it ends in the plan. */
export function planCreate(spec: SandboxSpec, options: PlanOptions): CreatePlan {
  const { msbVersion, egress, reference = spec.reference, volumeHandles = {} } = options;
  const policy = boundPolicy(spec, egress);
  const { resources, runtime, lifecycle } = spec;
  const conf = {
    // Never the short form: msb takes a string that looks like a path for a path.
    image: { oci: reference },
    // The image is in the cache by now: a create never goes to a registry.
    pull_policy: "never",
    cpus: resources.vcpus,
    memory: `${resources.memory_mib}M`,
    max_duration: lifecycle.max_duration_secs && `${lifecycle.max_duration_secs}s`,
    idle_timeout: lifecycle.idle_timeout_secs && `${lifecycle.idle_timeout_secs}s`,
    rlimits: spec.rlimits.map(({ resource, soft, hard }) => ({ resource, soft, hard })),
    workdir: runtime.workdir,
    shell: runtime.shell,
    user: runtime.user,
    hostname: hostNameOf(spec),
    security: spec.security_profile,
    entrypoint: runtime.entrypoint,
    cmd: runtime.cmd,
    env: Object.fromEntries(spec.env.map(({ key, value }) => [key, value])),
    labels: spec.labels,
    init: initOf(spec),
    mounts: spec.mounts.map((mount) => mountOf(mount, volumeHandles)),
    patches: spec.patches.map(patchOf),
    network: policy ? undefined : "none",
    secrets: secretsOf(spec, msbVersion),
  };
  return {
    conf: escapeDollars(conf) as Record<string, unknown>,
    args: [
      ...(resources.disk_size_mib ? ["--root-disk", `${resources.disk_size_mib}M`] : []),
      ...(runtime.log_level ? ["--log-level", runtime.log_level] : []),
      ...networkArguments(spec, policy, msbVersion),
      ...secretArguments(spec.network.secrets),
    ],
    scripts: runtime.scripts,
    env: { [DOLLAR]: "$" },
  };
}

function secretsOf(spec: SandboxSpec, msbVersion: string) {
  refuseSecrets(spec, msbVersion);
  return spec.network.secrets && secretsConf(spec.network.secrets);
}

function refuseSecrets({ network: { secrets } }: SandboxSpec, msbVersion: string): void {
  if (secrets?.entries.length && isBefore07(msbVersion))
    throw invalidSpec("network.secrets: not supported by this server's microsandbox version");
}

function initOf({ init }: SandboxSpec) {
  return init && { cmd: init.cmd, args: init.args, env: Object.fromEntries(init.env) };
}

function mountOf(
  mount: SandboxSpec["mounts"][number],
  handles: Record<string, string>,
): Record<string, unknown> {
  if (mount.type === "named") {
    const { readonly, noexec, nosuid, nodev, override_uid, override_gid } = mount.options;
    const { stat_virtualization, host_permissions } = mount;
    const options = { readonly, noexec, nosuid, nodev, stat_virtualization, host_permissions };
    return {
      named: handles[mount.name] ?? mount.name,
      target: mount.guest,
      ...options,
      uid: override_uid,
      gid: override_gid,
    };
  }
  if (mount.type === "tmpfs") {
    const { readonly, noexec, nosuid, nodev } = mount.options;
    const tmpfs = mount.size_mib ? { size: `${mount.size_mib}M` } : {};
    return { tmpfs, target: mount.guest, readonly, noexec, nosuid, nodev };
  }
  throw new Error(`a ${mount.type} mount got past the checks`);
}

function patchOf(patch: SandboxSpec["patches"][number]): Record<string, unknown> {
  switch (patch.type) {
    case "text":
      return {
        text: { path: patch.path, content: patch.content, mode: octal(patch.mode), replace: patch.replace },
      };
    case "file": {
      const { path, content, mode, replace } = patch;
      return { file: { path, content_base64: content, mode: octal(mode), replace } };
    }
    case "symlink":
      return { symlink: { target: patch.target, link: patch.link, replace: patch.replace } };
    case "mkdir":
      return { mkdir: { path: patch.path, mode: octal(patch.mode) } };
    case "remove":
      return { remove: { path: patch.path } };
    case "append":
      return { append: { path: patch.path, content: patch.content } };
    default:
      throw new Error(`a ${patch.type} patch got past the checks`);
  }
}

/** What the guest calls itself; by default the client's name: msb itself calls the sandbox by its id. */
export function hostNameOf({ name, runtime }: Pick<SandboxSpec, "name" | "runtime">): string {
  if (runtime.hostname) return runtime.hostname;
  const letters = name.replaceAll(/[^A-Za-z0-9.-]/g, "-").slice(0, 63);
  return letters.replace(/[.-]+$/, "") || "sandbox";
}

const octal = (mode: number | undefined) =>
  mode === undefined ? undefined : mode.toString(8).padStart(4, "0");

function escapeDollars(value: unknown): unknown {
  if (typeof value === "string") return value.replaceAll("${", `\${${DOLLAR}}{`);
  if (Array.isArray(value)) return value.map(escapeDollars);
  if (typeof value === "object" && value !== null)
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, escapeDollars(each)]));
  return value;
}
