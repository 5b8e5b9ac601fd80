import { invalidSpec } from "../../errors";
import type { SandboxSpec } from "../../sandboxes/spec";
import { boundPolicy, type EgressPolicy } from "./egress";
import { ruleArguments } from "./network-rules";

export type RestoreOptions = {
  /** What the guest may reach at most. */
  egress: EgressPolicy;
  /** msb's names of the volumes, by the client's. */
  volumeHandles?: Record<string, string>;
};

/**
 * The flags of `msb restore` for a checked spec, whose every field is a flag or refused. msb keeps no network policy in
 * a snapshot: without these flags a guest would reach whatever msb's own default lets it.
 * @throws ServiceError invalidSpec for what a restore has no flag for
 */
export function restoreArguments(
  spec: SandboxSpec,
  { egress, volumeHandles = {} }: RestoreOptions,
): string[] {
  refuseLost(spec);
  const { resources, runtime, lifecycle, security_profile } = spec;
  const optional = (flag: string, value: string | number | undefined) =>
    value === undefined ? [] : [`${flag}=${value}`];
  const seconds = (value: number | undefined) => (value === undefined ? undefined : `${value}s`);
  return [
    `--cpus=${resources.vcpus}`,
    `--memory=${resources.memory_mib}M`,
    `--security=${security_profile}`,
    ...optional("--user", runtime.user),
    ...optional("--max-duration", seconds(lifecycle.max_duration_secs)),
    ...optional("--idle-timeout", seconds(lifecycle.idle_timeout_secs)),
    ...networkFlags(spec, egress),
    ...optional("--max-tcp-connections", spec.network.max_connections),
    ...optional("--max-udp-connections", spec.network.max_udp_connections),
    ...spec.mounts.map((mount) => `--volume=${volumeOf(mount, volumeHandles)}`),
    // What was mounted when the snapshot was made is not there; what is to be is said above.
    "--allow-missing-resources",
  ];
}

/** A restore knows one default for both directions: a rule at the end says the other one of the guest's ports. */
function networkFlags(spec: SandboxSpec, egress: EgressPolicy): string[] {
  const policy = boundPolicy(spec, egress);
  if (!policy) return ["--no-net"];
  const { default_egress, default_ingress, rules } = policy;
  const ingress = default_ingress === default_egress ? [] : ["--net-rule", `${default_ingress}:ingress@any`];
  return [`--net-default=${default_egress}`, ...ruleArguments(rules), ...ingress];
}

type Mount = SandboxSpec["mounts"][number];

function volumeOf(mount: Mount, handles: Record<string, string>): string {
  if (mount.type !== "named") throw new Error(`a ${mount.type} mount got past the checks`);
  const handle = handles[mount.name] ?? mount.name;
  return `${handle}:${mount.guest}${mount.options.readonly ? ":ro" : ""}`;
}

/** Characters of a user that a flag takes: a name or a number, and a group. */
const USER = /^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$/;

function refuseLost(spec: SandboxSpec): void {
  const { runtime, resources, network } = spec;
  const given: [field: string, isGiven: boolean][] = [
    ["resources.disk_size_mib", resources.disk_size_mib !== undefined],
    ...(["workdir", "shell", "entrypoint", "cmd", "log_level", "hostname"] as const).map(
      (field): [string, boolean] => [`runtime.${field}`, runtime[field] !== undefined],
    ),
    ["runtime.scripts", Object.keys(runtime.scripts).length > 0],
    ["env", spec.env.length > 0],
    ["rlimits", spec.rlimits.length > 0],
    ["patches", spec.patches.length > 0],
    ["init", spec.init !== undefined],
    ["network.secrets", (network.secrets?.entries.length ?? 0) > 0],
    ["network.strict", network.strict === false],
  ];
  const lost = given.find(([, isGiven]) => isGiven);
  if (lost)
    throw invalidSpec(
      `${lost[0]}: a sandbox that starts from a snapshot can't be given it; a command takes its own environment and folder`,
    );
  if (runtime.user !== undefined && !USER.test(runtime.user))
    throw invalidSpec("runtime.user: a name or a number is expected, and a group after a colon");
  for (const [index, mount] of spec.mounts.entries()) refuseMount(mount, `mounts[${index}]`);
}

function refuseMount(mount: Mount, at: string): void {
  if (mount.type !== "named")
    throw invalidSpec(`${at}: a sandbox that starts from a snapshot mounts named volumes only`);
  if (/[:,]/.test(mount.guest)) throw invalidSpec(`${at}.guest: a colon or a comma can't be in it here`);
  const { readonly: _readonly, ...others } = mount.options;
  const special =
    Object.values(others).some((value) => value !== false && value !== undefined) ||
    mount.stat_virtualization !== "strict" ||
    mount.host_permissions !== "private";
  if (special)
    throw invalidSpec(
      `${at}: a sandbox that starts from a snapshot mounts with no other option than readonly`,
    );
}
