import { readdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

type Registration = { version: string; endpoint: string; resource_name: string; options: object };
export type DeviceList = { devices: { ID: string; health: string }[] };
export type DeviceSpec = { container_path: string; host_path: string; permissions: string };
export type Allocated = { container_responses: { devices: DeviceSpec[]; mounts: object[] }[] };

const proto = loadSync(join(__dirname, "kubelet.proto"), { keepCase: true, defaults: true });
const api = grpc.loadPackageDefinition(proto).v1beta1 as grpc.GrpcObject;
const registration = (api.Registration as grpc.ServiceClientConstructor).service;
const PluginClient = api.DevicePlugin as grpc.ServiceClientConstructor;

/** A client of a plugin, as the kubelet is one. */
export class PluginConnection {
  private readonly client: InstanceType<grpc.ServiceClientConstructor>;

  constructor(socket: string) {
    this.client = new PluginClient(`unix:${socket}`, grpc.credentials.createInsecure(), {
      ...{ "grpc.default_authority": "localhost", "grpc.use_local_subchannel_pool": 1 },
      // Of a list for 10,000 devices.
      "grpc.max_receive_message_length": 16 * 1024 * 1024,
    });
  }

  call<T>(method: string, request: object): Promise<T> {
    const deadline = Date.now() + 5_000;
    return new Promise((resolve, reject) => {
      this.client[method]?.(request, { deadline }, (error: grpc.ServiceError | null, answer: T) =>
        error ? reject(error) : resolve(answer),
      );
    });
  }

  watch(): grpc.ClientReadableStream<DeviceList> {
    const stream = this.client.ListAndWatch?.({});
    // The end of the connection is an error of each of its streams.
    stream.on("error", () => undefined);
    return stream;
  }

  close(): void {
    this.client.close();
  }
}

type Endpoint = { connection: PluginConnection; stream?: grpc.ClientReadableStream<DeviceList> };

/** The kubelet's side of device plugins, over real sockets, as version 1.37 behaves. */
export class FakeKubelet {
  /** What has been registered, or was tried. */
  readonly registrations: Registration[] = [];
  /** Names that were registered while the kubelet still held a connection to them: it is confused for good then. */
  readonly doubleNames: string[] = [];
  /** What registrations are answered, if not with success. */
  refusal: string | undefined;
  /** Whether it takes registrations and never watches. */
  neverWatches = false;
  private readonly endpoints = new Map<string, Endpoint>();
  private devices = new Map<string, string>();
  private server: grpc.Server | undefined;

  constructor(private readonly folder: string) {}

  get isRunning(): boolean {
    return this.server !== undefined;
  }

  /** As a kubelet starts: whatever sockets are in the folder go, and it knows of no plugin. */
  async start(): Promise<void> {
    this.removeSockets(() => true);
    const server = new grpc.Server();
    server.addService(registration, {
      Register: (call: grpc.ServerUnaryCall<Registration, object>, answer: grpc.sendUnaryData<object>) =>
        this.register(call.request).then(
          () => answer(null, {}),
          (error: Error) => answer({ code: grpc.status.UNKNOWN, details: error.message }),
        ),
    });
    // A server removes the name that it was bound to when it is closed: a kubelet that is killed does not.
    const bound = join(this.folder, "new.sock");
    await new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${bound}`, grpc.ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    renameSync(bound, join(this.folder, "kubelet.sock"));
    this.server = server;
  }

  /** Ends it as SIGTERM does, or, with its socket left behind, as SIGKILL. */
  stop({ leavesSocket = false } = {}): void {
    this.server?.forceShutdown();
    this.server = undefined;
    this.dropConnections();
    this.devices = new Map();
    if (!leavesSocket) rmSync(join(this.folder, "kubelet.sock"), { force: true });
  }

  /** Closes its connections to plugins, and lives on. */
  dropConnections(): void {
    for (const { connection, stream } of this.endpoints.values()) {
      stream?.cancel();
      connection.close();
    }
    this.endpoints.clear();
  }

  /** Somebody removes all sockets but the kubelet's. */
  removeOthers(): void {
    this.removeSockets((name) => name !== "kubelet.sock");
  }

  /** The devices that it knows of, by their health. */
  count(health: "Healthy" | "Unhealthy"): number {
    return [...this.devices.values()].filter((each) => each === health).length;
  }

  /** How many plugins it watches. */
  get watched(): number {
    return [...this.endpoints.values()].filter(({ stream }) => stream).length;
  }

  /** Asks the plugin that it watches for devices of containers. */
  allocate(...containers: string[][]): Promise<Allocated> {
    const [endpoint] = this.endpoints.values();
    if (!endpoint) throw new Error("no plugin is registered");
    const container_requests = containers.map((devices_ids) => ({ devices_ids }));
    return endpoint.connection.call("Allocate", { container_requests });
  }

  private async register(request: Registration): Promise<void> {
    this.registrations.push(request);
    const { version, endpoint: name } = request;
    if (this.refusal !== undefined) throw new Error(this.refusal);
    if (version !== "v1beta1")
      throw new Error(`requested API version ${version} is not supported by kubelet`);
    const connection = new PluginConnection(join(this.folder, name));
    const { server } = this;
    try {
      await connection.call("GetDevicePluginOptions", {});
      if (this.server !== server) throw new Error("stopped");
      if (this.endpoints.has(name)) {
        this.doubleNames.push(name);
        throw new Error(`device plugin already connected: ${name}`);
      }
    } catch (error) {
      connection.close();
      throw error;
    }
    const endpoint: Endpoint = { connection };
    this.endpoints.set(name, endpoint);
    if (this.neverWatches) return;
    const stream = connection.watch();
    endpoint.stream = stream;
    stream.on("data", ({ devices }: DeviceList) => {
      if (this.endpoints.get(name) === endpoint)
        this.devices = new Map(devices.map(({ ID, health }) => [ID, health]));
    });
    stream.on("status", () => {
      if (this.endpoints.get(name) !== endpoint) return;
      this.endpoints.delete(name);
      connection.close();
      // Another plugin for the resource takes its place.
      if (this.endpoints.size > 0) return;
      for (const id of this.devices.keys()) this.devices.set(id, "Unhealthy");
    });
  }

  private removeSockets(which: (name: string) => boolean): void {
    for (const name of readdirSync(this.folder).filter(which))
      if (statSync(join(this.folder, name), { throwIfNoEntry: false })?.isSocket())
        rmSync(join(this.folder, name), { force: true });
  }
}
