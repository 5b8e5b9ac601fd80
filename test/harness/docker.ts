import { exec } from "../../toolchain/exec";

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
