import { expect, test } from "vitest";
import { ServiceError } from "../../../docker/gateway/src/errors";
import type { Sandbox } from "../../../docker/gateway/src/sandboxes/backend";
import { SandboxService } from "../../../docker/gateway/src/sandboxes/service";
import type { SandboxSpec } from "../../../docker/gateway/src/sandboxes/spec";
import { freePort } from "../../harness/stack";
import { refused } from "./backend-contract/world";
import { hangingBackend } from "./hanging-backend";
import { TestGateway, until } from "./harness";

test("a router that is stopped tells its clients what has become of their creates", async () => {
  const port = await freePort();
  const server = await TestGateway.start({ SERVER_NUMBER: "0", BACKEND_PORT: `${port}` });
  const SERVERS = JSON.stringify([{ number: 0, url: `http://127.0.0.1:${port}` }]);
  // As long as a busy machine may take for all of them: beyond it connections are closed unanswered.
  const router = await TestGateway.start({ SERVERS, STOP_TIMEOUT_SECONDS: "50" });
  const creates = Array.from({ length: 20 }, (_, at) =>
    router.create(`box-${at}`).then(
      ({ status }) => status,
      // Its connection was closed before it was served.
      () => 0,
    ),
  );
  const listed = async () => (await server.get("/v1/sandboxes?limit=100")).body.data;
  await until(async () => (await listed()).length > 0, "the first to be made");
  await router.gateway.stop();
  const statuses = await Promise.all(creates);
  const made = statuses.filter((status) => status === 200).length;
  expect(made).toBeGreaterThan(0);
  expect(await listed()).toHaveLength(made);
});

test("of a sandbox whose client hears of a failure nothing stays", async () => {
  const made = { id: "00000000-0000-4000-8000-000000000001", settled: false } as Sandbox;
  const lost = new ServiceError("unavailable", "server 2 does not answer");
  const { backend, asked } = hangingBackend({
    "sandboxes.create": async () => made,
    "sandboxes.until": async () => Promise.reject(lost),
    "sandboxes.want": async () => made,
  });
  const wanted = { spec: {} as SandboxSpec, slug: "a", owner: null };
  const clientGone = new AbortController().signal;
  const creating = new SandboxService(backend.sandboxes).create({
    ...wanted,
    ...{ start: true, waitMs: 1_000, clientGone },
  });
  expect(await refused(creating, "unavailable")).toBe(lost);
  expect(asked.at(-1)).toEqual({ name: "sandboxes.want", args: [made.id, "removed"] });
});
