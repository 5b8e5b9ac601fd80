import { exec } from "../../setup/exec";
import type { Line, Skipped } from "./figures";
import { ratioLine } from "./figures";

const BASE = "debian:13.2-slim";
const LABEL = "label=org.opencontainers.image.title=microsandbox-stack server";
const MIB = 1024 * 1024;

/** The files of the server's image, against those of Debian's slim image and the three programs it is there for. */
export async function imageSize(): Promise<Line[] | Skipped> {
  const what = "image size";
  const listed = await exec("docker", ["image", "ls", "--quiet", "--filter", LABEL], { reject: false });
  if (listed.exitCode !== 0) return { what, reason: "no Docker engine answers here" };
  const [image] = String(listed.stdout).split("\n");
  if (!image) return { what, reason: "this engine has no image of the server; npm run up makes one" };
  if ((await exec("docker", ["image", "inspect", BASE], { reject: false })).exitCode !== 0)
    return { what, reason: `this engine has no ${BASE} to compare with; npm run setup brings it` };

  const files = await filesOf(image);
  const ours = sum(files, () => true);
  const programs = ["usr/local/bin/msb", "usr/local/lib/libkrunfw", "usr/local/bin/node"];
  for (const program of programs)
    if (sum(files, (path) => path.startsWith(program)) === 0)
      return {
        what,
        reason: `${program} is not where it was in the image; fix bench/gateway/image-size.ts`,
      };
  const needed = sum(files, (path) => programs.some((program) => path.startsWith(program)));
  const base = sum(await filesOf(BASE), () => true);
  const against = `${BASE} + msb + libkrunfw + node`;
  const sizes = { ours: [ours / MIB], theirs: [(base + needed) / MIB] };
  return [ratioLine({ what, against, unit: "MiB", ...sizes }, { atMost: 1.15 })];
}

type Files = Map<string, number>;

/** Sizes in bytes of all regular files of an image, by path; hard links count once. */
async function filesOf(image: string): Promise<Files> {
  const made = await exec("docker", ["create", image, "/none"]);
  const container = String(made.stdout).trim();
  try {
    const { stdout } = await exec("sh", ["-c", `docker export ${container} | tar -tvf -`]);
    const files: Files = new Map();
    for (const line of String(stdout).split("\n")) {
      const match = /^-\S+\s+\S+\s+(\d+)\s+\S+\s+\S+\s+(?:\.\/)?(.*)$/.exec(line);
      if (match?.[1] && match[2]) files.set(match[2], Number(match[1]));
    }
    return files;
  } finally {
    await exec("docker", ["rm", container]);
  }
}

function sum(files: Files, wanted: (path: string) => boolean): number {
  let total = 0;
  for (const [path, size] of files) if (wanted(path)) total += size;
  return total;
}
