import { DEFAULT_HOST, isHostName } from "./hosts";
import type { HostSettings } from "./schema";
import { pathTo, type SettingError } from "./setting-errors";
import { isUnspecified } from "./values";

/** The settings of each host, or what is wrong with them. */
export interface CheckedHosts {
  hosts: Record<string, HostSettings>;
  errors: SettingError[];
}

/**
 * Checks each host's settings, the stack's with the overrides of that host, and the hosts against each other.
 *
 * @param overrides by host
 * @param check of the settings of one host, from its overrides
 * @param known errors of the stack's own settings: a host that inherits one does not repeat it
 */
export function checkHosts(
  overrides: Record<string, Record<string, unknown>>,
  check: (own: Record<string, unknown>) => { settings?: HostSettings; errors: SettingError[] },
  known: readonly SettingError[],
): CheckedHosts {
  const good: Record<string, HostSettings> = {};
  const errors: SettingError[] = [];
  let isAllowed = false;
  for (const [name, { allowRemoval, ...own }] of Object.entries(overrides)) {
    if (!isHostName(name)) {
      errors.push(wrongName(name));
      continue;
    }
    if (allowRemoval !== undefined && !/^(true|false)$/.test(String(allowRemoval)))
      errors.push(wrongFlag(name));
    isAllowed ||= String(allowRemoval) === "true";
    const { settings, errors: wrong } = check(own);
    if (settings) good[name] = settings;
    const inherited = (error: SettingError) =>
      !Object.hasOwn(own, root(error.key)) && known.some(({ key }) => key === error.key);
    errors.push(...wrong.filter((error) => !inherited(error)).map((error) => mistakeOfHost(name, error)));
  }
  errors.push(...sharedErrors(good));
  const names = Object.keys(overrides);
  if (errors.length === 0 && known.length === 0 && !isAllowed && !names.includes(DEFAULT_HOST))
    errors.push(droppedHost(names));
  return { hosts: good, errors };
}

/** A stack with one host has its server on the host `default`: without that name it would be removed with its sandboxes. */
function droppedHost(names: readonly string[]): SettingError {
  return {
    key: "hosts",
    problem:
      `names ${names.join(", ")}, but not default: the server that was deployed before \`hosts\` was set would be ` +
      "removed, and the others start without its sandboxes",
    accepted:
      "the name default for the host that the stack already has, or allowRemoval true on one of them if it has none",
    fix: [{ key: "hosts", edit: "give the host that the stack already has the name default" }],
  };
}

function wrongFlag(name: string): SettingError {
  const key = `hosts.${name}.allowRemoval`;
  return { key, problem: "is neither true nor false", accepted: "true or false", fix: [{ key, path: true }] };
}

const root = (key: string) => key.split(".")[0] ?? key;

/** An error in the settings of one host: its key and its fix name the host. */
export function mistakeOfHost(name: string, error: SettingError): SettingError {
  const inHost = (key: string) => `hosts.${name}.${key}`;
  return {
    ...error,
    key: inHost(error.key),
    fix: error.fix.map((fix) => ({
      ...fix,
      key: fix.path ? inHost(fix.key) : pathTo(`hosts.${name}`, [fix.key]),
      path: true,
    })),
  };
}

function wrongName(name: string): SettingError {
  const shown = name.replace(/\p{C}+/gu, " ").slice(0, 60);
  return {
    key: `hosts.${shown}`,
    problem: "has a name that is not allowed",
    accepted: "1 to 30 lower-case letters, digits and hyphens, a letter or digit first and last",
    fix: [{ key: "hosts", edit: `give the host ${JSON.stringify(shown)} another name` }],
  };
}

/** Ports and volumes that two hosts on one machine can't share. */
function sharedErrors(all: Record<string, HostSettings>): SettingError[] {
  const errors: SettingError[] = [];
  const entries = Object.entries(all);
  const usedPorts = new Set(entries.map(([, { hostPort }]) => hostPort));
  for (const [index, [name, settings]] of entries.entries()) {
    const before = entries.slice(0, index);
    const samePort = before.find(([, other]) => sharePort(settings, other));
    if (samePort) {
      let free = settings.hostPort;
      while (usedPorts.has(free)) free = free < 65535 ? free + 1 : 1024;
      usedPorts.add(free);
      errors.push(
        mistakeOfHost(name, {
          key: "hostPort",
          problem: `is ${settings.hostPort}, which the host ${samePort[0]} already uses on the same machine`,
          accepted: `another port, like ${free}`,
          fix: [{ key: "hostPort", value: `${free}` }],
        }),
      );
    }
    for (const volume of ["state", "workspace"] as const) {
      const wanted = settings.volumes[volume];
      const holder = before.find(([, other]) => sameEngine(settings, other) && holds(other, wanted));
      if (!holder) continue;
      errors.push(
        mistakeOfHost(name, {
          key: `volumes.${volume}`,
          problem: `is ${wanted}, a volume that the host ${holder[0]} already uses on the same engine`,
          accepted: "another volume, or no value for the default name, which is made of stack and host",
          fix: [{ key: `volumes.${volume}`, value: `${wanted}-${name}`, path: true }],
        }),
      );
    }
  }
  return errors;
}

const holds = ({ volumes }: HostSettings, name: string | undefined) =>
  name !== undefined && (volumes.state === name || volumes.workspace === name);

/** Whether two hosts use the same engine; every emulated host has its own. */
function sameEngine(one: HostSettings, other: HostSettings): boolean {
  return one.host !== "emulated" && other.host !== "emulated" && machineOf(one) === machineOf(other);
}

/** The machine whose port the server takes: an emulated host's is this one's, forwarded. */
function machineOf({ host }: HostSettings): string {
  return host === "local" || host === "emulated" ? "local" : endpointOf(host);
}

/** Address and SSH port, whoever logs in. */
function endpointOf(host: string): string {
  const { hostname, port } = new URL(host);
  return `${hostname.toLowerCase()}:${port || 22}`;
}

function sharePort(one: HostSettings, other: HostSettings): boolean {
  if (one.hostPort !== other.hostPort || machineOf(one) !== machineOf(other)) return false;
  const addresses = [one.bindAddress, other.bindAddress];
  return addresses[0] === addresses[1] || addresses.some(isUnspecified);
}
