import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { removeFileDurably, writeFileAtomically } from "../../files/atomic-file";

const host = z.string().regex(/^[a-z0-9][a-z0-9.-]*(:\d{1,5})?$/i, "is not the name of a registry");

/** A name in full may be at any address; those that a `*` stands for are public ones. */
const pattern = z.union([z.literal("*"), z.string().regex(/^\*(\.[a-z0-9-]+)+$/i), host]);

/** What the stack says about registries; it comes by standard input, because it holds passwords. */
export const registrySettings = z.strictObject({
  /** A prefix, which ends in a slash, by the registry that it stands in for. */
  mirrors: z.record(host, z.string().endsWith("/")).default({}),
  /** Certificates of private authorities, PEM. */
  certificates: z.string().default(""),
  /** Registries without TLS. */
  plainHttp: z.array(host).default([]),
  logins: z.record(host, z.strictObject({ username: z.string(), password: z.string() })).default({}),
  /** Registries that images may come from, `*.example.com` and `*` among them; any public one if not set. */
  allowed: z.array(pattern).optional(),
});
export type RegistrySettings = z.input<typeof registrySettings>;

/** What the gateway keeps of the settings: no secret, and which of msb's entries are its own. */
const kept = z.object({
  mirrors: z.record(z.string(), z.string()),
  hosts: z.array(z.string()),
  logins: z.array(z.string()).default([]),
  /** Not in the file of an older gateway: then any of the hosts may be one. */
  plainHttp: z.array(z.string()).optional(),
  allowed: z.array(z.string()).optional(),
});
export type KeptSettings = z.infer<typeof kept>;

export const nothingKept: KeptSettings = { mirrors: {}, hosts: [], logins: [] };

const msbConfig = z.looseObject({
  registries: z
    .looseObject({
      ca_certs: z.string().nullish(),
      hosts: z.record(z.string(), z.looseObject({})).default({}),
    })
    .prefault({}),
});

export const keptFile = (home: string) => join(home, "gateway", "registries.json");

/**
 * Writes the settings where msb reads them: `config.json` in its home, a file for each password and one for the
 * certificates, all for root's eyes only. What else is in `config.json` stays, logins made with msb itself too.
 */
export async function applyRegistrySettings(home: string, input: RegistrySettings): Promise<void> {
  const { mirrors, certificates, plainHttp, logins, allowed } = registrySettings.parse(input);
  const hosts = [...new Set([...plainHttp, ...Object.keys(logins)])];
  const keeping: KeptSettings = { mirrors, hosts, logins: Object.keys(logins), plainHttp, allowed };
  const before = await readKept(home);
  const secrets = join(home, "secrets", "registries");
  const certificateFile = join(home, "gateway", "registry-certificates.pem");
  await mkdir(secrets, { recursive: true, mode: 0o700 });
  await mkdir(join(home, "gateway"), { recursive: true, mode: 0o700 });

  for (const [name, { password }] of Object.entries(logins))
    await writeFileAtomically(join(secrets, secretName(name)), password);
  if (certificates) await writeFileAtomically(certificateFile, certificates);

  const path = join(home, "config.json");
  const config = await readMsbConfig(path);
  const { registries } = config;
  for (const name of before.hosts) delete registries.hosts[name];
  for (const name of hosts) {
    const username = logins[name]?.username;
    registries.hosts[name] = {
      ...(plainHttp.includes(name) && { insecure: true }),
      ...(username !== undefined && { auth: { username, secret_name: secretName(name) } }),
    };
  }
  if (certificates) registries.ca_certs = certificateFile;
  else if (registries.ca_certs === certificateFile) delete registries.ca_certs;
  // The new names before msb's entries, so that none of them outlives a crash in between as nobody's.
  await writeFileAtomically(
    keptFile(home),
    JSON.stringify({ ...keeping, hosts: [...new Set([...before.hosts, ...hosts])] }),
  );
  await writeFileAtomically(path, JSON.stringify(config, null, 2));

  for (const name of before.hosts)
    if (!logins[name]) await removeFileDurably(join(secrets, secretName(name)));
  if (!certificates) await removeFileDurably(certificateFile);
  await writeFileAtomically(keptFile(home), JSON.stringify(keeping));
}

/** A host's name as that of a file: it may hold a colon, and no underscore. */
const secretName = (name: string) => name.replace(":", "_");

/** The kept part of the settings; nothing is set where there is no file. */
export async function readKept(home: string): Promise<KeptSettings> {
  const text = await readIfThere(keptFile(home));
  return text === undefined ? nothingKept : kept.parse(JSON.parse(text));
}

async function readMsbConfig(path: string): Promise<z.output<typeof msbConfig>> {
  const text = await readIfThere(path);
  if (text === undefined) return msbConfig.parse({});
  try {
    return msbConfig.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`${path} is not msb's configuration; mend or remove it: ${String(error)}`);
  }
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
