import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";
import { allocate } from "./allocate";
import {
  API_VERSION,
  type DevicePluginService,
  devicePluginService,
  type Options,
  type RegisterRequest,
  registrationService,
} from "./api";
import { kubeletPath, newSocketName } from "./folder";
import { Watchers } from "./watchers";

/** Neither is there: an Allocate is all that a container needs. */
const OPTIONS: Options = { pre_start_required: false, get_preferred_allocation_available: false };

/** Far above a request for all devices that a node may have. */
const MOST_REQUEST_BYTES = 1024 * 1024;
const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": MOST_REQUEST_BYTES,
  "grpc.max_concurrent_streams": 64,
  // Without grpc.enable_channelz, which is on by default, forceShutdown() of 1.14.7 leaves connections open.
};
const CLIENT_OPTIONS = {
  "grpc.default_authority": "localhost",
  "grpc.enable_channelz": 0,
  "grpc.enable_http_proxy": 0,
  "grpc.enable_retries": 0,
  // Else an attempt would wait with the connection that failed in the one before.
  "grpc.use_local_subchannel_pool": 1,
};

export type SessionOptions = {
  folder: string;
  resource: string;
  ids: readonly string[];
  /** Why the device can't be had now; undefined if it can. */
  unusable: () => string | undefined;
  /** Milliseconds that a kubelet gets to answer; it connects to the plugin before it does. */
  registerMs: number;
};

/** One registration: a server on a socket of its own, whose name one kubelet was told. It is never registered twice. */
export class Session {
  readonly socketName: string;
  readonly watchers: Watchers;
  private readonly path: string;
  private readonly server = new Server(SERVER_OPTIONS);
  private client: Client | undefined;
  private isClosed = false;

  /** @param kubelet what tells the kubelet's socket from others */
  constructor(
    readonly kubelet: string,
    private readonly options: SessionOptions,
  ) {
    const { folder, resource, ids, unusable } = options;
    this.socketName = newSocketName(resource);
    this.path = join(folder, this.socketName);
    this.watchers = new Watchers(ids, () => (unusable() === undefined ? "Healthy" : "Unhealthy"));
    this.server.addService(devicePluginService, this.service(new Set(ids)));
  }

  /** Listens, then registers: the kubelet connects to the socket before it answers. @throws Error for what failed */
  async open(): Promise<void> {
    await this.listen();
    this.client = new Client(
      `unix:${kubeletPath(this.options.folder)}`,
      credentials.createInsecure(),
      CLIENT_OPTIONS,
    );
    try {
      await this.register(this.client);
    } finally {
      this.client.close();
    }
    this.watchers.restart();
  }

  /** Ends all streams and removes the socket. */
  close(): void {
    this.isClosed = true;
    this.client?.close();
    this.server.forceShutdown();
    rmSync(this.path, { force: true });
  }

  private async listen(): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const address = `unix:${this.path}`;
      this.server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    if (this.isClosed) {
      this.close();
      throw new Error("closed");
    }
    chmodSync(this.path, 0o600);
  }

  private register(client: Client): Promise<void> {
    const { path, requestSerialize, responseDeserialize } = registrationService.Register;
    const request: RegisterRequest = {
      version: API_VERSION,
      endpoint: this.socketName,
      resource_name: this.options.resource,
      options: OPTIONS,
    };
    const deadline = Date.now() + this.options.registerMs;
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, { deadline }, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  private service(offered: ReadonlySet<string>): DevicePluginService {
    return {
      GetDevicePluginOptions: (_call, answer) => answer(null, OPTIONS),
      ListAndWatch: (stream) => this.watchers.add(stream),
      Allocate: ({ request }, answer) => {
        try {
          answer(null, allocate(request, offered, this.options.unusable()));
        } catch (refused) {
          answer(refused as Error);
        }
      },
    };
  }
}
