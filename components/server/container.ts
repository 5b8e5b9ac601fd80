import * as pulumi from "@pulumi/pulumi";
import { limitVariables } from "../settings/limits";
import type { StackSettings } from "../settings/schema";
import { MIB } from "../settings/values";
import { warmVariable } from "../settings/warm";
import { serverUser } from "./server-user";
import { serverPath } from "./stack-files";

/** Settings of the server's container. */
export interface ContainerSettings {
  /** API version of the engine. @example "1.45" */
  engineApi: pulumi.Input<string>;
  /** Whether the host has /dev/net/tun. */
  tun: pulumi.Input<boolean>;
  /** Group that may use the host's /dev/kvm; undefined where everybody may. Not needed by a privileged server. */
  kvmGroup: pulumi.Input<number | undefined>;
  /** Full privileges, the compose stack's way; without them the container gets /dev/kvm and nothing else. */
  privileged: boolean;
  /** Port inside the container. */
  port: pulumi.Input<number>;
  /** Whether requests need no API key. */
  devMode: boolean;
  /** Whether only the key that created a sandbox or volume can use it. */
  isolateByKey: pulumi.Input<boolean>;
  /** Names of DNS that a server without a key answers to, besides addresses and localhost. */
  hostNames: pulumi.Input<string[]>;
  /** Whether the port speaks TLS, with the certificate that comes once the container runs. */
  hasTls: boolean;
  /** What the server allows at most. */
  limits: pulumi.Input<StackSettings["limits"]>;
  /** The limit of what guests may reach, as docker/gateway/src/backends/msb/egress.ts reads it. */
  egressPolicy: pulumi.Input<string>;
  /** What is kept booted. */
  warm: pulumi.Input<StackSettings["warm"]>;
  /** Whether an image that is not cached is pulled when a sandbox asks for it. */
  autoPullImages: pulumi.Input<boolean>;
  /** IANA name. @example "Europe/Berlin" */
  timezone: pulumi.Input<string>;
  /** CPUs: the limit, and the share in times of contention. */
  cpuLimit: pulumi.Input<number>;
  cpuReservation: pulumi.Input<number>;
  /** Bytes: the limit, and the soft limit. */
  memoryLimit: pulumi.Input<number>;
  memoryReservation: pulumi.Input<number>;
  /** Whether the host's kernel can limit a container's swap. @default true */
  hasSwapLimit?: pulumi.Input<boolean>;
  /** Seconds that running sandboxes get to stop. */
  stopTimeout: pulumi.Input<number>;
  /** Most processes and threads in the container. */
  pidsLimit: pulumi.Input<number>;
  /** Size (Docker's form) and number of the log files. */
  logMaxSize: pulumi.Input<string>;
  logMaxFiles: pulumi.Input<number>;
}

/** Microseconds of the CPU quota's period, the kernel's default. */
const cpuPeriod = 100_000;

/** Seconds that the container gets beyond the sandboxes' own time: to close pipes and write the state. */
export const stopMargin = 15;

/** What the container may reach. */
export function isolation(args: Pick<ContainerSettings, "privileged" | "tun" | "kvmGroup">) {
  const device = (path: string, permissions: string) => ({
    hostPath: path,
    containerPath: path,
    permissions,
  });
  if (args.privileged) {
    return {
      privileged: true,
      devices: pulumi
        .output(args.tun)
        .apply((tun) => ["/dev/kvm", ...(tun ? ["/dev/net/tun"] : [])].map((path) => device(path, "rwm"))),
      // The engine adds the label to a privileged container by itself: said here, a refresh finds no difference.
      securityOpts: ["apparmor=unconfined", "label=disable", "seccomp=unconfined"],
    };
  }
  return {
    privileged: false,
    // msb needs /dev/kvm, no other device and no capability; seen with real microVMs.
    devices: [device("/dev/kvm", "rw")],
    capabilities: { drops: ["ALL"] },
    user: `${serverUser}:${serverUser}`,
    groupAdds: pulumi.output(args.kvmGroup).apply((group) => (group === undefined ? [] : [String(group)])),
    readOnly: true,
    tmpfs: { "/tmp": "rw,nosuid,nodev,size=256m" },
    securityOpts: ["no-new-privileges"],
  };
}

/** A CPU reservation is a share of 1024 for each CPU; a memory reservation is Docker's soft limit. */
export function resourceLimits(
  args: Pick<
    ContainerSettings,
    "cpuLimit" | "cpuReservation" | "memoryLimit" | "memoryReservation" | "hasSwapLimit"
  >,
) {
  const mebibytes = (size: pulumi.Input<number>) =>
    pulumi.output(size).apply((bytes) => Math.floor(bytes / MIB));
  return {
    // Not `cpus`: the provider reads that back in another form, which would show as a difference for ever, and an engine
    // refuses more than the host has.
    cpuPeriod,
    cpuQuota: pulumi.output(args.cpuLimit).apply((limit) => Math.round(limit * cpuPeriod)),
    cpuShares: pulumi.output(args.cpuReservation).apply((cpus) => Math.max(2, Math.round(cpus * 1024))),
    memory: mebibytes(args.memoryLimit),
    memoryReservation: mebibytes(args.memoryReservation),
    // Equal to the limit: no swap; by default Docker allows as much swap as memory. On a kernel that can't limit swap the
    // engine reports -1.
    memorySwap: pulumi
      .all([mebibytes(args.memoryLimit), args.hasSwapLimit])
      .apply(([limit, canLimit = true]) => (canLimit ? limit : -1)),
    shmSize: 64,
  };
}

/** Start, health check, logging and stop of the container. */
export function lifecycle(
  args: Pick<
    ContainerSettings,
    "engineApi" | "port" | "hasTls" | "stopTimeout" | "logMaxSize" | "logMaxFiles"
  >,
) {
  const healthPort = pulumi.output(args.port).apply((port) => (args.hasTls ? tlsHealthPort(port) : port));
  const stopTime = pulumi.output(args.stopTimeout).apply((seconds) => seconds + stopMargin);
  return {
    restart: "unless-stopped",
    init: true,
    mustRun: true,
    wait: true,
    // Seconds. An emulated host on a busy machine needs more than 300 until what ran before has booted.
    waitTimeout: 600,
    healthcheck: pulumi.all([args.engineApi, healthPort]).apply(([api, port]) => ({
      tests: ["CMD", "wget", "-q", "-O", "/dev/null", `http://127.0.0.1:${port}/readyz`],
      // An engine of API 1.44 probes more often while the container starts; an older one has one interval for both.
      ...(apiAtLeast(api, 44) ? { interval: "30s", startInterval: "1s" } : { interval: "5s" }),
      timeout: "10s",
      startPeriod: "30s",
      retries: 3,
    })),
    logDriver: "json-file",
    logOpts: { "max-size": args.logMaxSize, "max-file": pulumi.interpolate`${args.logMaxFiles}` },
    stopSignal: "SIGTERM",
    stopTimeout: stopTime,
    destroyGraceSeconds: stopTime,
  };
}

/** A port of the container's loopback that the server's own is not. */
const tlsHealthPort = (port: number) => (port === 5554 ? 5553 : 5554);

/** Whether an API version of the form `1.N` has at least this N. */
function apiAtLeast(api: string, minor: number): boolean {
  return Number(api.split(".")[1] ?? 0) >= minor;
}

/** The gateway's settings; docker/gateway/src/config.ts reads them. */
export function environment(
  args: Pick<
    ContainerSettings,
    | ("port" | "devMode" | "autoPullImages" | "timezone" | "stopTimeout" | "limits")
    | ("isolateByKey" | "hostNames" | "egressPolicy" | "hasTls" | "warm")
  >,
): pulumi.Output<string[]> {
  const { port, devMode, autoPullImages, timezone, stopTimeout, limits } = args;
  const { isolateByKey, hostNames, egressPolicy, hasTls, warm } = args;
  const known = {
    port,
    autoPullImages,
    timezone,
    stopTimeout,
    limits,
    isolateByKey,
    hostNames,
    egressPolicy,
    warm,
  };
  return pulumi.output(known).apply((values) =>
    Object.entries({
      ...(devMode ? {} : { API_KEYS_FILE: serverPath("keys"), OWN_SANDBOXES: values.isolateByKey }),
      ...(devMode && values.hostNames.length > 0 ? { HOST_NAMES: values.hostNames.join(",") } : {}),
      AUTO_PULL_IMAGES: values.autoPullImages,
      DEV_MODE: devMode,
      EGRESS: values.egressPolicy,
      HOST_RANGES_FILE: serverPath("hostRanges"),
      ...(hasTls ? { TLS_FILE: serverPath("tls"), HEALTH_PORT: tlsHealthPort(values.port) } : {}),
      PORT: values.port,
      STOP_TIMEOUT_SECONDS: values.stopTimeout,
      TZ: values.timezone,
      ...warmVariable(values.warm),
      ...limitVariables(values.limits),
    }).map(([key, value]) => `${key}=${value}`),
  );
}
