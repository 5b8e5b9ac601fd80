import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as startTimer } from "node:timers";
import { setTimeout } from "node:timers/promises";
import type { Reporter } from "../report";
import { makeEntry } from "./cache";
import { kubernetesPlugin, pins } from "./pins";
import { proxyFor } from "./proxy";

/** A download of the vendor's, and the file beside it that lists its SHA-256. */
export interface OfficialRelease {
  /** Name and version, for cache entries and messages. */
  name: string;
  version: string;
  /** Address of the folder that holds both files, without a trailing slash. */
  base: string;
  /** An archive (`.tar.gz`, `.tgz`), or else the program itself. */
  archive: string;
  checksums: string;
}

/** The site did not answer, or refuses the file: a reason to get the tool some other way. */
export class Unreachable extends Error {
  /** @param passes whether another try may go well */
  constructor(
    message: string,
    readonly passes = false,
  ) {
    super(message);
  }
}
/** The file that came is not the one that the vendor published. */
export class ChecksumMismatch extends Error {}

/** Time limits of a download, in milliseconds. */
export interface DownloadLimits {
  /** Until the answer's headers are there. Default 5000. */
  connect: number;
  /** Between two pieces of the body. Default 30000. */
  stall: number;
  /** Before each further try, after a failure that may pass. Default 1000 and 5000. */
  pauses: readonly number[];
}
const defaultLimits: DownloadLimits = { connect: 5_000, stall: 30_000, pauses: [1_000, 5_000] };

/** Answers of a site that has too much to do. */
const PASSING = [408, 425, 429, 500, 502, 503, 504];

/**
 * Where the vendor publishes the pinned versions. The checksums are the vendor's own, published beside
 * each release (written by its release pipeline); no site was reachable where the versions were pinned,
 * so no digest could be written down here.
 */
export function officialReleases(
  platform: NodeJS.Platform = process.platform,
  arch: string = process.arch,
): Record<"pulumi" | "docker" | "command" | "kubernetes", OfficialRelease> {
  const plugin = (pin: { name: string; version: string }, project: string): OfficialRelease => ({
    name: pin.name,
    version: pin.version,
    base: `https://github.com/pulumi/${project}/releases/download/v${pin.version}`,
    archive: `${pin.name}-v${pin.version}-${platform}-${arch === "x64" ? "amd64" : arch}.tar.gz`,
    checksums: `${project}_${pin.version}_checksums.txt`,
  });
  return {
    pulumi: {
      name: pins.pulumi.name,
      version: pins.pulumi.version,
      base: "https://get.pulumi.com/releases/sdk",
      archive: `pulumi-v${pins.pulumi.version}-${platform}-${arch}.tar.gz`,
      checksums: `pulumi-${pins.pulumi.version}-checksums.txt`,
    },
    docker: plugin(pins.docker, "pulumi-docker"),
    command: plugin(pins.command, "pulumi-command"),
    kubernetes: plugin(kubernetesPlugin, "pulumi-kubernetes"),
  };
}

/** Name of the cache entry that a release's download ends in. */
export function officialEntry(release: OfficialRelease): string {
  return `${release.name}-${release.version}-official`;
}

/**
 * Downloads a release into the cache, checks it against the vendor's checksum file, and unpacks it.
 *
 * @returns the folder it was unpacked to.
 * @throws Unreachable where the site does not answer in time or has no such file or checksum.
 * @throws ChecksumMismatch where the archive differs from what the vendor published; it is deleted.
 */
export async function download(
  cache: string,
  release: OfficialRelease,
  report: Reporter,
  limits: DownloadLimits = defaultLimits,
): Promise<string> {
  return makeEntry(cache, officialEntry(release), report, (temporary) =>
    report.step(
      `Download ${release.name} ${release.version} from ${new URL(release.base).host}`,
      async () => {
        // The small file first: it tells whether the site answers at all.
        const sums = `${release.base}/${release.checksums}`;
        const list = await retried(() => text(sums, limits), limits, report);
        const expected = findChecksum(list, release.archive);
        if (!expected) throw new Unreachable(`${release.checksums} does not list ${release.archive}`);
        const archive = join(temporary, release.archive);
        const url = `${release.base}/${release.archive}`;
        const actual = await retried(() => save(url, archive, limits), limits, report);
        if (actual !== expected) {
          throw new ChecksumMismatch(
            `${release.archive} has SHA-256 ${actual}, but the vendor published ${expected}`,
          );
        }
        if (/\.(tar\.gz|tgz)$/.test(release.archive)) await unpack(archive, temporary);
        else await chmod(archive, 0o755);
      },
    ),
  );
}

/** The SHA-256 that a checksum file (lines of `<hex>  <file>`, or one digest) gives for a file, in lower case. */
export function findChecksum(list: string, file: string): string | undefined {
  if (/^[0-9a-f]{64}\s*$/i.test(list)) return list.trim().toLowerCase();
  for (const line of list.split("\n")) {
    const [digest, name] = line.trim().split(/\s+/);
    if (name?.replace(/^\*/, "") === file && digest && /^[0-9a-f]{64}$/i.test(digest))
      return digest.toLowerCase();
  }
  return undefined;
}

/** SHA-256 of a file, in hex. */
export async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/** Tries again, from the beginning, what may go well then. A site that is not there is not waited for. */
async function retried<T>(work: () => Promise<T>, { pauses }: DownloadLimits, report: Reporter): Promise<T> {
  for (const pause of pauses)
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Unreachable && error.passes)) throw error;
      report.say(`  ${error.message}; trying again in ${pause / 1000} s`);
      await setTimeout(pause);
    }
  return work();
}

async function text(url: string, limits: DownloadLimits): Promise<string> {
  const chunks: Buffer[] = [];
  await read(url, limits, async (body) => {
    for await (const chunk of body) chunks.push(chunk as Buffer);
  });
  return Buffer.concat(chunks).toString("utf8");
}

async function save(url: string, file: string, limits: DownloadLimits): Promise<string> {
  await read(url, limits, (body) => pipeline(body, createWriteStream(file)));
  return sha256(file);
}

async function read(url: string, limits: DownloadLimits, take: (body: Readable) => Promise<void>) {
  const body = await open(url, limits);
  try {
    await take(body);
  } catch (error) {
    throw new Unreachable(`${new URL(url).host} broke off: ${reason(error)}`, true);
  }
}

/** Opens a URL; the stream it gives fails as soon as the other side is silent for too long. */
async function open(url: string, limits: DownloadLimits): Promise<Readable> {
  const abort = new AbortController();
  let timer = startTimer(() => abort.abort(new Error("no answer in time")), limits.connect);
  let passes = false;
  try {
    const response = await request(url, abort.signal);
    passes = PASSING.includes(response.status);
    if (!response.ok || !response.body) throw new Error(`answered ${response.status} for ${url}`);
    const watch = new Transform({
      transform(chunk, _encoding, done) {
        timer.refresh();
        done(null, chunk);
      },
      flush(done) {
        clearTimeout(timer);
        done();
      },
    });
    clearTimeout(timer);
    timer = startTimer(() => abort.abort(new Error("the download stalled")), limits.stall);
    const body = Readable.fromWeb(response.body as import("node:stream/web").ReadableStream);
    return body
      .on("error", (error) => watch.destroy(error))
      .on("close", () => clearTimeout(timer))
      .pipe(watch);
  } catch (error) {
    clearTimeout(timer);
    const proxy = proxyFor(url);
    const through = proxy ? ` through the proxy ${new URL(proxy).host}` : "";
    throw new Unreachable(`${new URL(url).host}${through}: ${reason(error)}`, passes || isReset(error));
  }
}

/** A GET by way of the environment's proxy, where it names one. A redirect leads through the same one. */
async function request(url: string, signal: AbortSignal): Promise<Response> {
  const proxy = proxyFor(url);
  if (!proxy) return fetch(url, { signal, redirect: "follow" });
  const undici = await import("undici");
  const dispatcher = new undici.ProxyAgent(proxy);
  const response = await undici.fetch(url, { signal, redirect: "follow", dispatcher });
  return response as unknown as Response;
}

/** A connection that was there and is cut: by a proxy or a site that restarts. */
const isReset = (error: unknown): boolean =>
  error instanceof Error &&
  /ECONNRESET|EPIPE|UND_ERR_SOCKET/.test(String((error.cause as NodeJS.ErrnoException | undefined)?.code));

/** fetch hides what happened ("fetch failed") in the cause. */
function reason(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message : String(cause);
}

async function unpack(archive: string, dir: string): Promise<void> {
  const { execa } = await import("execa");
  const { rm } = await import("node:fs/promises");
  await execa("tar", ["-xzf", archive, "-C", dir, "--no-same-owner"]);
  await rm(archive);
}
