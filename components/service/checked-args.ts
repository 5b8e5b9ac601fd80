import * as pulumi from "@pulumi/pulumi";
import type { MicrosandboxArgs } from "../args";
import { takesMadeKey } from "../server/api-key";
import { checkKnown } from "../settings/checks";
import { isMadeOnHost } from "../settings/image-registry";
import { parseSettings } from "../settings/parse-settings";
import { hasRegistrySettings } from "../settings/registries";
import type { HostSettings, SettingsInput } from "../settings/schema";
import { explainErrors, type SettingError } from "../settings/setting-errors";
import { isGiven } from "../settings/tls";
import { VisibleError } from "../settings/visible-error";

/** What decides which resources there are: known at once. */
export interface Structure
  extends Pick<HostSettings, "architecture" | "devMode" | "privileged" | "kvmCheck" | "images"> {
  /** An address that is known only later is one over SSH. */
  hostKind: "local" | "ssh" | "emulated";
  /** Whether the address of the host is an output: the same program may create the machine. */
  isNewHost: boolean;
  volumes: Pick<HostSettings["volumes"], "keep" | "protect">;
  /** The server's certificate: none, one of its own authority, or one that is given. */
  tls: "none" | "generated" | "given";
  /** Whether there are settings for registries of sandbox images. */
  hasRegistries: boolean;
  /** Whether the server's image goes through a registry. */
  hasRegistry: boolean;
  /** Whether the server's image is prebuilt. */
  hasServerImage: boolean;
  /** Whether the host's own engine makes the image, or pulls it; else it comes from this machine's. */
  isMadeOnHost: boolean;
  hasApiKey: boolean;
  /** Whether there are further keys. */
  hasKeys: boolean;
  /** Whether the first deployment makes a key. */
  takesMadeKey: boolean;
}

/** The settings of a service, checked and with defaults, each as soon as it is known. */
export interface CheckedArgs {
  structure: Structure;
  /** Each setting; in an update none is known before all of them have passed the checks. */
  values: { [Key in keyof HostSettings]-?: pulumi.Output<HostSettings[Key]> };
  /** Names that clients call the server by. Apart from the certificate's key, which makes all of `tls` a secret. */
  tlsNames: pulumi.Output<string[]>;
}

/** Args, by path, that decide which resources there are, or that are read while the program runs. */
const structural = [
  ...["architecture", "devMode", "generateApiKey", "exposeDevMode", "exposeHttp", "production", "kvmCheck"],
  ...[
    "privileged",
    "images",
    "builder",
    "volumes",
    "volumes.keep",
    "volumes.protect",
    "limits",
    "registries",
  ],
  ...["versionSha256", "tls", "tls.generate", "tls.certificateFile", "tls.keyFile"],
];

/**
 * Checks args: what is known at once, and the whole when all of it is known. A wrong output fails what is made from it.
 *
 * @throws VisibleError that lists every error in what is known, each with what to write instead
 */
export function checkArgs(args: MicrosandboxArgs): CheckedArgs {
  const later = outputPaths(args);
  const laterKeys = [...new Set(later.map((path) => path.split(".")[0] ?? path))];
  const { settings, errors } = checkKnown(withoutOutputs(args), laterKeys);
  errors.push(...later.filter((path) => structural.includes(path)).map(mustBeKnown));
  if (errors.length > 0) throw new VisibleError(explainErrors(errors, { source: "code" }));

  const keys = Object.keys(settings) as (keyof HostSettings)[];
  const value = valuesOf(args, settings, laterKeys);
  const values = Object.fromEntries(keys.map((key) => [key, value(key)])) as CheckedArgs["values"];
  return {
    structure: structureOf(settings, later),
    values,
    tlsNames: later.includes("tls.names")
      ? values.tls.apply(({ names }) => names)
      : pulumi.output(settings.tls.names),
  };
}

/** Where the values come from: what is known now, or the check of the whole. */
function valuesOf(args: MicrosandboxArgs, known: HostSettings, later: readonly string[]) {
  const checked = later.length > 0 ? checkWhole(args, later) : undefined;
  /** A default that follows another setting. */
  const follows: { [key: string]: string } = { cpuReservation: "cpuLimit", memoryReservation: "memoryLimit" };
  return (key: keyof HostSettings): pulumi.Output<unknown> => {
    // A preview shows what it can: one unknown value does not hide the others.
    const isSure = !later.includes(key) && !later.includes(follows[key] ?? key);
    if (checked === undefined || (isSure && pulumi.runtime.isDryRun())) return pulumi.output(known[key]);
    if (!later.includes(key)) return checked.apply((all) => all[key]);
    // With the arg itself, whose secrecy the check of the whole has lost.
    return pulumi.all([pulumi.output<unknown>(args[key]), checked]).apply(([, all]) => all[key]);
  };
}

/** All of the settings, once all of the args are known. What was a secret is none here. */
function checkWhole(args: MicrosandboxArgs, later: readonly string[]): pulumi.Output<HostSettings> {
  const isSecret = (key: string) =>
    pulumi.isSecret(pulumi.output<unknown>(args[key as keyof MicrosandboxArgs]));
  const secrets = Promise.all(later.map(async (key) => ((await isSecret(key)) ? [key] : [])));
  return pulumi.unsecret(
    pulumi.all([pulumi.output(args), secrets]).apply(([all, hidden]) => {
      const given = all satisfies SettingsInput;
      const settings = parseSettings({ ...given }, { source: "code", secretKeys: hidden.flat() });
      if (later.includes("host") && !settings.host.startsWith("ssh://"))
        throw new VisibleError(explainErrors([laterHost(settings.host)], { source: "code" }));
      return settings;
    }),
  );
}

function structureOf(settings: HostSettings, later: readonly string[]): Structure {
  const { host, tls, registries, registry, apiKey, keys, builder, serverImage } = settings;
  const isLater = (key: string) => later.some((path) => path === key || path.startsWith(`${key}.`));
  const kind = host === "local" || host === "emulated" ? host : "ssh";
  const hostKind = isLater("host") ? "ssh" : kind;
  const hasServerImage = serverImage !== undefined || isLater("serverImage");
  const givenTls = isGiven(tls) || isLater("tls.certificate") ? "given" : "none";
  return {
    ...settings,
    hostKind,
    isNewHost: isLater("host"),
    tls: tls.generate ? "generated" : givenTls,
    hasRegistries: hasRegistrySettings(registries) || isLater("registries"),
    hasRegistry: registry !== undefined || isLater("registry"),
    hasServerImage,
    isMadeOnHost: isMadeOnHost({ builder, hostKind, hasServerImage }),
    hasApiKey: apiKey !== undefined || isLater("apiKey"),
    hasKeys: keys.length > 0 || isLater("keys"),
    takesMadeKey: takesMadeKey({ ...settings, apiKey: isLater("apiKey") ? "later" : apiKey }),
  };
}

function mustBeKnown(key: string): SettingError {
  return {
    key,
    problem: "is an output, but decides which resources exist",
    accepted: "a plain value, known when the program starts",
    fix: [{ key }],
  };
}

function laterHost(host: string): SettingError {
  return {
    key: "host",
    problem: `is ${host} as an output`,
    accepted: "ssh://user@address[:port] as an output; local and emulated as plain values",
    fix: [{ key: "host", value: host }],
  };
}

const isLaterKnown = (value: unknown): boolean => pulumi.Output.isInstance(value) || value instanceof Promise;
const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !isLaterKnown(value);

/** Whether there is an output in it, however deep. */
function hasOutput(value: unknown): boolean {
  return isLaterKnown(value) || (isPlainObject(value) && Object.values(value).some(hasOutput));
}

/** Where outputs are: `host`, and `tls.key` for one inside of a group. */
function outputPaths(args: MicrosandboxArgs): string[] {
  return Object.entries(args).flatMap(([key, value]) => {
    if (!isPlainObject(value) || Array.isArray(value)) return hasOutput(value) ? [key] : [];
    return Object.entries(value).flatMap(([field, part]) => (hasOutput(part) ? [`${key}.${field}`] : []));
  });
}

/** The args without what is not known yet. */
function withoutOutputs(args: MicrosandboxArgs): Record<string, unknown> {
  const known = (value: object) => Object.entries(value).filter(([, part]) => !hasOutput(part));
  return Object.fromEntries(
    Object.entries(args).flatMap(([key, value]): [string, unknown][] => {
      if (!hasOutput(value)) return [[key, value]];
      return isPlainObject(value) && !Array.isArray(value) ? [[key, Object.fromEntries(known(value))]] : [];
    }),
  );
}
