import { crossErrors } from "./cross";
import { type StackSettings, settingsSchema } from "./schema";
import type { SettingError } from "./setting-errors";
import { hasTls, lacksCertificate } from "./tls";

type Key = keyof StackSettings;

/** Settings of a single host's engine, network and disks: a cluster has its own ways, or none. */
const OF_HOSTS: readonly string[] = [
  "host",
  "hosts",
  "sshKeyFile",
  "sshKnownHostsFile",
  "sshHostKey",
  "emulatedMemory",
  "emulatedDisk",
  "bindAddress",
  "hostPort",
  "privileged",
  "pidsLimit",
  "logMaxSize",
  "logMaxFiles",
  "upgradeCopies",
  "architecture",
  "builder",
  "registry",
  "registryUser",
  "registryPassword",
  "debianVersion",
  "registryPrefix",
  "version",
  "versionSha256",
  "images",
  "registries",
  "devMode",
  "exposeDevMode",
  "kvmCheck",
] as const satisfies readonly Key[];

/** Of these, the ones that an emulated cluster takes: what its nodes are, where it is reached, and how its image is built. */
const OF_EMULATED: readonly string[] = [
  "emulatedMemory",
  "emulatedDisk",
  "bindAddress",
  "hostPort",
  "debianVersion",
  "registryPrefix",
  "version",
  "versionSha256",
] as const satisfies readonly Key[];

/** Settings of a cluster that an emulated one sets by itself. */
const GIVEN_BY_EMULATED = [
  "kubeconfig",
  "context",
  "service",
  "nodePort",
  "kvmGroup",
] as const satisfies readonly (keyof StackSettings["cluster"])[];

/** What holds on a cluster in any case: requests need a key, and servers have no privileges. */
const ALWAYS = { devMode: false, privileged: false } as const;

/** The settings of a cluster, or what is wrong between those that are right one by one. */
export function checkCluster(
  raw: Record<string, unknown>,
  good: Partial<StackSettings>,
): { settings: Partial<StackSettings>; errors: SettingError[] } {
  const settings = { ...good, ...ALWAYS };
  const { serverImage, tls, exposeHttp, cluster, volumes } = settings;
  const isEmulated = cluster?.emulated !== undefined;
  const errors: SettingError[] = OF_HOSTS.filter(
    (key) => raw[key] !== undefined && !isHarmless(key, good) && !(isEmulated && OF_EMULATED.includes(key)),
  ).map(notOfCluster);
  if (isEmulated) errors.push(...emulatedErrors(raw, settings));
  else if (serverImage === undefined && raw.serverImage === undefined) errors.push(imageError);
  if (!isEmulated && exposeHttp === false && tls !== undefined && !hasTls(tls) && !lacksCertificate(tls))
    errors.push(plainHttpError);
  if (!isEmulated && cluster?.nodePort !== undefined && cluster.service !== "NodePort")
    errors.push(nodePortError(cluster));
  for (const name of ["state", "workspace"] as const)
    if (volumes?.[name] !== undefined) errors.push(notOfCluster(`volumes.${name}`));
  const known = new Set([
    ...errors.map(({ key }) => key),
    ...OF_HOSTS.filter((key) => !isEmulated || !OF_EMULATED.includes(key)),
  ]);
  const between = crossErrors({ ...settings, kvmCheck: "boot" });
  return { settings, errors: [...errors, ...between.filter(({ key }) => !known.has(key))] };
}

function emulatedErrors(raw: Record<string, unknown>, { cluster }: Partial<StackSettings>): SettingError[] {
  const initial = settingsSchema.shape.cluster.parse(undefined);
  const given = GIVEN_BY_EMULATED.filter((field) => cluster && cluster[field] !== initial[field]);
  return [
    ...given.map((field) => ofEmulated(`cluster.${field}`, "is the emulated cluster's own to choose")),
    ...(raw.serverImage === undefined
      ? []
      : [
          ofEmulated(
            "serverImage",
            "is given, but an emulated cluster reaches no registry: its image is built here",
          ),
        ]),
  ];
}

const ofEmulated = (key: string, problem: string): SettingError => ({
  key,
  problem,
  accepted: "no value with cluster.emulated",
  fix: [{ key, path: key.includes(".") || undefined }],
});

/** A value that says what holds anyway. */
function isHarmless(key: string, good: Partial<StackSettings>): boolean {
  const name = key as Key;
  // One that is wrong has its error already.
  if (!Object.hasOwn(good, name)) return true;
  const holds = Object.hasOwn(ALWAYS, name)
    ? ALWAYS[name as keyof typeof ALWAYS]
    : settingsSchema.shape[name].safeParse(undefined).data;
  return JSON.stringify(good[name]) === JSON.stringify(holds);
}

const notOfCluster = (key: string): SettingError => ({
  key,
  problem: "has no meaning on a cluster, which `cluster.servers` deploys to",
  accepted: "no value; docs/cluster.md names the settings that a cluster takes",
  fix: [{ key, path: key.includes(".") || undefined }],
});

const imageError: SettingError = {
  key: "serverImage",
  problem: "is missing: the nodes of a cluster pull the server's image from a registry",
  accepted: "an image by its digest; `npm run image -- push REPOSITORY` makes one",
  fix: [{ key: "serverImage", ask: "plain" }],
};

const plainHttpError: SettingError = {
  key: "tls",
  problem: "is not set: API keys and data could be read in transit",
  accepted: "tls.generate true, a certificate of your own, or exposeHttp true",
  fix: [{ key: "tls.generate", value: "true", path: true }],
};

const nodePortError = ({ nodePort, service }: StackSettings["cluster"]): SettingError => ({
  key: "cluster.nodePort",
  problem: `is ${nodePort}, but cluster.service is ${service}`,
  accepted: "a node port with cluster.service NodePort, or none",
  fix: [{ key: "cluster.nodePort", path: true }],
});
