import { createSocket } from "node:dgram";
import { once, setMaxListeners } from "node:events";
import { expect, test } from "vitest";
import {
  addressesIn,
  RegistryNames,
  resolveName,
} from "../../../docker/gateway/src/backends/msb/registry-names";
import { atFileEnd } from "../../harness/file-end";

/** A name server that never answers for names under slow.test, and has one address for each other name. */
async function nameServer(): Promise<string[]> {
  const socket = createSocket("udp4");
  socket.on("message", (asked, { port, address }) => {
    let end = 12;
    const labels: string[] = [];
    for (let length = asked[end] ?? 0; length > 0; length = asked[end] ?? 0) {
      labels.push(asked.toString("latin1", end + 1, end + 1 + length));
      end += length + 1;
    }
    if (labels.slice(-2).join(".") === "slow.test") return;
    const isAddress = asked.readUInt16BE(end + 1) === 1;
    const head = Buffer.from(asked.subarray(0, 12));
    head.writeUInt16BE(0x8180, 2);
    for (const [at, count] of [
      [6, isAddress ? 1 : 0],
      [8, 0],
      [10, 0],
    ] as const)
      head.writeUInt16BE(count, at);
    const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 8, 8, 8, 8];
    const answer = [head, asked.subarray(12, end + 5), Buffer.from(isAddress ? record : [])];
    socket.send(Buffer.concat(answer), port, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  atFileEnd(() => socket.close());
  return [`127.0.0.1:${socket.address().port}`];
}

function question(isNamed: boolean, ended = new AbortController()) {
  setMaxListeners(0, ended.signal);
  return { isNamed, owner: Symbol("pull"), signal: ended.signal };
}

test("names whose name server does not answer delay nobody else's", async () => {
  const servers = await nameServer();
  const names = new RegistryNames({ resolve: (host, signal) => resolveName(host, signal, servers) });
  const ended = new AbortController();
  const one = question(false, ended);
  let answered = 0;
  const slow = Array.from({ length: 200 }, (_each, n) =>
    names.addressesOf(`${n}.slow.test`, one).finally(() => answered++),
  );
  for (let n = 0; n < 5; n++)
    expect(await names.addressesOf(`${n}.fast.test`, question(false))).toEqual(["8.8.8.8"]);
  expect(answered).toBe(0);
  // The end of a pull ends its questions.
  ended.abort(new Error("over"));
  for (const { status } of await Promise.allSettled(slow)) expect(status).toBe("rejected");
});

test.each([true, false])("no owner has all places, named by the settings: %s", async (isNamed) => {
  const running = new Map<string, () => void>();
  const ask = (host: string) =>
    new Promise<string[]>((resolve) => running.set(host, () => resolve(["8.8.8.8"])));
  const names = new RegistryNames({ lookup: ask, resolve: ask });
  const one = question(isNamed);
  const all = Array.from({ length: 200 }, (_each, n) => names.addressesOf(`${n}.test`, one));
  const other = names.addressesOf("other.test", question(isNamed));
  await expect.poll(() => running.has("other.test")).toBe(true);
  expect(running.size).toBeLessThan(64);
  running.get("other.test")?.();
  expect(await other).toEqual(["8.8.8.8"]);
  const serving = setInterval(() => {
    for (const answer of running.values()) answer();
  }, 1);
  expect(await Promise.all(all)).toHaveLength(200);
  clearInterval(serving);
});

test("what has no address is not asked for again at once, what has one is", async () => {
  const asked: string[] = [];
  const lookup = async (host: string) => {
    asked.push(host);
    if (host === "failing.test") throw new Error("ENOTFOUND");
    return host === "empty.test" ? [] : ["8.8.8.8"];
  };
  const names = new RegistryNames({ lookup, resolve: lookup });
  for (const host of ["failing.test", "empty.test", "good.test", "failing.test", "empty.test", "good.test"])
    expect(await names.addressesOf(host, question(asked.length % 2 === 0))).toHaveLength(
      host === "good.test" ? 1 : 0,
    );
  expect(asked).toEqual(["failing.test", "empty.test", "good.test", "good.test"]);
});

test("the file of hosts comes first, in any case and with comments", async () => {
  const hosts =
    "# 1.1.1.1 none\n127.0.0.1 localhost\n\t10.0.0.1  Registry.Test other # third\n::5 registry.test\n";
  expect(addressesIn(hosts, "registry.TEST")).toEqual(["10.0.0.1", "::5"]);
  for (const name of ["third", "none", "10.0.0.1", ""]) expect(addressesIn(hosts, name), name).toEqual([]);
  const found = await resolveName("localhost", new AbortController().signal, await nameServer());
  expect(found).not.toContain("8.8.8.8");
});
