import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exec } from "../../setup/exec";

/** Runs the docker client on this machine's engine and returns its standard output. */
export async function docker(...args: string[]): Promise<string> {
  const { stdout } = await exec("docker", args, { stdin: "ignore" });
  return stdout;
}

/** Names of this machine's objects of one kind that bear the labels of a stack. */
export async function ownedBy(stack: string, kind: "container" | "network" | "volume"): Promise<string[]> {
  const label = `label=io.microsandbox.stack=${stack}`;
  const format = kind === "container" ? "{{.Names}}" : "{{.Name}}";
  const all = kind === "container" ? ["--all"] : [];
  const names = await docker(kind, "ls", ...all, "--filter", label, "--format", format);
  return names.split("\n").filter(Boolean).sort();
}

/** Whether this machine can start privileged containers; prints the reason where it can't. */
export async function canRunPrivileged(): Promise<boolean> {
  const probe = await exec("docker", ["run", "--rm", "--privileged", "debian:13.2-slim", "true"], {
    reject: false,
  });
  if (probe.exitCode === 0) return true;
  console.log(
    `Testing with privileged: false, since this machine can't start privileged containers: ${probe.stderr.split("\n")[0]}`,
  );
  return false;
}

/**
 * Makes an image of a shell and little more, from the server's image (which is on this machine once a stack was
 * deployed), and returns a folder that holds it as `image.tar`, made by `docker save`.
 */
export async function tinyImage(name: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "microsandbox-image-"));
  const root = join(folder, "root");
  for (const part of ["bin", "etc", "tmp"]) await mkdir(join(root, part), { recursive: true });
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  const server = (await docker("images", "--format", "{{.Repository}}:{{.Tag}}")).split("\n");
  // Other tests have images for another processor here.
  const own = process.arch === "arm64" ? "-arm64-" : "-amd64-";
  const from = server.find((reference) => reference.startsWith("microsandbox-") && reference.includes(own));
  const container = await docker("create", from ?? "no server image here", "true");
  await docker("cp", `${container}:/usr/bin/busybox`, join(root, "bin/busybox"));
  await docker("rm", container);
  for (const applet of ["sh", "cat", "echo"]) await symlink("busybox", join(root, "bin", applet));
  await exec("sh", ["-c", `tar -C ${root} -c . | docker import --change 'CMD ["/bin/sh"]' - ${name}`]);
  await docker("save", "--output", join(folder, "image.tar"), name);
  await docker("rmi", name);
  await rm(root, { recursive: true });
  return folder;
}
