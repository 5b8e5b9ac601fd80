import { beforeAll, describe, expect, test } from "vitest";
import { FakeMsb } from "../../harness/faults";
import { fakeAgent, TestGateway } from "./harness";

let gateway: TestGateway;
let msb: FakeMsb;
beforeAll(async () => {
  gateway = await TestGateway.start();
  msb = new FakeMsb(gateway.home);
});

/** msb's own name of a sandbox: its id, or (as it used to be) its name. */
const nameOf = ({ id, name }: { id: string; name: string }): string => (msb.sandboxes().has(id) ? id : name);

/** A sandbox that runs, with an agent that listens: then its microVM ends by itself. */
async function died(name: string, how: "Crashed" | "Stopped", before?: "pause") {
  const { body } = await gateway.create(name);
  const agent = await fakeAgent(gateway.home, nameOf(body), () => undefined);
  expect((await gateway.get(`/v1/sandboxes/${body.id}`)).body.status).toBe("running");
  if (before) expect((await gateway.post(`/v1/sandboxes/${body.id}/${before}`)).body.paused).toBe(true);
  expect(msb.die(nameOf(body), how)).toBe(true);
  await new Promise((resolve) => agent.close(resolve));
  return body;
}

describe.each([
  ["Crashed", "failed"],
  ["Stopped", "stopped"],
] as const)("right after a microVM has ended by itself (%s)", (how, status) => {
  test("POST start starts it", async () => {
    const { id, name } = await died(`start-${status}`, how);
    const answer = await gateway.post(`/v1/sandboxes/${id}/start?wait_for=running`);
    expect([answer.status, answer.body.status]).toEqual([200, "running"]);
    expect(msb.sandboxes().get(nameOf({ id, name }))).toBe("Running");
  });

  test("POST start starts one that was paused", async () => {
    const { id, name } = await died(`paused-${status}`, how, "pause");
    const answer = await gateway.post(`/v1/sandboxes/${id}/start?wait_for=running`);
    expect([answer.status, answer.body]).toMatchObject([200, { status: "running", paused: false }]);
    expect(msb.sandboxes().get(nameOf({ id, name }))).toBe("Running");
  });

  test("POST start without waiting starts it, too", async () => {
    const { id, name } = await died(`soon-${status}`, how);
    const { status: code } = await gateway.post(`/v1/sandboxes/${id}/start`);
    expect(code).toBe(200);
    await expect.poll(() => msb.sandboxes().get(nameOf({ id, name }))).toBe("Running");
  });
});
