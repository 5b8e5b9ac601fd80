import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { type Backend, noUsage } from "../sandboxes/backend";
import { SharedRead } from "../shared-read";

/** The server's figures for Prometheus. One registry per server, so that tests may have several. */
export class Metrics {
  readonly registry = new Registry();
  readonly requests = new Histogram({
    name: "msb_gateway_request_seconds",
    help: "Requests by route and status (or aborted, revoked; 101 for WebSockets), with their duration",
    labelNames: ["method", "route", "status"],
    buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 30, 95],
    registers: [this.registry],
  });
  readonly boots = new Histogram({
    name: "msb_gateway_boot_seconds",
    help: "Duration of microVM boots",
    labelNames: ["result"],
    buckets: [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 40, 80],
    registers: [this.registry],
  });
  readonly claims = new Histogram({
    name: "msb_gateway_warm_claim_seconds",
    help:
      "Creates while sandboxes are kept booted: hit, or why none was taken (image, spec: none is kept of that kind; " +
      "empty: none was ready; failed), with the time that this took",
    labelNames: ["result"],
    buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10],
    registers: [this.registry],
  });
  readonly refusedKeys = new Counter({
    name: "msb_gateway_refused_keys_total",
    help: "Requests without a valid key, by what was wrong with it",
    labelNames: ["why"],
    registers: [this.registry],
  });
  readonly pipeBytes = new Counter({
    name: "msb_gateway_pipe_bytes_total",
    help: "Bytes that went through agent pipes",
    labelNames: ["direction"],
    registers: [this.registry],
  });
  readonly requestBytes = new Counter({
    name: "msb_gateway_request_bytes_total",
    help: "Bytes of requests and their answers on the wire, by route, sessions and transfers included",
    labelNames: ["route", "direction"],
    registers: [this.registry],
  });
  readonly requestsOpen = new Gauge({
    name: "msb_gateway_requests_open",
    help: "Requests that have arrived and are not over, WebSockets included",
    registers: [this.registry],
  });
  readonly droppedConnections = new Counter({
    name: "msb_gateway_dropped_connections_total",
    help: "Connections that were closed, as there were too many",
    registers: [this.registry],
  });
  readonly linesLeftOut = new Counter({
    name: "msb_gateway_log_lines_left_out_total",
    help: "Requests that got no log line of their own, as there were too many without a key or of one key",
    registers: [this.registry],
  });
  readonly unhandledRejections = new Counter({
    name: "msb_gateway_unhandled_rejections_total",
    help: "Failures that nothing in the server had foreseen",
    registers: [this.registry],
  });

  constructor() {
    collectDefaultMetrics({ register: this.registry });
  }

  /** Adds what agent pipes hold. */
  watchPipes(memory: { bytes: number }, open: () => number): void {
    this.gauge("msb_gateway_pipes_open", "Connections to sandboxes that are open", open);
    this.gauge("msb_gateway_pipe_buffer_bytes", "Bytes that pipes hold", () => memory.bytes);
  }

  /** Adds when the certificate ends. */
  watchCertificate(endsAt: () => number): void {
    const help = "End of the server's certificate, in seconds since 1970; 0 where there is none";
    this.gauge("msb_gateway_certificate_end_seconds", help, endsAt);
  }

  /** Adds when the certificate ends that servers and routers show each other. */
  watchPeerCertificate(endsAt: () => number): void {
    const help = "End of the certificate for other servers and routers, in seconds since 1970";
    this.gauge("msb_gateway_peer_certificate_end_seconds", help, endsAt);
  }

  /** Adds what the bodies of requests take, and their answers. */
  watchBytes({ bodies, answers }: { bodies: () => number; answers: () => number }): void {
    this.gauge("msb_gateway_body_bytes", "Bytes of bodies whose requests are not over", bodies);
    this.gauge("msb_gateway_answer_bytes", "Bytes of answers that their clients have not read", answers);
  }

  /** Adds what keys hold open: connections that count against limits, and what a revocation would end. */
  watchHeld(connections: () => number, held: () => number): void {
    this.gauge("msb_gateway_connections_held", "Pipes, log streams and transfers that are open", connections);
    this.gauge("msb_gateway_key_holds", "What ends when its key is no more", held);
  }

  /** Adds what is booted and nobody's. */
  watchWarm(count: () => number): void {
    this.gauge("msb_gateway_warm_sandboxes", "Sandboxes that are booted before anybody asks for them", count);
  }

  /** Adds what the runtime's program is doing, and what waits for its turn. */
  watchCommands(counts: () => { lane: string; running: number; waiting: number }[]): void {
    new Gauge({
      name: "msb_gateway_commands",
      help: "Commands of the runtime that run, and that wait for their turn",
      labelNames: ["lane", "state"],
      registers: [this.registry],
      collect() {
        for (const { lane, running, waiting } of counts()) {
          this.set({ lane, state: "running" }, running);
          this.set({ lane, state: "waiting" }, waiting);
        }
      },
    });
  }

  private gauge(name: string, help: string, value: () => number | Promise<number>): void {
    new Gauge({
      ...{ name, help, registers: [this.registry] },
      async collect() {
        this.set(await value());
      },
    });
  }

  /** Adds the figures that are counted when asked for. */
  watch(backend: Pick<Backend, "usage" | "statuses" | "limits">): void {
    let last = noUsage();
    const read = new SharedRead(async () => {
      last = await backend.usage();
    });
    // All gauges of one scrape ask at once.
    const usage = () => read.refresh(0).then(() => last);
    new Gauge({
      name: "msb_gateway_sandboxes",
      help: "Known sandboxes by status",
      labelNames: ["status"],
      registers: [this.registry],
      async collect() {
        for (const [status, count] of Object.entries(await backend.statuses())) this.set({ status }, count);
      },
    });
    const paused = async () => (await usage()).paused;
    this.gauge("msb_gateway_sandboxes_paused", "Sandboxes that are paused, of those that run", paused);
    this.gauge("msb_gateway_snapshots", "Snapshots of disks", async () => (await usage()).snapshots);
    const bytes = async () => (await usage()).snapshotBytes;
    this.gauge("msb_gateway_snapshot_bytes", "What snapshots take on the disk", bytes);
    new Gauge({
      name: "msb_gateway_promised",
      help: "What running guests were promised, and the limit",
      labelNames: ["resource", "kind"],
      registers: [this.registry],
      async collect() {
        const { running, memoryMib, cpus } = await usage();
        const limits = await backend.limits();
        for (const [resource, used, limit] of [
          ["sandboxes", running, limits.sandboxes],
          ["memoryMib", memoryMib, limits.memoryMib],
          ["cpus", cpus, limits.cpus],
        ] as const) {
          this.set({ resource, kind: "used" }, used);
          this.set({ resource, kind: "limit" }, limit);
        }
      },
    });
  }
}
