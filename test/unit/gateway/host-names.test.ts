import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { agentSocketPath } from "../../../docker/gateway/src/backends/msb/agent-socket";
import { setHostName } from "../../../docker/gateway/src/backends/msb/host-name";
import { createBody } from "../../../docker/gateway/src/http/schema/sandbox";
import { newBody, temporaryFolder, until } from "./harness";
import { WarmGuests } from "./warm-guests";

test("a guest gets the name as it is, whatever it consists of", async () => {
  const home = temporaryFolder();
  const guests = new WarmGuests(home);
  mkdirSync(join(home, "fake", "sandboxes"), { recursive: true });
  writeFileSync(join(home, "fake", "sandboxes", "warm-1.status"), "Running\n");
  const files = () => guests.files.get("warm-1");
  await until(() => existsSync(agentSocketPath(home, "warm-1")), "the guest");
  const guest = { home, handle: "warm-1" };
  const name = fc.oneof(
    fc.constantFrom("$&", "$`", "$$", "$1", "a.b"),
    fc.stringMatching(/^[$&`'a-z]{1,8}$/),
  );
  await fc.assert(
    fc.asyncProperty(name, async (given) => {
      files()?.set("/etc/hosts", "127.0.0.1 localhost sandbox\n");
      await setHostName(guest, "sandbox", given, AbortSignal.timeout(5_000));
      expect(guests.namesOf("warm-1")).toEqual([given, given]);
    }),
    { numRuns: 25 },
  );
}, 60_000);

test("a host name of a create is one word that /etc/hosts can hold, or is refused", () => {
  const isTaken = (hostname: unknown) =>
    createBody.safeParse(newBody("box", { runtime: { hostname } })).success;
  for (const good of ["a", "box-1", "box_1", "a.example", "0", "a".repeat(253), null, undefined])
    expect([good, isTaken(good)]).toEqual([good, true]);
  const part = fc.stringMatching(/^[a-z0-9]{1,5}$/);
  const odd = fc.constantFrom("\n", " ", "\t", "#", "$&", "/", "\u00e9", "\r\n127.0.0.1 ", "\0");
  fc.assert(
    fc.property(part, odd, part, (before, between, after) => {
      for (const given of [before + between + after, before + between, between + after])
        expect([given, isTaken(given)]).toEqual([given, false]);
    }),
  );
  for (const edge of ["-a", "a-", ".a", "a.", "a".repeat(254)])
    expect([edge, isTaken(edge)]).toEqual([edge, false]);
});
