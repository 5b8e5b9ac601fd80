import * as grpc from "@grpc/grpc-js";
import { PluginInfo } from "@pulumi/pulumi/proto/plugin_pb";
import type { IResourceProviderServer } from "@pulumi/pulumi/proto/provider_grpc_pb";
import * as proto from "@pulumi/pulumi/proto/provider_pb";
import { Empty } from "google-protobuf/google/protobuf/empty_pb";
import type { Cancellation } from "./cancellation";
import type { EngineLog } from "./engine-log";
import { checkCommand } from "./inputs";
import { diffResponse, failureList, fromStruct, toStruct } from "./messages";
import * as provider from "./provider";

/** The version of the vendor's plugin that this one stands in for. */
export const VERSION = "1.2.1";
const RESOURCE = "command:local:Command";
const INVOKE = "command:local:run";

/** The ResourceProvider service; methods that are not here answer "unimplemented". */
export function commandService(
  cancellation: Cancellation,
  log: EngineLog,
): grpc.UntypedServiceImplementation {
  const perform = <Request, Result>(
    call: grpc.ServerUnaryCall<Request, unknown>,
    { urn, timeout = 0, preview = false }: { urn: string; timeout?: number; preview?: boolean },
    work: (operation: provider.Operation) => Promise<Result>,
  ) =>
    cancellation.guard(call, timeout, async (signal) => {
      const lines = log.statusLines(urn);
      try {
        return await work({ urn, preview, signal, log: (line) => lines.push(line) });
      } finally {
        await lines.drained();
      }
    });

  return {
    handshake: unary((request) => {
      log.connect(request.getEngineAddress());
      return new proto.ProviderHandshakeResponse().setAcceptSecrets(true).setAcceptResources(true);
    }),
    attach: unary((request) => {
      log.connect(request.getAddress());
      return new Empty();
    }),
    getPluginInfo: unary(() => new PluginInfo().setVersion(VERSION)),
    getSchema: unary(() =>
      new proto.GetSchemaResponse().setSchema(JSON.stringify({ name: "command", version: VERSION })),
    ),
    checkConfig: unary((request) => new proto.CheckResponse().setInputs(request.getNews())),
    diffConfig: unary(() => new proto.DiffResponse().setChanges(proto.DiffResponse.DiffChanges.DIFF_NONE)),
    configure: unary(() =>
      new proto.ConfigureResponse().setAcceptsecrets(true).setSupportspreview(true).setAcceptresources(true),
    ),
    cancel: unary(() => {
      cancellation.cancelAll("cancelled");
      return new Empty();
    }),

    check: unary((request) => {
      expectResource(request.getUrn());
      const inputs = fromStruct(request.getNews());
      return new proto.CheckResponse()
        .setInputs(toStruct(inputs))
        .setFailuresList(failureList(checkCommand(inputs)));
    }),
    diff: unary((request) => {
      expectResource(request.getUrn());
      const oldInputs = request.hasOldInputs() ? fromStruct(request.getOldInputs()) : undefined;
      const [state, news] = [fromStruct(request.getOlds()), fromStruct(request.getNews())];
      return diffResponse(provider.diffCommand(oldInputs, state, news, request.getIgnorechangesList()));
    }),
    create: unary(async (request, call) => {
      const urn = expectResource(request.getUrn());
      const options = { urn, timeout: request.getTimeout(), preview: request.getPreview() };
      const inputs = fromStruct(request.getProperties());
      const { id, state } = await perform(call, options, (op) => provider.createCommand(inputs, op));
      return new proto.CreateResponse().setId(id).setProperties(toStruct(state));
    }),
    update: unary(async (request, call) => {
      const urn = expectResource(request.getUrn());
      const options = { urn, timeout: request.getTimeout(), preview: request.getPreview() };
      const [olds, news] = [fromStruct(request.getOlds()), fromStruct(request.getNews())];
      const state = await perform(call, options, (op) => provider.updateCommand(olds, news, op));
      return new proto.UpdateResponse().setProperties(toStruct(state));
    }),
    delete: unary(async (request, call) => {
      const urn = expectResource(request.getUrn());
      const state = fromStruct(request.getProperties());
      const options = { urn, timeout: request.getTimeout() };
      await perform(call, options, (op) => provider.deleteCommand(state, op));
      return new Empty();
    }),
    // There is nothing outside the state to read: a refresh keeps it.
    read: unary((request) => {
      expectResource(request.getUrn());
      return new proto.ReadResponse()
        .setId(request.getId())
        .setInputs(request.getInputs())
        .setProperties(request.getProperties());
    }),
    invoke: unary(async (request, call) => {
      if (request.getTok() !== INVOKE) throw unsupported(request.getTok());
      const args = fromStruct(request.getArgs());
      const { result = {}, failures = [] } = await perform(call, { urn: "" }, (op) =>
        provider.invokeRun(args, op),
      );
      return new proto.InvokeResponse().setReturn(toStruct(result)).setFailuresList(failureList(failures));
    }),
  } satisfies Partial<IResourceProviderServer>;
}

function expectResource(urn: string): string {
  const type = urn.split("::")[2]?.split("$").at(-1) ?? urn;
  if (type !== RESOURCE) throw unsupported(type);
  return urn;
}

class Unsupported extends Error {
  readonly code = grpc.status.UNIMPLEMENTED;
}

function unsupported(what: string): Unsupported {
  return new Unsupported(
    `${what} is not in this stand-in for the command plugin, which has ${RESOURCE} and ${INVOKE} only. ` +
      `Install the vendor's: pulumi plugin install resource command ${VERSION}`,
  );
}

/** Adapts a function to gRPC: what it throws becomes the error that the engine shows. */
function unary<Request, Response>(
  handle: (request: Request, call: grpc.ServerUnaryCall<Request, Response>) => Response | Promise<Response>,
): grpc.handleUnaryCall<Request, Response> {
  return async (call, callback) => {
    try {
      callback(null, await handle(call.request, call));
    } catch (error) {
      const details = error instanceof Error ? error.message : String(error);
      callback({ code: error instanceof Unsupported ? error.code : grpc.status.UNKNOWN, details });
    }
  };
}
