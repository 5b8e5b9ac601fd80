import { join } from "node:path";
import { createBody, GatewayProcess } from "../../test/harness/gateway";
import { type Line, median, meets, words } from "./figures";
import type { Bundles } from "./setup";

const ROUNDS = 3;
/** Requests at once. */
const AT_ONCE = 4;
/** For all of it. A server that can be held for minutes is not waited for. */
const TIMEOUT_MS = 3 * 60_000;
/** Bytes of a body: the server's default. */
const BODY_BYTES = 2 * 1024 * 1024;
const GOAL = { atMost: 200 };

/** A part of a create that may have many items, or be long: the body's change for a size. */
const parts: Record<string, (size: number) => object> = {
  env: (size) => ({ env: items(size, (index) => ({ key: `K${index}`, value: "v" })) }),
  "one value": (size) => ({ env: [{ key: "K", value: "v".repeat(size) }] }),
  labels: (size) => ({ labels: Object.fromEntries(items(size, (index) => [`label-${index}`, "v"])) }),
  "long labels": (size) => ({
    labels: Object.fromEntries(items(size, (index) => [`label-${index}`, "v".repeat(200)])),
  }),
  rules: (size) => policy(items(size, (index) => rule(index, 1))),
  "ports and protocols of one rule": (size) => policy([rule(0, size)]),
  "ports and protocols of many rules": (size) => {
    const each = Math.ceil(Math.sqrt(size));
    return policy(items(each, (index) => rule(index, each)));
  },
  scripts: (size) => ({
    runtime: { scripts: Object.fromEntries(items(size, (index) => [`script-${index}`, "echo"])) },
  }),
  arguments: (size) => ({ runtime: { cmd: items(size, () => "a"), entrypoint: items(size, () => "a") } }),
  mounts: (size) => ({ mounts: items(size, (index) => ({ type: "tmpfs", guest: `/m/${index}` })) }),
  patches: (size) => ({
    patches: items(size, (index) => ({ type: "text", path: `/p/${index}`, content: "x" })),
  }),
  "one patch": (size) => ({ patches: [{ type: "text", path: "/p", content: "x".repeat(size) }] }),
  "bytes of a patch": (size) => ({ patches: [{ type: "file", path: "/p", content: items(size, () => 7) }] }),
  "unknown fields": (size) => Object.fromEntries(items(size, (index) => [`field-${index}`, index])),
};

const items = <T>(count: number, make: (index: number) => T): T[] =>
  Array.from({ length: Math.max(1, Math.floor(count)) }, (_, index) => make(index));
const rule = (index: number, size: number) => ({
  ...{
    direction: "egress",
    action: "allow",
    destination: { cidr: `10.${(index >> 8) & 255}.${index & 255}.0/24` },
  },
  protocols: items(size, (number) => ["tcp", "udp"][number % 2]),
  ports: items(size, (number) => ({ start: (2 * number) % 65_000, end: (2 * number) % 65_000 })),
});
const policy = (rules: object[]) => ({
  network: { enabled: true, policy: { default_egress: "deny", default_ingress: "allow", rules } },
});

/**
 * The longest time for which the event loop does nothing else, under a mix of the largest bodies: of each kind one that
 * fills the limit of bytes, and the largest one that is accepted; and lists of what came of them.
 */
export async function eventLoop(bundles: Bundles): Promise<Line[]> {
  const hook = join(__dirname, "programs/loop-delay.cjs");
  const gateway = await GatewayProcess.start({ script: bundles.gateway, nodeFlags: ["--require", hook] });
  const late = setTimeout(() => void gateway.program.kill(), TIMEOUT_MS);
  try {
    const bodies: object[] = [];
    for (const make of Object.values(parts)) bodies.push(...(await largest(gateway, make)));
    const longest: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      await held(gateway);
      await mix(gateway, bodies);
      longest.push(await held(gateway));
    }
    const most = Math.max(...longest);
    return [
      {
        what: `event loop held at the longest (CPU time), ${bodies.length} of the largest bodies, ${AT_ONCE} at once`,
        ...{ against: "", unit: "ms", ours: longest, theirs: [] },
        goal: `${words(GOAL)} ms`,
        result: `median ${median(longest).toFixed(0)} ms, at most ${most.toFixed(0)} ms`,
        met: meets(most, GOAL),
      },
    ];
  } catch (error) {
    const what = gateway.program.running
      ? String(error)
      : `they took the server ${TIMEOUT_MS / 1000} s, or ended it`;
    throw new Error(`the largest bodies: ${what}`);
  } finally {
    clearTimeout(late);
    await gateway.remove();
  }
}

let made = 0;
const bodyOf = (change: object) => createBody(`large-${made++}`, change as Record<string, unknown>);
const bytesOf = (change: object): number =>
  Buffer.byteLength(JSON.stringify(createBody("large-1000", change as never)));

/** What fills the body limit, and the largest that is accepted, by halves. */
async function largest(gateway: GatewayProcess, make: (size: number) => object): Promise<object[]> {
  const fits = largestSize((size) => bytesOf(make(size)) <= BODY_BYTES);
  let [accepted, refused] = [0, fits + 1];
  // To a sixteenth: a bound of the server's is found, not its last item.
  for (let size = fits; refused - accepted > Math.max(1, accepted / 16); size = (accepted + refused) >> 1)
    if (await isAccepted(gateway, make(size))) accepted = size;
    else refused = size;
  return [make(fits), ...(accepted > 0 && accepted < fits ? [make(accepted)] : [])];
}

/** The largest whole number for which it holds, to a hundredth. */
function largestSize(holds: (size: number) => boolean): number {
  let low = 1;
  while (holds(low * 2)) low *= 2;
  for (let high = low * 2; high - low > Math.max(1, low / 100); ) {
    const middle = (low + high) >> 1;
    if (holds(middle)) low = middle;
    else high = middle;
  }
  return low;
}

async function isAccepted(gateway: GatewayProcess, change: object): Promise<boolean> {
  const { status, body } = await gateway.request("POST", "/v1/sandboxes?start=false", bodyOf(change));
  if (status === 200) await gateway.request("DELETE", `/v1/sandboxes/${body.id}`);
  return status === 200;
}

/** All bodies, some at once; lists of what was made of them; and their removal. */
async function mix(gateway: GatewayProcess, bodies: object[]): Promise<void> {
  const ids: string[] = [];
  const waiting = bodies.map((change) => async () => {
    const { status, body } = await gateway.request("POST", "/v1/sandboxes?start=false", bodyOf(change));
    if (status >= 500) throw new Error(`a large body was answered with ${status}`);
    if (status === 200) ids.push(body.id);
  });
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await next();
  };
  await Promise.all(items(AT_ONCE, worker));
  for (let time = 0; time < AT_ONCE; time++) await gateway.request("GET", "/v1/sandboxes?limit=500");
  for (const id of ids) {
    await gateway.request("GET", `/v1/sandboxes/${id}`);
    await gateway.request("DELETE", `/v1/sandboxes/${id}`);
  }
}

/** Milliseconds for which the event loop was held at the longest since it was asked before. */
function held(gateway: GatewayProcess): Promise<number> {
  const { child } = gateway.program;
  return new Promise((resolve, reject) => {
    child.once("message", (said) => resolve((said as { longest: number }).longest));
    child.send("tell", (error) => error && reject(error));
  });
}
