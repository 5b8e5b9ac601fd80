import { isIP } from "node:net";
import { isCluster } from "./cluster";
import { endpointHost } from "./endpoint";
import { tlsError } from "./given-certificate";
import { productionErrors } from "./production";
import { type StackSettings, settingsSchema } from "./schema";
import { type SettingError, show } from "./setting-errors";
import { hasTls, lacksCertificate } from "./tls";
import { formatSize, isLoopback, MIB } from "./values";
import { warmError } from "./warm-room";

/** What is wrong between settings that are right one by one. */
export function crossErrors(given: Partial<StackSettings>): SettingError[] {
  return [
    cpuError(given),
    memoryError(given),
    sandboxMemoryError(given),
    warmError(given),
    emulatedError(given),
    emulatedAddressError(given),
    emulatedPortError(given),
    devModeError(given),
    plainHttpError(given),
    certificateError(given),
    isolateByKeyError(given),
    volumesError(given),
    builderError(given),
    hostKeyError(given),
    ...productionErrors(given),
  ].filter((error) => error !== undefined);
}

function cpuError({ cpuLimit, cpuReservation }: Partial<StackSettings>): SettingError | undefined {
  if (cpuLimit === undefined || cpuReservation === undefined || cpuReservation <= cpuLimit) return undefined;
  return {
    key: "cpuReservation",
    problem: `is ${cpuReservation}, more than cpuLimit, which is ${cpuLimit}`,
    accepted: `at most ${cpuLimit}, or a higher cpuLimit`,
    fix: [{ key: "cpuReservation", value: `${cpuLimit}` }],
  };
}

function memoryError({ memoryLimit, memoryReservation }: Partial<StackSettings>): SettingError | undefined {
  if (memoryLimit === undefined || memoryReservation === undefined) return undefined;
  if (memoryReservation <= memoryLimit) return undefined;
  const limit = formatSize(memoryLimit);
  return {
    key: "memoryReservation",
    problem: `is ${formatSize(memoryReservation)}, more than memoryLimit, which is ${limit}`,
    accepted: `at most ${limit}, or a higher memoryLimit`,
    fix: [{ key: "memoryReservation", value: limit }],
  };
}

/** The kernel would end sandboxes that the server has let start. */
function sandboxMemoryError({ memoryLimit, limits }: Partial<StackSettings>): SettingError | undefined {
  const { memoryMiB } = limits ?? {};
  if (memoryLimit === undefined || memoryMiB === undefined || memoryMiB * MIB <= memoryLimit)
    return undefined;
  return {
    key: "limits.memoryMiB",
    problem: `is ${memoryMiB}, more than memoryLimit, which is ${formatSize(memoryLimit)}`,
    accepted: `at most ${memoryLimit / MIB}, or a higher memoryLimit; without a value it follows memoryLimit`,
    fix: [{ key: "limits.memoryMiB", path: true }],
  };
}

function emulatedError({
  host,
  emulatedMemory,
  memoryLimit,
}: Partial<StackSettings>): SettingError | undefined {
  if (host !== "emulated" || emulatedMemory === undefined || memoryLimit === undefined) return undefined;
  if (emulatedMemory >= memoryLimit) return undefined;
  const [memory, limit] = [formatSize(emulatedMemory), formatSize(memoryLimit)];
  const canGrow = settingsSchema.shape.emulatedMemory.safeParse(limit).success;
  return {
    key: "emulatedMemory",
    problem: `is ${memory}, less than memoryLimit, which is ${limit}`,
    accepted: `at least ${limit}, or a lower memoryLimit`,
    fix: [canGrow ? { key: "emulatedMemory", value: limit } : { key: "memoryLimit", value: memory }],
  };
}

/** QEMU forwards ports of IPv4 alone. */
function emulatedAddressError({ host, bindAddress }: Partial<StackSettings>): SettingError | undefined {
  if (host !== "emulated" || bindAddress === undefined || isIP(bindAddress) === 4) return undefined;
  return {
    key: "bindAddress",
    problem: `is ${bindAddress}, but an emulated host is reached by IPv4 only`,
    accepted: "an IPv4 address for an emulated host, like 127.0.0.1",
    fix: [{ key: "bindAddress", value: "127.0.0.1" }],
  };
}

function emulatedPortError({ host, hostPort }: Partial<StackSettings>): SettingError | undefined {
  if (host !== "emulated" || hostPort !== 22) return undefined;
  return {
    key: "hostPort",
    problem: "is 22, which is the port of an emulated host's own SSH server",
    accepted: "another port for an emulated host, like 5555",
    fix: [{ key: "hostPort", value: "5555" }],
  };
}

function devModeError({
  devMode,
  exposeDevMode,
  bindAddress,
}: Partial<StackSettings>): SettingError | undefined {
  if (devMode !== true || exposeDevMode !== false || bindAddress === undefined) return undefined;
  if (isLoopback(bindAddress)) return undefined;
  return {
    key: "bindAddress",
    problem: `is ${bindAddress} in dev mode: anyone who reaches it could run code without an API key`,
    accepted: "127.0.0.1 in dev mode; any address with devMode false, or with exposeDevMode true",
    fix: [{ key: "bindAddress", value: "127.0.0.1" }],
  };
}

/** In dev mode the same address is refused for want of a key. */
function plainHttpError({
  devMode,
  exposeHttp,
  bindAddress,
  tls,
}: Partial<StackSettings>): SettingError | undefined {
  if (devMode !== false || exposeHttp !== false || tls === undefined || bindAddress === undefined)
    return undefined;
  if (hasTls(tls) || lacksCertificate(tls) || isLoopback(bindAddress)) return undefined;
  return {
    key: "bindAddress",
    problem: `is ${bindAddress} without TLS: API keys and data could be read in transit`,
    accepted:
      "127.0.0.1 without TLS; any address with tls.generate true, with a certificate in tls, or with exposeHttp true",
    fix: [{ key: "tls.generate", value: "true", path: true }],
  };
}

function certificateError({
  tls,
  bindAddress,
  host,
  cluster,
}: Partial<StackSettings>): SettingError | undefined {
  if (tls === undefined || bindAddress === undefined || host === undefined) return undefined;
  // A cluster chooses its own; an emulated one is reached at this machine's, as a host is.
  const isElsewhere = isCluster({ cluster }) && cluster?.emulated === undefined;
  return tlsError(tls, isElsewhere ? undefined : endpointHost({ bindAddress, host }));
}

function isolateByKeyError({ devMode, isolateByKey }: Partial<StackSettings>): SettingError | undefined {
  if (devMode !== true || isolateByKey !== true) return undefined;
  return {
    key: "isolateByKey",
    problem: "is true in dev mode, where there are no API keys to separate",
    accepted: "false in dev mode; true with devMode false",
    fix: [{ key: "isolateByKey", value: "false" }],
  };
}

function volumesError({ volumes }: Partial<StackSettings>): SettingError | undefined {
  if (volumes?.state === undefined || volumes.state !== volumes.workspace) return undefined;
  return {
    key: "volumes.workspace",
    problem: `is ${show(volumes.workspace)}, the same as volumes.state`,
    accepted: "another volume, or no value for the default name",
    fix: [{ key: "volumes.workspace", path: true }],
  };
}

function builderError({
  builder,
  host,
  registry,
  serverImage,
}: Partial<StackSettings>): SettingError | undefined {
  if (builder !== "host" || host === undefined || host === "local" || serverImage !== undefined)
    return undefined;
  const fix = [{ key: "builder", value: "local" }];
  if (host === "emulated") {
    const problem = "is host, but a build on an emulated host would take hours";
    return { key: "builder", problem, accepted: "local or auto on an emulated host", fix };
  }
  if (registry === undefined) return undefined;
  const problem = "is host, but with registry set this machine builds and pushes the image";
  return { key: "builder", problem, accepted: "local or auto with a registry", fix };
}

function hostKeyError({ sshHostKey, sshKnownHostsFile }: Partial<StackSettings>): SettingError | undefined {
  if (sshHostKey === undefined || sshKnownHostsFile === undefined) return undefined;
  const problem = "is set, and sshKnownHostsFile too";
  return { key: "sshHostKey", problem, accepted: "one of the two", fix: [{ key: "sshKnownHostsFile" }] };
}

/** The registry is one for all hosts, so it is looked at once. */
export function registryError({
  registry,
  registryUser,
  registryPassword,
  serverImage,
  hosts = {},
}: Partial<StackSettings>): SettingError | undefined {
  if (registryUser === undefined && registryPassword === undefined) return undefined;
  const isPulled = serverImage !== undefined || Object.values(hosts).some((own) => own.serverImage);
  const lacking = { registry: registry ?? (isPulled || undefined), registryUser, registryPassword };
  const missing = Object.keys(lacking).filter((key) => lacking[key as keyof typeof lacking] === undefined);
  const [key] = missing;
  if (key === undefined) return undefined;
  return {
    key,
    problem: "is missing",
    accepted: "registryUser and registryPassword together, with registry or serverImage",
    fix: missing.map((each) => ({ key: each, ask: each === "registryPassword" ? "secret" : "plain" })),
  };
}
