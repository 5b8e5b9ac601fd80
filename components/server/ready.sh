# Part of upgrade.sh: waits for a server.

await() { # await CONTAINER: until it is ready. Its reason on standard output if it does not get so
  docker exec "$1" node -e '
    const { HEALTH_PORT, PORT = 5555, MSB_HOME = "/var/lib/microsandbox" } = process.env;
    const [port, deadline] = [HEALTH_PORT || PORT, Date.now() + 300_000];
    // The port does not give the reasons; an older server does not answer this on its socket either.
    const reasonsOf = () => new Promise((resolve, reject) => {
      const asked = require("node:http").get(
        { socketPath: `${MSB_HOME}/gateway/admin.sock`, path: "/readyz" },
        (answer) => new Response(require("node:stream").Readable.toWeb(answer)).json().then(resolve, reject),
      );
      asked.once("error", reject).setTimeout(10_000, () => asked.destroy());
    });
    let bad = 0;
    (async function ask() {
      const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
      if (answer?.ok) process.exit(0);
      const told = await answer?.json().catch(() => undefined);
      const { checks = {} } = await reasonsOf().catch(() => told ?? {});
      const reasons = Object.values(checks).filter(({ ok }) => !ok).map(({ reason }) => reason);
      // The starter image takes its time; what msb or KVM say does not change.
      bad = checks.msb?.ok === false || checks.kvm?.ok === false ? bad + 1 : 0;
      if (bad > 5 || Date.now() > deadline) {
        console.log(reasons.join("; ") || "it does not answer");
        process.exit(1);
      }
      setTimeout(ask, 2_000);
    })()' </dev/null 2>/dev/null || return 1
}
