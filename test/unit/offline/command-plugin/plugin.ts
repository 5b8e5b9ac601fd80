import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as grpc from "@grpc/grpc-js";
import { EngineService } from "@pulumi/pulumi/proto/engine_grpc_pb";
import type { LogRequest } from "@pulumi/pulumi/proto/engine_pb";
import type { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import { ResourceProviderClient } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import { Struct } from "google-protobuf/google/protobuf/struct_pb";
import { buildCommandPlugin } from "../../../../offline/command-plugin/build";
import type { Properties } from "../../../../offline/command-plugin/properties";

export const SECRET_SIGNATURE = "4dabf18193072939515e22adb298388d";
export const UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9";
const URN = "urn:pulumi:dev::project::command:local:Command::greeter";

/** A secret as the engine sends it. */
export function secret(value: Properties[string]): Properties {
  return { [SECRET_SIGNATURE]: "1b47061264138c4ac30d75fd1eb44270", value };
}

/** A folder with the built plugin in it, and room for a test's files; removed by `remove`. */
export async function workshop() {
  const directory = await mkdtemp(join(tmpdir(), "command-plugin-"));
  const executable = await buildCommandPlugin(join(directory, "plugin"));
  return { directory, executable, remove: () => rm(directory, { recursive: true, force: true }) };
}

interface Options {
  preview?: boolean;
  timeout?: number;
}

/** A plugin process under test, with a stand-in for the engine that records what is logged. */
export class Plugin {
  readonly logged: LogRequest.AsObject[] = [];

  private constructor(
    readonly process: ChildProcess,
    private readonly engine: grpc.Server,
    private readonly client: ResourceProviderClient,
  ) {}

  static async start(executable: string): Promise<Plugin> {
    const engine = new grpc.Server();
    const port = await new Promise<number>((resolve, reject) =>
      engine.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    // Arguments as the engine gives them when its own logging is on.
    const args = ["-logtostderr", "-v=1", `127.0.0.1:${port}`];
    const child = spawn(executable, args, { stdio: ["ignore", "pipe", "inherit"] });
    const [line] = await once(child.stdout, "data");
    const address = `127.0.0.1:${String(line).trim()}`;
    const client = new ResourceProviderClient(address, grpc.credentials.createInsecure(), {
      "grpc.max_receive_message_length": -1,
    });
    const plugin = new Plugin(child, engine, client);
    engine.addService(EngineService, {
      log: (call: grpc.ServerUnaryCall<LogRequest, Empty>, callback: grpc.sendUnaryData<Empty>) => {
        plugin.logged.push(call.request.toObject());
        callback(null, new Empty());
      },
    });
    return plugin;
  }

  async stop(): Promise<void> {
    this.client.close();
    this.engine.forceShutdown();
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    this.process.kill("SIGKILL");
    await once(this.process, "exit");
  }

  async configure() {
    return this.call<proto.ConfigureResponse>((done) =>
      this.client.configure(new proto.ConfigureRequest(), done),
    );
  }

  async info(): Promise<string> {
    return (await this.call<PluginInfo>((done) => this.client.getPluginInfo(new Empty(), done))).getVersion();
  }

  async check(inputs: Properties, urn = URN) {
    const request = new proto.CheckRequest().setUrn(urn).setNews(Struct.fromJavaScript(inputs));
    const response = await this.call<proto.CheckResponse>((done) => this.client.check(request, done));
    return { inputs: plain(response.getInputs()), failures: response.toObject().failuresList };
  }

  async diff(state: Properties, news: Properties, oldInputs?: Properties, ignored: string[] = []) {
    const request = new proto.DiffRequest()
      .setUrn(URN)
      .setOlds(Struct.fromJavaScript(state))
      .setNews(Struct.fromJavaScript(news))
      .setOldInputs(oldInputs && Struct.fromJavaScript(oldInputs))
      .setIgnorechangesList(ignored);
    const response = await this.call<proto.DiffResponse>((done) => this.client.diff(request, done));
    const kinds = Object.entries(proto.PropertyDiff.Kind);
    const nameOf = (kind: number) => kinds.find(([, number]) => number === kind)?.[0] ?? "?";
    return {
      changed: response.getChanges() === proto.DiffResponse.DiffChanges.DIFF_SOME,
      diffs: response.getDiffsList().sort(),
      replaces: response.getReplacesList(),
      deleteBeforeReplace: response.getDeletebeforereplace(),
      detailed: Object.fromEntries(
        response.toObject().detaileddiffMap.map(([path, { kind }]) => [path, nameOf(kind)]),
      ),
    };
  }

  async create(inputs: Properties, { preview = false, timeout = 0 }: Options = {}) {
    const request = new proto.CreateRequest()
      .setUrn(URN)
      .setProperties(Struct.fromJavaScript(inputs))
      .setPreview(preview)
      .setTimeout(timeout);
    const response = await this.call<proto.CreateResponse>((done) => this.client.create(request, done));
    return { id: response.getId(), state: plain(response.getProperties()) };
  }

  async update(state: Properties, news: Properties, { preview = false, timeout = 0 }: Options = {}) {
    const request = new proto.UpdateRequest()
      .setUrn(URN)
      .setOlds(Struct.fromJavaScript(state))
      .setNews(Struct.fromJavaScript(news))
      .setPreview(preview)
      .setTimeout(timeout);
    return plain(
      (await this.call<proto.UpdateResponse>((done) => this.client.update(request, done))).getProperties(),
    );
  }

  async delete(state: Properties): Promise<void> {
    const request = new proto.DeleteRequest().setUrn(URN).setProperties(Struct.fromJavaScript(state));
    await this.call<Empty>((done) => this.client.delete(request, done));
  }

  async read(id: string, state: Properties, inputs: Properties) {
    const request = new proto.ReadRequest()
      .setId(id)
      .setUrn(URN)
      .setProperties(Struct.fromJavaScript(state))
      .setInputs(Struct.fromJavaScript(inputs));
    const response = await this.call<proto.ReadResponse>((done) => this.client.read(request, done));
    return {
      id: response.getId(),
      state: plain(response.getProperties()),
      inputs: plain(response.getInputs()),
    };
  }

  async invoke(args: Properties, token = "command:local:run") {
    const request = new proto.InvokeRequest().setTok(token).setArgs(Struct.fromJavaScript(args));
    const response = await this.call<proto.InvokeResponse>((done) => this.client.invoke(request, done));
    return { result: plain(response.getReturn()), failures: response.toObject().failuresList };
  }

  async cancel(): Promise<void> {
    await this.call<Empty>((done) => this.client.cancel(new Empty(), done));
  }

  private call<Response>(send: (done: grpc.requestCallback<Response>) => unknown): Promise<Response> {
    return new Promise((resolve, reject) => {
      send((error, response) => {
        if (error || !response) reject(error);
        else resolve(response);
      });
    });
  }
}

function plain(struct: Struct | undefined): Properties {
  return (struct?.toJavaScript() ?? {}) as Properties;
}
