import type { FastifyRequest } from "fastify";
import * as z from "zod";
import packageFile from "../../../package.json";
import { invalidRequest, ServiceError } from "../../errors";
import type { KeyCheck } from "../../keys/key-check";
import { SharedRead } from "../../shared-read";
import { type BrowserGuardOptions, isOfBrowserPage } from "../browser-guard";
import { errorResponses } from "../schema/common";
import { type App, type Context, scopeFor, typed } from "./context";

const check = z.object({ ok: z.boolean(), reason: z.string().optional() });
const readiness = z.object({ ready: z.boolean(), checks: z.record(z.string(), check).optional() });
const versions = z.object({
  gateway: z.string(),
  msb: z.string().optional(),
  architecture: z.string().optional(),
  node: z.string().optional(),
});
const tags = ["operations"];

/** Milliseconds for which readiness is believed where somebody without a key asks, and where somebody with one does. */
const BELIEVED_MS = { strangers: 1_000, keys: 200 };
/** Milliseconds for which the runtime's version is believed: servers of a router are replaced one after the other. */
const VERSION_MS = 1_000;

export type Operations = {
  keys: Pick<KeyCheck, "recognize">;
  browsers: BrowserGuardOptions;
  /** Whether the server can serve, and what of it holds. */
  readiness: () => Promise<z.infer<typeof readiness>>;
  /** The version of what runs the sandboxes. */
  runtimeVersion: () => Promise<string>;
};

/**
 * The routes that ask for no key: liveness, readiness, the version, the description of the API. A stranger learns
 * yes or no, and the version of the API; the reasons and the other versions are for whoever has a key.
 */
export function openRoutes(
  plain: App,
  { keys, browsers, readiness: check, runtimeVersion }: Operations,
): void {
  const isKnown = (request: FastifyRequest) =>
    keys.recognize(request) !== undefined && !isOfBrowserPage(request, browsers);

  let last: z.infer<typeof readiness> = { ready: false };
  const shared = new SharedRead(async () => {
    last = await check();
  });
  /** All who ask together cost a few looks a second: a router asks all its servers. */
  const ready = async (whose: keyof typeof BELIEVED_MS) => {
    await shared.refresh(BELIEVED_MS[whose]);
    return whose === "keys" ? last : { ready: last.ready };
  };
  let msb = "";
  const sharedVersion = new SharedRead(async () => {
    msb = await runtimeVersion();
  });

  void plain.register(async (scope) => {
    const app = typed(scope);
    app.addHook("onRequest", async (request) => {
      if (request.ws) throw invalidRequest("no WebSocket is served here");
    });
    app.get(
      "/healthz",
      { schema: { tags, response: { 200: z.object({ status: z.string() }) } } },
      async () => ({ status: "ok" }),
    );
    app.get(
      "/readyz",
      { schema: { tags, response: { 200: readiness, 503: readiness } } },
      async (request, reply) => {
        const answer = await ready(isKnown(request) ? "keys" : "strangers");
        return reply.code(answer.ready ? 200 : 503).send(answer);
      },
    );
    app.get("/version", { schema: { tags, response: { 200: versions } } }, async (request) => {
      const gateway = packageFile.version;
      if (!isKnown(request)) return { gateway };
      const architecture = process.arch === "x64" ? "amd64" : process.arch;
      await sharedVersion.refresh(VERSION_MS);
      return { gateway, msb, architecture, node: process.version };
    });
    // It does not change once the server listens. As bytes, all answers share it, also those that nobody reads.
    let description: Buffer | undefined;
    app.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) => {
      description ??= Buffer.from(JSON.stringify(plain.swagger()));
      return reply.type("application/json; charset=utf-8").send(description);
    });
  });
}

const whole = z.int();
const quotas = z.looseObject({
  total_sandboxes: whole,
  max_sandboxes: whole,
  max_concurrent_sandboxes: whole,
  concurrent_ephemeral_running: whole,
  concurrent_persistent_running: whole,
  paused_sandboxes: whole,
  memory_mib_used: whole,
  max_memory_mib: whole,
  vcpus_used: whole,
  max_vcpus: whole,
  max_memory_mib_per_sandbox: whole,
  max_vcpus_per_sandbox: whole,
  max_disk_mib_per_sandbox: whole,
  max_requests_per_second: whole,
  max_connections: whole,
  total_volumes: whole,
  max_volumes: whole,
  volume_gib_used: whole,
  max_volume_gib: whole,
  total_snapshots: whole,
  max_snapshots: whole,
  snapshot_bytes_used: whole,
  max_image_gib: whole,
  max_upload_bytes: whole,
  max_uploads: whole,
  disk_reserve_mib: whole,
  max_body_bytes: whole,
  max_duration_seconds: whole,
  max_idle_seconds: whole,
  idle_pause_seconds: whole,
});

/** Limits and figures, with a key. Where a key has a limit of its own, the figures are those of the key. */
export function quotaRoutes(plain: App, context: Context): void {
  const app = typed(plain);
  const { config, metrics, backend } = context;
  app.get(
    "/v1/quotas",
    { schema: { tags, response: { 200: quotas, ...errorResponses } } },
    async (request) => {
      const { id, limits: own } = request.key ?? { id: "", limits: {} };
      const { owner } = scopeFor(context, request);
      const figures = [backend.limits(), backend.usage(owner), backend.usage(id)] as const;
      const [limits, seen, mine] = await Promise.all(figures);
      // A limit of the key is held against what the key has.
      const used = (ofKey?: number) => (ofKey === undefined ? seen : mine);
      const least = (limit: number, ofKey = limit) => Math.min(limit, ofKey);
      return {
        // The contract's required fields that a server of one's own has no meter for.
        ...{ hard_cap: true, pool_exhausted: false, is_suspended: false },
        ...{ vcpu_hours_used: 0, memory_gib_hours_used: 0 },
        total_sandboxes: used(own.totalSandboxes).total,
        max_sandboxes: least(limits.totalSandboxes, own.totalSandboxes),
        concurrent_ephemeral_running: used(own.sandboxes).ephemeralRunning,
        concurrent_persistent_running: used(own.sandboxes).running - used(own.sandboxes).ephemeralRunning,
        paused_sandboxes: used(own.sandboxes).paused,
        max_concurrent_sandboxes: least(limits.sandboxes, own.sandboxes),
        memory_mib_used: used(own.memoryMib).memoryMib,
        max_memory_mib: least(limits.memoryMib, own.memoryMib),
        vcpus_used: used(own.cpus).cpus,
        max_vcpus: least(limits.cpus, own.cpus),
        max_memory_mib_per_sandbox: limits.sandboxMemoryMib,
        max_vcpus_per_sandbox: limits.sandboxCpus,
        max_disk_mib_per_sandbox: limits.sandboxDiskMib,
        total_volumes: used(own.volumes).volumes,
        max_volumes: least(limits.volumes, own.volumes),
        volume_gib_used: Math.ceil(used(own.volumeGib).volumeGib),
        max_volume_gib: least(limits.volumeGib, own.volumeGib),
        total_snapshots: used(own.snapshots).snapshots,
        max_snapshots: least(limits.snapshots, own.snapshots),
        snapshot_bytes_used: used(own.snapshots).snapshotBytes,
        max_requests_per_second: own.requestsPerSecond ?? config.LIMIT_REQUESTS_PER_SECOND,
        max_connections: own.connections ?? config.LIMIT_CONNECTIONS,
        max_image_gib: Math.floor(limits.imageGib),
        max_upload_bytes: config.LIMIT_UPLOAD_BYTES,
        // Of all keys together.
        max_uploads: config.LIMIT_UPLOADS,
        disk_reserve_mib: config.LIMIT_DISK_RESERVE_MIB,
        max_body_bytes: config.LIMIT_BODY_BYTES,
        max_duration_seconds: config.LIMIT_MAX_DURATION_SECONDS,
        max_idle_seconds: config.LIMIT_IDLE_TIMEOUT_SECONDS,
        idle_pause_seconds: config.LIMIT_IDLE_PAUSE_SECONDS,
      };
    },
  );
  app.get("/metrics", { config: { longAnswer: true }, schema: { tags } }, async (request, reply) => {
    // They are of all keys together.
    if (config.OWN_SANDBOXES && !request.key?.operator)
      throw new ServiceError(
        "forbidden",
        "the metrics of the whole server need the key default, or a key that was made with --metrics",
      );
    return reply
      .type(metrics.registry.contentType)
      .send(await request.charged(() => metrics.registry.metrics()));
  });
}
