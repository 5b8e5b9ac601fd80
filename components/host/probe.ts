import { shellQuote } from "../settings/shell";
import { VisibleError } from "../settings/visible-error";
import { type Connection, hostShell, keyFlags, type SshConnection } from "./connection";

const failed = "unreachable:";

/**
 * A command line that runs the script on its standard input on the host and always succeeds: if ssh itself fails, its error
 * message is the output, and `probed` explains it.
 *
 * @param flags flags of ssh for this run alone
 */
export function probeCommand(connection: Connection, flags: string[] = []): string {
  if (connection.kind === "local") return hostShell(connection);
  // Keeps ssh's messages apart from output of the login shell, which would break the Docker client.
  return (
    `err=$(mktemp) && { if out=$(${hostShell(connection, flags)} 2>"$err"); then printf '%s\\n' "$out"; ` +
    `else printf '${failed} %s\\n' "$(cat "$err")"; fi; rm -f "$err"; }`
  );
}

/**
 * The script's output.
 *
 * @throws VisibleError where the host could not be reached, with what ssh said, what it means and what to type
 */
export function probed(connection: Connection, stdout: string): string {
  const failure = connection.kind === "ssh" ? sshFailure(connection, stdout) : undefined;
  if (connection.kind === "local" || !failure) return stdout;
  const { said, cause, remedy } = failure;
  throw new VisibleError(
    `The host ${connection.user}@${connection.address}${connection.port ? `:${connection.port}` : ""} can't be used: ${cause}.\n` +
      `  ssh said: ${said.split("\n").pop()}\n  fix: ${remedy}`,
  );
}

/** Why ssh failed. */
export interface SshFailure {
  /** What ssh said. */
  said: string;
  /** What that means: the rest of a sentence. */
  cause: string;
  /** What to type. */
  remedy: string;
  /** Whether a machine that is just starting can fail in this way. */
  mayPass?: boolean;
}

/** Why ssh failed, from a probe's output; undefined where it did not. */
export function sshFailure(connection: SshConnection, stdout: string): SshFailure | undefined {
  if (!stdout.startsWith(failed)) return undefined;
  const said = stdout.slice(failed.length).trim();
  return { said, ...explain(connection, said) };
}

function explain(to: SshConnection, said: string): Omit<SshFailure, "said"> {
  const target = `${to.user}@${to.address}`;
  const port = to.port ? ` -p ${to.port}` : "";
  // With the keys of the settings: without them the line may work although a deployment does not.
  const byHand = ["ssh", ...keyFlags(to)].map(shellQuote).join(" ") + port;
  if (/bad configuration option: knownhostscommand/i.test(said)) {
    return {
      cause: "this machine's ssh is too old for sshHostKey, which needs OpenSSH 8.5",
      remedy:
        "pulumi config rm microsandbox:sshHostKey   (and the key in ~/.ssh/known_hosts, or sshKnownHostsFile)",
    };
  }
  if (to.hostKey && /host key|REMOTE HOST IDENTIFICATION/i.test(said)) {
    return {
      cause: "its host key is not the one in sshHostKey",
      remedy:
        "set sshHostKey to the host's own key, if that is the right host: cat /etc/ssh/ssh_host_ed25519_key.pub there",
    };
  }
  if (/host key|REMOTE HOST IDENTIFICATION/i.test(said)) {
    return {
      cause: "its host key is unknown or has changed",
      remedy: `compare the key with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub there), then: ${byHand} ${target}`,
    };
  }
  if (/permission denied \(|too many authentication failures/i.test(said)) {
    return {
      mayPass: true,
      cause: "it rejects the SSH key",
      remedy: `ssh-copy-id${port} ${target}   (another key: pulumi config set microsandbox:sshKeyFile PATH)`,
    };
  }
  if (/session open refused|session request failed|kex_exchange_identification|MaxStartups/i.test(said)) {
    return {
      mayPass: true,
      cause: "its SSH server accepts too few sessions or connections at once",
      remedy:
        "on the host, in /etc/ssh/sshd_config: MaxSessions 10 and MaxStartups 10:30:100, then: sudo systemctl reload ssh",
    };
  }
  if (/could not resolve|no route|timed out|refused|unreachable|closed/i.test(said)) {
    return {
      mayPass: true,
      cause: "its SSH server can't be reached",
      remedy: `check the address and that sshd runs there, then try: ${byHand} ${target} true`,
    };
  }
  const folder = /^(\S+) is not a folder of this user's$/m.exec(said)?.[1];
  if (folder) {
    return {
      cause: "the folder for its connections belongs to another user",
      remedy: `sudo rm -rf ${folder}`,
    };
  }
  return { cause: "ssh failed", remedy: `${byHand} ${target} true` };
}
