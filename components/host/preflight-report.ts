import * as z from "zod";
import { VisibleError } from "../settings/visible-error";
import { parseReport } from "./kvm-report";

/** The label that holds the id of the deployment which made an object. */
export const DEPLOYMENT_LABEL = "io.microsandbox.deployment";

/** An object on a host whose name the stack needs. Labels that it does not have are empty. */
export const hostObject = z.object({
  kind: z.enum(["container", "network", "volume"]),
  name: z.string(),
  project: z.string(),
  stack: z.string(),
  /** Id of the deployment that made it; earlier versions gave none. */
  deployment: z.string(),
  /** Of a volume: the containers that mount it. */
  usedBy: z.array(z.string()),
  /** Of a container. */
  id: z.string().optional(),
});
export type HostObject = z.infer<typeof hostObject>;

/** What preflight.sh prints: one line of JSON. */
export const preflightReportSchema = z.object({
  /** Whether the server can be deployed to this engine. */
  ok: z.boolean(),
  code: z.enum([
    "ok",
    "docker-missing",
    "engine-down",
    "no-permission",
    "group-after-login",
    "engine-too-old",
    "client-too-old",
    "not-linux",
    "unsupported-arch",
    "podman",
    "engine-elsewhere",
    "user-namespaces",
    "rootless",
    "no-addresses",
    "no-such-address",
    "port-taken",
  ]),
  /** One sentence: what was found. */
  message: z.string(),
  /** The command that fixes it; empty where there is nothing to fix. */
  remedy: z.string(),
  /** The engine; null where it did not answer. */
  engine: z
    .object({
      version: z.string(),
      /** Version of the API, `1.41` or newer. */
      api: z.string(),
      /** amd64 or arm64; anything else only in a report of `unsupported-arch`. */
      arch: z.string(),
      os: z.string(),
      cgroup: z.enum(["v1", "v2"]),
    })
    .nullable(),
  /** Whether the host has /dev/net/tun. */
  tun: z.boolean(),
  /** Whether the kernel can limit the swap of a container. */
  swapLimit: z.boolean(),
  /** Largest packet of the engine's default network, where its settings name one; networks that it makes ignore them. */
  mtu: z.number().nullable(),
  /** Group that /dev/kvm belongs to; null where there is no device. */
  kvmGid: z.number().nullable(),
  /** Permissions of /dev/kvm in octal digits, `660`; empty where there is no device. */
  kvmMode: z.string(),
  /** Addresses of the host: IPv4, and global ones of IPv6 in full length. */
  addresses: z.array(z.string()),
  /** What is there already under the names that the stack needs. */
  objects: z.array(hostObject),
});

export type PreflightReport = z.infer<typeof preflightReportSchema>;

/** @throws VisibleError where the output is no report, or is not the report alone */
export function parsePreflightReport(stdout: string): PreflightReport {
  const report = parseReport(preflightReportSchema, "preflight check", stdout);
  const [printed = ""] = stdout.trim().split("\n").slice(0, -1);
  if (printed === "") return report;
  // The Docker client speaks HTTP over the same kind of session: a line before the answer is no HTTP.
  throw new VisibleError(
    `The login shell of the host prints "${printed.slice(0, 80)}" before a command's output, which breaks Docker over SSH.\n` +
      "  fix, on the host, as the first line of ~/.bashrc (~/.zshenv for zsh): case $- in *i*) ;; *) return ;; esac",
  );
}

/** The report as text for the user: what was found and, if that is to be fixed, what to type. */
export function explainPreflight(report: PreflightReport): string {
  if (report.ok) return report.message;
  return `The server can't be deployed to this host (${report.code}).\n${report.message}\n  fix: ${report.remedy}`;
}
