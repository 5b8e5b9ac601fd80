import { GatewayProcess } from "../../test/harness/gateway";
import { freePort } from "../../test/harness/stack";
import { alternate, inTurn, type Line, median, meets, quantile, ratioLine, words } from "./figures";
import { roundTrips } from "./latency";
import { requestsPerSecond } from "./list";
import { filled } from "./scale";
import { type Bundles, startRig } from "./setup";
import { download, rate, upload } from "./throughput";
import { gatewayDial } from "./wire";

const ROUNDS = 5;
const CREATES = 10;
const LATENCY = { atMost: 0.5 };
const SERVERS = 10;
const KNOWN = 1_000;
const PATH = "/v1/sandboxes?limit=100";
const MEMORY_MIB = { atMost: 200 };

/** A router before one server, against the server itself. */
export async function router(bundles: Bundles): Promise<Line[]> {
  const port = await freePort();
  const rig = await startRig(bundles, 1, { SERVER_NUMBER: "0", BACKEND_PORT: String(port) });
  const through = await startRouter(bundles, [port]);
  const against = "the server itself";
  try {
    const [sandbox] = rig.sandboxes;
    if (!sandbox) throw new Error("the rig has no sandbox");
    const dials = [through.port, rig.gateway.port].map((each) => gatewayDial(each, sandbox.id));
    const [ours, theirs] = dials as [ReturnType<typeof gatewayDial>, ReturnType<typeof gatewayDial>];
    const lines: Line[] = [];
    for (const [direction, measure] of [
      ["from the sandbox", download],
      ["to the sandbox", upload],
    ] as const) {
      const both = await alternate(
        ROUNDS,
        () => rate(ours, 1, measure),
        () => rate(theirs, 1, measure),
      );
      const what = `router: pipe, ${direction}`;
      lines.push(ratioLine({ what, against, unit: "MiB/s", ...both }, { atLeast: 0.8 }));
    }
    const wires = await Promise.all(dials.map(roundTrips));
    const times = await inTurn(
      ROUNDS,
      wires.map((wire) => async () => quantile(await wire.run(), 0.5)),
    );
    for (const wire of wires) wire.close();
    const [mine = [], other = []] = times;
    const added = median(mine) - median(other);
    lines.push({
      ...{ what: "router: round trip of 64 bytes, p50", against, unit: "ms", ours: mine, theirs: other },
      ...{ goal: `added ${words(LATENCY)} ms`, result: `added ${added.toFixed(3)} ms` },
      met: meets(added, LATENCY),
    });
    const creates = await alternate(
      ROUNDS,
      () => createMs(through),
      () => createMs(rig.gateway),
    );
    lines.push(
      ratioLine({ what: "router: create and start", against, unit: "ms", ...creates }, { atMost: 1.1 }),
    );
    return lines;
  } finally {
    await Promise.all([through.remove(), rig.stop()]);
  }
}

/** A page of a list over ten servers, against one of them; and what the router holds then. */
export async function routerList(bundles: Bundles): Promise<Line[]> {
  const servers = await Promise.all(
    Array.from({ length: SERVERS }, async (_, number) => {
      const port = await freePort();
      const env = { SERVER_NUMBER: String(number), BACKEND_PORT: String(port) };
      return { port, ...(await filled(bundles, KNOWN, env)) };
    }),
  );
  const through = await startRouter(
    bundles,
    servers.map(({ port }) => port),
  );
  const [first] = servers;
  try {
    if (!first) throw new Error("there is no server");
    const { status, body } = await through.request("GET", PATH);
    if (status !== 200 || body.data.length !== 100 || !body.next_cursor)
      throw new Error(`the list is not what it should be: ${status}, ${body.data?.length} sandboxes`);
    const rates = await alternate(
      ROUNDS,
      () => requestsPerSecond(through.port, PATH),
      () => requestsPerSecond(first.gateway.port, PATH),
    );
    const all = `${SERVERS} servers of ${KNOWN.toLocaleString("en")}`;
    const held = through.program.memoryMib();
    return [
      ratioLine(
        { what: `router: a page of ${all}`, against: "one of them", unit: "/s", ...rates },
        { atLeast: 0.5 },
      ),
      {
        ...{ what: `router: memory with ${all}`, against: "", unit: "MiB", ours: [held], theirs: [] },
        ...{ goal: `${words(MEMORY_MIB)} MiB`, result: `${held.toFixed(0)} MiB` },
        met: meets(held, MEMORY_MIB),
      },
    ];
  } finally {
    await Promise.all([through.remove(), ...servers.map(({ gateway }) => gateway.remove())]);
  }
}

function startRouter({ gateway }: Bundles, ports: number[]): Promise<GatewayProcess> {
  const servers = ports.map((port, number) => ({ number, url: `http://127.0.0.1:${port}` }));
  return GatewayProcess.start({ script: gateway, env: { SERVERS: JSON.stringify(servers) } });
}

let count = 0;

/** Milliseconds of a create that waits until the sandbox runs, the mean of some; each is removed again. */
async function createMs(gateway: GatewayProcess): Promise<number> {
  let sum = 0;
  for (let made = 0; made < CREATES; made++) {
    const began = performance.now();
    const { id } = await gateway.create(`create-${count++}`);
    sum += performance.now() - began;
    await gateway.request("DELETE", `/v1/sandboxes/${id}`);
  }
  return sum / CREATES;
}
