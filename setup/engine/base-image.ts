/** The Debian base image: from the engine, from a registry, or made from Debian packages. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_DEBIAN } from "../../components/settings/versions";
import type { Reporter } from "../report";
import { UserError } from "../user-error";
import { ensurePackages } from "./apt";
import { runCommand } from "./run-command";

/** Which image the Dockerfile's build stages start from. */
export interface BaseImage {
  /** Name and tag as the Dockerfile says it, with registry prefix if any. Example: `debian:13.2-slim`. */
  image: string;
  /** `linux/amd64` or `linux/arm64`: the platform of the engine that builds. */
  platform: string;
}

/** Time limit of a pull: without a registry it fails in seconds, or hangs. */
const PULL_TIMEOUT_MS = 180_000;

/** Debian's release names by major version. mmdebstrap wants the name. */
const RELEASES: Record<string, string> = {
  "11": "bullseye",
  "12": "bookworm",
  "13": "trixie",
  "14": "forky",
};

/** What the slim images leave out. */
const SLIM = [
  "path-exclude=/usr/share/doc/*",
  "path-include=/usr/share/doc/*/copyright",
  "path-exclude=/usr/share/man/*",
  "path-exclude=/usr/share/locale/*",
  "path-exclude=/usr/share/info/*",
  "path-exclude=/usr/share/lintian/*",
];

/**
 * The release name of a Debian image: `debian:13.2-slim` → `trixie`; undefined where it is no numbered Debian
 * image or of a version without a known name.
 */
export function debianRelease(image: string): string | undefined {
  const major = /(?:^|\/)debian:(\d+)(?:\.\d+)?(?:-slim)?$/.exec(image)?.[1];
  return major ? RELEASES[major] : undefined;
}

/**
 * Makes sure that the local engine holds the base image: nothing where it is there, else a pull; where no
 * registry answers, it is made by mmdebstrap from Debian packages and imported under the same name.
 *
 * @throws UserError where neither works.
 */
export async function ensureBaseImage(report: Reporter, base: BaseImage): Promise<void> {
  if (await engineHas(base)) return;
  const failure = await report.step(`Pull ${base.image}`, () => pull(base));
  if (failure === undefined) return;

  const release = debianRelease(base.image);
  if (release === undefined) {
    throw new UserError(
      `The base image ${base.image} can't be pulled: ${failure}\n` +
        "It can only be built from packages for debian:<version>-slim, versions " +
        `${Object.keys(RELEASES).join(", ")}. Set another: npm run pulumi -- config set debianVersion ${DEFAULT_DEBIAN}`,
    );
  }
  report.say(`No registry gives ${base.image} (${failure}): building it from Debian ${release} packages`);
  await ensurePackages(report, ["mmdebstrap", "debian-archive-keyring"], "the base image");
  await report.step(`Build ${base.image} for ${base.platform}`, () => makeFromPackages(base, release));
}

async function engineHas({ image, platform }: BaseImage): Promise<boolean> {
  const format = "{{.Os}}/{{.Architecture}}";
  const result = await runCommand("docker", ["image", "inspect", "--format", format, image]);
  return result.ok && result.stdout.trim() === platform;
}

/** Undefined when the pull worked, else the reason in one line. */
async function pull({ image, platform }: BaseImage): Promise<string | undefined> {
  const result = await runCommand("docker", ["pull", "--quiet", "--platform", platform, image], {
    timeoutMs: PULL_TIMEOUT_MS,
  });
  if (result.ok) return undefined;
  if (result.trouble === "timed out") return `no answer within ${PULL_TIMEOUT_MS / 1000} s`;
  return (result.tail.split("\n").at(-1) ?? "").replace(/^Error response from daemon: /, "");
}

async function makeFromPackages({ image, platform }: BaseImage, release: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "microsandbox-base-"));
  // Through a file: importing a stream that breaks off would create an incomplete image.
  const tar = join(folder, "rootfs.tar");
  try {
    const architecture = platform.replace(/^linux\//, "");
    const options = SLIM.map((option) => `--dpkgopt=${option}`);
    await run("mmdebstrap", [
      "--variant=minbase",
      `--architectures=${architecture}`,
      ...options,
      release,
      tar,
    ]);
    await run("docker", ["import", "--platform", platform, "--change", 'CMD ["bash"]', tar, image]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function run(command: string, args: string[]): Promise<void> {
  const result = await runCommand(command, args);
  if (result.ok) return;
  throw new UserError(
    `Building the base image failed at ${command} (${result.trouble ?? result.code}):\n${result.tail}`,
  );
}
