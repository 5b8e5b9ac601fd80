import type * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import { shellQuote } from "../settings/shell";
import { serverHome } from "./stack-files";

/** Limits of a container in the units of `docker run`: bytes, and processes. */
export interface RunLimits {
  memoryLimit: pulumi.Input<number>;
  pidsLimit: pulumi.Input<number>;
}

/** Paths of the server's own volumes, which are mounted on each trial anyway. */
const OWN_MOUNTS = [serverHome, "/workspace"];

/**
 * Arguments of `docker run` for a container like this one, as far as they matter for whether its server becomes ready:
 * privileges, environment, names, networks and mounts. It is in at most one network besides the server's own, since older
 * engines take no more; without one it is in the engine's default network.
 *
 * @param network name of the server's own network
 */
export function runFlags(
  args: docker.ContainerArgs,
  { memoryLimit, pidsLimit }: RunLimits,
  network: pulumi.Input<string>,
): pulumi.Output<string> {
  const { privileged, devices, securityOpts, capabilities, user, groupAdds, readOnly, tmpfs, envs } = args;
  const { dns, dnsOpts, dnsSearches, hosts, networksAdvanced, runtime, sysctls, ulimits, volumes } = args;
  const isolated = { privileged, devices, securityOpts, capabilities, user, groupAdds, readOnly, tmpfs };
  const around = { dns, dnsOpts, dnsSearches, hosts, networksAdvanced, runtime, sysctls, ulimits, volumes };
  const limits = { memoryLimit, pidsLimit };
  return pulumi
    .all([pulumi.output({ ...isolated, envs }), pulumi.output(around), limits, network])
    .apply(([inside, outside, { memoryLimit: bytes, pidsLimit: processes }, own]) =>
      [
        ...(inside.privileged ? ["--privileged"] : []),
        ...flags(
          "--device",
          inside.devices?.map(({ hostPath }) => hostPath),
        ),
        ...flags("--security-opt", inside.securityOpts),
        ...flags("--cap-add", inside.capabilities?.adds),
        ...flags("--cap-drop", inside.capabilities?.drops),
        ...flags("--user", inside.user ? [inside.user] : []),
        ...flags("--group-add", inside.groupAdds),
        ...(inside.readOnly ? ["--read-only"] : []),
        ...flags("--tmpfs", pairs(inside.tmpfs, ":")),
        ...["--memory", `${bytes}b`, "--memory-swap", `${bytes}b`, "--pids-limit", String(processes)],
        ...flags("--env", inside.envs),
        ...flags("--dns", outside.dns),
        ...flags("--dns-option", outside.dnsOpts),
        ...flags("--dns-search", outside.dnsSearches),
        ...flags(
          "--add-host",
          outside.hosts?.map(({ host, ip }) => `${host}:${ip}`),
        ),
        ...flags("--runtime", outside.runtime ? [outside.runtime] : []),
        ...flags("--sysctl", pairs(outside.sysctls, "=")),
        ...flags(
          "--ulimit",
          outside.ulimits?.map(({ name, soft, hard }) => `${name}=${soft}:${hard}`),
        ),
        ...flags(
          "--network",
          outside.networksAdvanced?.flatMap(({ name }) => (name === own ? [] : [name])).slice(0, 1),
        ),
        ...flags("--volume", outside.volumes?.flatMap(mount)),
      ]
        .map(shellQuote)
        .join(" "),
    );
}

/**
 * What `docker run` needs besides those for a container that serves like this one: its place among others, and its care.
 *
 * @param network name of the server's own network
 */
export function serveFlags(args: docker.ContainerArgs, network: pulumi.Input<string>): pulumi.Output<string> {
  const { hostname, networksAdvanced, ports, labels, restart, healthcheck, stopSignal, stopTimeout } = args;
  const { logDriver, logOpts, cpuPeriod, cpuQuota, cpuShares, memoryReservation } = args;
  const place = { hostname, networksAdvanced, ports, labels };
  const care = { restart, healthcheck, stopSignal, stopTimeout, logDriver, logOpts };
  const share = { cpuPeriod, cpuQuota, cpuShares, memoryReservation };
  return pulumi.all([place, care, share, network]).apply(([at, kept, most, own]) => {
    const { tests: [, ...probe] = [], ...times } = kept.healthcheck ?? {};
    return [
      ...flags("--hostname", one(at.hostname)),
      ...flags(
        "--network",
        at.networksAdvanced?.flatMap(({ name }) => (name === own ? [name] : [])),
      ),
      ...flags("--publish", at.ports?.map(publish)),
      ...flags(
        "--label",
        at.labels?.map(({ label, value }) => `${label}=${value}`),
      ),
      ...flags("--restart", one(kept.restart)),
      ...flags("--stop-signal", one(kept.stopSignal)),
      ...flags("--stop-timeout", one(kept.stopTimeout)),
      ...flags("--log-driver", one(kept.logDriver)),
      ...flags("--log-opt", pairs(kept.logOpts, "=")),
      ...flags("--health-cmd", probe.length > 0 ? [probe.map(shellQuote).join(" ")] : []),
      ...flags("--health-interval", one(times.interval)),
      ...flags("--health-timeout", one(times.timeout)),
      ...flags("--health-start-period", one(times.startPeriod)),
      ...flags("--health-retries", one(times.retries)),
      ...flags("--cpu-period", one(most.cpuPeriod)),
      ...flags("--cpu-quota", one(most.cpuQuota)),
      ...flags("--cpu-shares", one(most.cpuShares)),
      ...flags("--memory-reservation", one(most.memoryReservation && `${most.memoryReservation}m`)),
    ]
      .map(shellQuote)
      .join(" ");
  });
}

const one = (value: string | number | undefined) => (value ? [String(value)] : []);

type Port = pulumi.Unwrap<docker.types.input.ContainerPort>;

/** @example "127.0.0.1:5555:8080/tcp" */
function publish({ ip, external, internal, protocol }: Port): string {
  const address = ip?.includes(":") ? `[${ip}]` : ip;
  return `${address ? `${address}:` : ""}${external ?? ""}:${internal}/${protocol ?? "tcp"}`;
}

const flags = (flag: string, values: string[] = []) => values.flatMap((value) => [flag, value]);

const pairs = (values: Record<string, string> = {}, between: string) =>
  Object.entries(values).map(([name, value]) => `${name}${between}${value}`);

function mount(volume: {
  hostPath?: string;
  volumeName?: string;
  containerPath?: string;
  readOnly?: boolean;
}): string[] {
  const { hostPath, volumeName, containerPath = "", readOnly } = volume;
  const source = hostPath ?? volumeName;
  if (!source || OWN_MOUNTS.includes(containerPath)) return [];
  return [`${source}:${containerPath}${readOnly ? ":ro" : ""}`];
}
