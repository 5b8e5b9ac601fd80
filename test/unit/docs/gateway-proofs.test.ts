import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

const root = join(__dirname, "../../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

/** A row by its first words, then the tests that prove what it says: each file with the beginning of a title in it. */
type Proofs = Record<string, [file: string, title: string][]>;

const OPERATIONS: Proofs = {
  "server stopped with": [
    ["resume", "what ran runs again with its id"],
    ["drains", "what is still being made, paused or resumed after half of the time for a stop"],
  ],
  overload: [["pressure", "without memory left: 503 for what makes or writes"]],
  "a client was killed": [["total-limits", "ends where its client has set no end"]],
  "msb's readiness probes": [
    ["msb-calls", "a boot that msb gave up on a busy host is tried three times in all"],
  ],
  "the server or msb is killed while a snapshot": [
    ["snapshots-crashes", "at any moment: what was answered is there, nothing else of it"],
  ],
  "the record of a snapshot": [["snapshots-crashes", "%s breaks no list, and is kept"]],
  "the gateway's process is killed while a sandbox is paused": [
    ["pauses", "the server is killed at any moment of pauses and resumes"],
  ],
  "msb lists a paused sandbox as running": [
    ["pause-state", "of what was paused, only what its microVM says ends that"],
  ],
  "the server or msb is killed while forks": [["forks", "at any moment: what was answered is there"]],
  "an upgrade brings another built-in image": [
    ["snapshots-disks", "a snapshot of the one of before can be restored"],
  ],
  "a record on the state volume": [["restart", "a record that can't be read is set aside"]],
  "state of a server that used clients' names": [
    ["upgrade", "sandboxes keep ids, names, labels and owners"],
    ["upgrade", "what ran runs, once more where the server was stopped"],
  ],
  "older server started on a newer state": [["resume", "keeps an older server from starting"]],
  "host lost power, or": [["half-state", "a server refuses the half %s"]],
  "host lost power in the test": [["half-state", "a server refuses what another one was tried on"]],
};

const SECURITY: Proofs = {
  "Requests and WebSockets without a key": [
    ["keys", "only its keys are taken, and a changed file counts within a second"],
  ],
  "Every route asks for a key": [
    ["closed", "every route by every method and spelling: refused"],
    ["closed", "what is told of the server: yes or no"],
  ],
  "A revoked or expired key": [["keys", "whatever is held ends with its key"]],
  "Every change, terminal and transfer": [
    ["access-log", "a session: who, where, how much, how long"],
    ["log-budget", "refused requests of one key fill no log"],
    ["upgrades", "an upgrade request behind others leaves no connection and no line"],
  ],
  "Neither one key nor clients": [
    ["key-connections", "one key leaves connections to others"],
    ["strangers", "strangers of many networks get a quarter of the connections"],
  ],
  "One key can't hold all places": [["under-way", "requests that wait are so many at most, half of them"]],
  "One key can't keep the server busy": [
    ["event-loop-share", "a key whose bodies took too long gets 429 for the next"],
    ["long-answers", "a key whose answers took too long gets 429 for the next"],
    ["frames-share", "the frames of one key's connections take half of the time"],
  ],
  "What a request about volumes": [
    ["volume-index", "a removal of a volume looks at the sandboxes that mount it, and at no others"],
    ["servers-volumes", "a create that mounts volumes asks each server once, however many it names"],
  ],
  "Everyone who asks": [["open-routes", "askers for readiness and versions share the looks"]],
  "A client that disconnects": [
    ["held", "clients that leave at any moment leave nothing behind"],
    ["agent-leaving", "ends with its client, however it leaves"],
  ],
  "Failed attempts": [["keys", "end in 429 with the seconds to wait; a valid key of the same address"]],
  "With `isolateByKey`": [
    ["ownership", "another key's volume: not to be seen, removed, read, written or mounted"],
    ["ownership", "a name is each key's own"],
  ],
  "With it, no key": [
    ["owners", "nothing starts from its snapshot, nor is one made of its sandbox"],
    ["backend-msb", "MsbBackend"],
  ],
  "The totals of a key": [
    ["total-limits", "sandboxes are counted whether they run or not"],
    ["volume-bytes", "a key writes into its volumes what it may, and all of that"],
    ["volume-bytes", "what a guest writes counts with the next measure"],
    ["volume-bytes", "on a router a key's volumes are counted on all servers together"],
    ["limit-settings", "what a key may have of them is an option"],
    ["snapshots-disks", "a key, and the server, have so many snapshots at most"],
  ],
  "Every field of every request": [
    ["schema-bounds", "of every route: body, query, headers and parameters"],
    ["bounds", "at a bound all of it reaches msb, above it nothing is made"],
  ],
  "Memory for requests": [
    ["body-memory", "bytes of bodies in flight are bounded for each key"],
    ["answer-memory", "answers that nobody reads are bounded for each key"],
    ["pipe-pieces", "what pipes hold is counted by what it takes in memory"],
    ["volumes-lists", "lists that nobody reads hold a part of their folder each"],
    ["record-memory", "a sandbox that does nothing takes the bytes of its spec"],
  ],
  "An image pull ends": [
    ["pull-disk", "a pull ends when the disk has no more than its reserve"],
    ["pull-disk", "what a pull has left that nobody waited for goes"],
  ],
  "An overloaded server": [["pressure", "without memory left: 503 for what makes or writes"]],
  "With TLS, nothing": [
    ["tls", "answers over TLS with the certificate of its file, and nothing over plain http"],
  ],
  "A web page in a browser": [
    ["browsers", "a name that DNS points here (rebinding) is refused"],
    ["closed", "a page in a browser, in dev mode"],
  ],
  "A request can't name a path": [
    ["create-request", "msb's own references to its environment are made harmless"],
  ],
  "Image pulls only reach": [["pull-proxy", "what a pull may reach"]],
  "An image that was pulled": [
    ["images", "runs for others only after they have shown that they may pull it"],
  ],
  "A guest can't reach": [["egress", "any policy: nothing opens that the server closes"]],
  "A sandbox restored": [
    ["restore-plan", "whatever a client asks for, and whatever is allowed: the rules are those of a create"],
    ["restore-plan", "a restore has no way to a registry"],
  ],
  "A warm sandbox": [
    ["warm-pool", "each is claimed once, however many ask at once"],
    ["warm-pool", "whatever is asked for, msb has made it of the same words"],
  ],
  "A fork has": [
    ["forks", "a source that was made when more was allowed is not forked"],
    ["backend-msb", "MsbBackend"],
  ],
  "No text of a client": [["snapshots", "disk snapshots"]],
  "A sandbox created under a wider": [
    ["egress", "does not start where it could reach more than is allowed now"],
    ["egress-records", "any row of requests, policies and restarts"],
  ],
};

/** The rows of a table that begins so. */
const rowsAfter = (page: string, head: string): string[] =>
  (read(page).split(head)[1] ?? "")
    .split("\n\n")[0]
    ?.split("\n")
    .filter((line) => line.startsWith("| ")) ?? [];

describe.each([
  ["docs/operations.md", "| fault | what the stack does | test |\n", OPERATIONS],
  ["docs/security.md", "| promise | test that enforces it |\n", SECURITY],
] as const)("the tests of the server that %s names", (page, head, proofs) => {
  const rows = rowsAfter(page, head);

  it("are in those files under the titles that prove the row", () => {
    for (const [words, named] of Object.entries(proofs)) {
      const own = rows.filter((row) => row.startsWith(`| ${words}`));
      expect(own, words).toHaveLength(1);
      for (const [file, title] of named) {
        expect(own[0], words).toContain(`unit/gateway/${file}`);
        expect(read(`test/unit/gateway/${file}.test.ts`), `${words}: ${file}`).toContain(`("${title}`);
      }
    }
  });

  it("are all of them", () => {
    for (const row of rows)
      for (const [, file] of row.matchAll(/unit\/gateway\/([\w-]+)/g)) {
        const [, named] = Object.entries(proofs).find(([words]) => row.startsWith(`| ${words}`)) ?? [];
        expect(
          named?.map(([each]) => each),
          `${row}: ${file}`,
        ).toContain(file);
      }
  });
});
