/** msb's home in the server: where its state volume is. */
export const serverHome = "/var/lib/microsandbox";

/** Files on the state volume that `writeServerFile` writes: their paths there. */
const written = {
  keys: "gateway/keys",
  tls: "gateway/tls.pem",
  hostRanges: "gateway/host-ranges.json",
  images: "gateway/images.json",
} as const;
export type StackFile = keyof typeof written;

/** Files and folders that the server's command `registries` writes from the stack's settings. */
export const registryFiles: readonly string[] = [
  "config.json",
  "secrets/registries",
  "gateway/registries.json",
  "gateway/registry-certificates.pem",
];

/**
 * All that the stack's settings write to the state volume, the keys aside: it is of this stack and this host, so it is in
 * no backup, and stays where one is restored.
 */
export const settingsFiles: readonly string[] = [
  ...registryFiles,
  written.tls,
  written.hostRanges,
  written.images,
];

/** The keys: in a backup, and the stack's own stay where one is restored unless the backup's are asked for. */
export const keysPath = written.keys;

/** Path in the server. */
export const serverPath = (file: StackFile): string => `${serverHome}/${written[file]}`;
