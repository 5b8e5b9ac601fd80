/**
 * node forward.mjs ADDRESS PORT NAMESPACE TARGET...: listens here and connects inside a network namespace.
 *
 * A socket stays in the namespace that it was opened in, whoever has it: so the first process listens, and gives the socket
 * to a second one that lives inside. Each connection goes to the first target (HOST:PORT) that takes it. The two end together.
 * It prints "listening" once connections are taken.
 */
import { spawn } from "node:child_process";
import { connect, createServer } from "node:net";
import { fileURLToPath } from "node:url";

const [address, port, namespace, ...targets] = process.argv.slice(2);

if (process.send) {
  process.once("disconnect", () => process.exit());
  // The other one may have ended while this one started.
  if (!process.connected) process.exit();
  createServer((client) => pipe(client, targets)).listen({ fd: 3 }, () => console.log("listening"));
} else {
  const server = createServer().listen(Number(port), address, () => {
    const words = [
      `--net=${namespace}`,
      process.execPath,
      fileURLToPath(import.meta.url),
      ...process.argv.slice(2),
    ];
    const inside = spawn("nsenter", words, {
      stdio: ["ignore", "inherit", "inherit", server._handle.fd, "ipc"],
    });
    inside.once("exit", (code) => process.exit(code ?? 1));
    // At once: a connection that this process took would have nobody.
    server.close();
  });
  server.once("error", ({ code, message }) => {
    console.error(
      code === "EADDRINUSE"
        ? `port ${port} of ${address} is taken. To see by what: ss -ltnp 'sport = :${port}'`
        : message,
    );
    process.exit(1);
  });
}

/** Joins a connection with the first target that takes one. */
function pipe(client, [target, ...others]) {
  if (target === undefined) return client.destroy();
  const [host, port] = target.split(":");
  const server = connect({ host, port: Number(port), allowHalfOpen: true });
  const next = () => pipe(client, others);
  server.setTimeout(5000, () => server.destroy(new Error("no answer")));
  server.once("error", next);
  server.once("connect", () => {
    server.setTimeout(0);
    server.off("error", next);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ])
      one.on("error", () => other.destroy()).pipe(other);
    client.on("close", () => server.destroy());
    server.on("close", () => client.destroy());
  });
}
