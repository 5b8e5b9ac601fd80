import { serverPath } from "../../components/server/stack-files";
import { certificateEnd, tellEnd } from "../../components/settings/certificate-end";
import { certificateWarning } from "../../components/settings/given-certificate";
import { hasTls, isGiven } from "../../components/settings/tls";
import { exec } from "../../setup/exec";
import type { CheckContext, CheckedHost, Finding } from "./host-checks";
import { resourcesOf } from "./host-resources";
import { hostCommand } from "./on-host";

/** The part of the server's file that is no secret: its key stays where it is. */
const READ = ["sed", "-n", "/-----BEGIN CERTIFICATE-----/,/-----END CERTIFICATE-----/p", serverPath("tls")];

/**
 * Whether the certificate of a host's server ends soon or has ended: the one that the server has, which may be older than
 * what the settings give, and the authority of the stack's own. Of a server that does not run, what the settings give.
 */
export async function certificateFindings(host: CheckedHost, context: CheckContext): Promise<Finding[]> {
  if (!hasTls(host.tls)) return [];
  const given = isGiven(host.tls) ? certificateWarning(host.tls) : undefined;
  if (given) return [{ verdict: "warns", ...given }];
  return [...(await served(host, context)), ...(await authority(host, context))];
}

async function served(host: CheckedHost, context: CheckContext): Promise<Finding[]> {
  const valid: Finding = { verdict: "ok", what: "TLS: the certificate is valid" };
  const unread = isGiven(host.tls) ? [valid] : [];
  if (resourcesOf(host, context.resources).length === 0) return unread;
  const [program = "", ...words] = hostCommand(host, ["docker", "exec", `${host.baseName}-server`, ...READ]);
  const options = { stdin: "ignore", env: context.environment, reject: false } as const;
  const end = certificateEnd(String((await exec(program, words, options)).stdout));
  if (end === undefined) return unread;
  if (!end.isSoon) return [{ ...valid, what: `${valid.what} until ${end.day}` }];
  return [
    {
      verdict: end.hasEnded ? "fixes" : "warns",
      what: tellEnd("TLS: the server's certificate", end),
      remedy: `npm run up -- --stack ${context.stack}   (gives it a new one)`,
    },
  ];
}

async function authority(host: CheckedHost, { resources, stack }: CheckContext): Promise<Finding[]> {
  if (!host.tls.generate) return [];
  // Imported late: it loads Pulumi.
  const { authorityWarning } = await import("../../components/server/certificate.js");
  const { asNpmScripts, withStack } = await import("../../components/settings/message-commands.js");
  const own = new Set(resourcesOf(host, resources));
  return resources.flatMap(({ urn, type, outputs }) => {
    if (type !== "microsandbox:index:Tls" || !own.has(urn) || !outputs?.authority) return [];
    const found = authorityWarning(urn.split("::").at(-1) ?? "", outputs.authority);
    return found
      ? [{ verdict: "warns", ...found, remedy: asNpmScripts(withStack(found.remedy, stack)) }]
      : [];
  });
}
