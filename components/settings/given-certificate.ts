import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import { homedir } from "node:os";
import { resolve } from "node:path";
import { certificateEnd, dayOf, tellEnd } from "./certificate-end";
import type { Fix, SettingError } from "./setting-errors";
import type { TlsSettings } from "./tls";

/** The certificate and the key that the settings give, whichever way; PEM. @throws Error that names a file */
export function givenPem(settings: TlsSettings): { certificate?: string; key?: string } {
  const { certificate, certificateFile, key, keyFile } = settings;
  return {
    certificate: certificate ?? (certificateFile && contentOf(certificateFile)),
    key: key ?? (keyFile && contentOf(keyFile)),
  };
}

/** The folder of Pulumi.yaml, where the language host names it; else the one that the command was started in. */
const projectFolder = () => process.env.PULUMI_NODEJS_ROOT_DIRECTORY ?? process.cwd();

/** A file of the machine that deploys; a path that is not absolute starts at the project. */
function contentOf(path: string): string {
  const file = resolve(projectFolder(), path.replace(/^~(?=\/)/, homedir()));
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`${file} can't be read (${(error as NodeJS.ErrnoException).code ?? error})`);
  }
}

/**
 * What is wrong with the settings of TLS as a whole: what must not be given together, and a certificate that no
 * client would accept.
 *
 * @param address what clients find the server by, where `names` says nothing; undefined where that is not known
 */
export function tlsError(
  settings: TlsSettings,
  address: string | undefined,
  now = Date.now(),
): SettingError | undefined {
  const { generate, certificate, certificateFile, key, keyFile } = settings;
  const given = [certificate, certificateFile, key, keyFile].some((each) => each !== undefined);
  if (!given) return undefined;
  if (generate)
    return error("has generate true and also your own certificate", [field("generate", { value: "false" })]);
  // The files are still there once no setting names them.
  const twice = [
    ...(certificate && certificateFile ? [field("certificateFile")] : []),
    ...(key && keyFile ? [field("keyFile")] : []),
  ];
  if (twice.length > 0) return error("has a certificate or a key twice, as text and as a file", twice);

  const unread = Object.entries({ certificateFile, keyFile }).flatMap(([name, file]) => {
    const read = attempt(() => file && contentOf(file));
    return "failed" in read ? [{ name, why: read.failed }] : [];
  });
  if (unread.length > 0)
    return error(
      `names a file that can't be used: ${[...new Set(unread.map(({ why }) => why))].join(", ")}`,
      unread.map(({ name }) => field(name, { ask: "plain" })),
      "the path of a file with PEM text that this machine can read",
    );
  const pem = givenPem(settings);
  if (pem.certificate === undefined || pem.key === undefined) {
    const lacks = pem.key === undefined ? "keyFile" : "certificateFile";
    return error("has a certificate without a key, or a key without a certificate", [
      field(lacks, { ask: "plain" }),
    ]);
  }
  const read = attempt(() => new X509Certificate(pem.certificate ?? ""));
  if ("failed" in read)
    return error(`has no certificate in ${certificateFile}`, replaced(settings, "a certificate as PEM text"));
  const fits = attempt(() => read.done.checkPrivateKey(createPrivateKey(pem.key ?? "")));
  const itsKey = replacedKey(settings, "the private key of the certificate, without a passphrase,");
  if ("failed" in fits) return error(`has no private key, or one with a passphrase, in ${keyFile}`, itsKey);
  if (!fits.done) return error("has a certificate and a private key that don't belong together", itsKey);

  const { validFrom, validTo } = read.done;
  const [renewed, today] = ["a certificate that is valid today", "one that is valid today"];
  if (Date.parse(validTo) <= now)
    return error(`has a certificate that expired on ${dayOf(validTo)}`, replaced(settings, today), renewed);
  if (Date.parse(validFrom) > now)
    return error(
      `has a certificate that is not valid before ${dayOf(validFrom)}`,
      replaced(settings, today),
      renewed,
    );
  return nameError(settings, read.done, address);
}

/** A certificate that clients would refuse for its names. */
function nameError(
  settings: TlsSettings,
  certificate: X509Certificate,
  address: string | undefined,
): SettingError | undefined {
  const wanted = address === undefined || settings.names.length > 0 ? settings.names : [address];
  const uncovered = wanted.filter((name) => !isGoodFor(certificate, name));
  if (uncovered.length === 0) return undefined;
  const good = namesOf(certificate);
  const [first] = good.filter((name) => !name.includes("*"));
  const covered = wanted.filter((name) => !uncovered.includes(name));
  // Of several names, those that the certificate does not cover go.
  const names =
    settings.names.length > 1
      ? field("names", { value: JSON.stringify(covered.length > 0 ? covered : [first]) })
      : field("names[0]", { value: first });
  return error(
    `has a certificate for ${good.join(", ") || "no name"}, but clients connect to ${uncovered.join(", ")}`,
    covered.length > 0 || first !== undefined
      ? [names]
      : replaced(settings, `a certificate for ${wanted.join(", ")}`),
    "a certificate for that name, or tls.names with names that clients use and the certificate covers",
  );
}

const field = (name: string, fix: Omit<Fix, "key" | "path"> = {}): Fix => ({
  key: `tls.${name}`,
  path: true,
  ...fix,
});

/** How to give another certificate with its key, the way that this one is given. @param what @example "a certificate" */
function replaced(settings: TlsSettings, what: string): Fix[] {
  const { certificateFile } = settings;
  return [
    certificateFile === undefined
      ? field("certificate", { from: "server.pem" })
      : field("certificateFile", { todo: `put ${what} into ${certificateFile}` }),
    ...replacedKey(settings, "its key"),
  ];
}

/** The same of the key alone. */
function replacedKey({ keyFile }: TlsSettings, what: string): Fix[] {
  if (keyFile === undefined) return [field("key", { ask: "secret", from: "server.key" })];
  return [field("keyFile", { todo: `put ${what} into ${keyFile}` })];
}

/** That a certificate of the user's ends soon, and what to do; undefined where it does not, or can't be read. */
export function certificateWarning(
  settings: TlsSettings,
  now = Date.now(),
): { what: string; remedy: string } | undefined {
  const read = attempt(() => certificateEnd(givenPem(settings).certificate ?? "", now));
  const end = "done" in read ? read.done : undefined;
  if (end === undefined || end.hasEnded || !end.isSoon) return undefined;
  const renew = settings.certificateFile
    ? `Renew ${settings.certificateFile}, then: pulumi up`
    : "pulumi config set --path microsandbox:tls.certificate \"$(printf '\\n'; cat server.pem)\"\n" +
      "pulumi config set --secret --path microsandbox:tls.key < server.key && pulumi up";
  return { what: tellEnd("The certificate", end), remedy: renew };
}

function error(
  problem: string,
  fix: Fix[],
  accepted = "generate true alone, or a certificate with its key, each as text or as a file",
): SettingError {
  return { key: "tls", problem, accepted, fix };
}

/** Whether clients take a certificate for this name; they look at its alternative names alone. */
function isGoodFor(certificate: X509Certificate, name: string): boolean {
  if (isIP(name) !== 0) return certificate.checkIP(name) !== undefined;
  return certificate.checkHost(name, { subject: "never" }) !== undefined;
}

function namesOf({ subjectAltName = "" }: X509Certificate): string[] {
  return [...subjectAltName.matchAll(/(?:DNS|IP Address):([^,]+)/g)].map(([, name = ""]) => name);
}

function attempt<T>(work: () => T): { done: T } | { failed: string } {
  try {
    return { done: work() };
  } catch (error) {
    return { failed: error instanceof Error ? error.message : String(error) };
  }
}
