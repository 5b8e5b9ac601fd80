import type { handleServerStreamingCall, handleUnaryCall, ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

/**
 * The kubelet's device plugin API, v1beta1, as far as it is used: k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto.
 * A method that is left out is answered with UNIMPLEMENTED; the kubelet asks for those only that the options announce.
 */
export const API_VERSION = "v1beta1";

export type Health = "Healthy" | "Unhealthy";
export type Device = { ID: string; health: Health };
export type DeviceList = { devices: Device[] };
export type Options = { pre_start_required: boolean; get_preferred_allocation_available: boolean };
export type RegisterRequest = {
  version: string;
  /** Name of the plugin's socket, in the folder of the kubelet's. */
  endpoint: string;
  resource_name: string;
  options: Options;
};
export type AllocateRequest = { container_requests: { devices_ids: string[] }[] };
export type DeviceSpec = { container_path: string; host_path: string; permissions: string };
export type AllocateResponse = { container_responses: { devices: DeviceSpec[] }[] };
export type Empty = Record<string, never>;

/** What the plugin answers. */
export type DevicePluginService = {
  GetDevicePluginOptions: handleUnaryCall<Empty, Options>;
  ListAndWatch: handleServerStreamingCall<Empty, DeviceList>;
  Allocate: handleUnaryCall<AllocateRequest, AllocateResponse>;
};

/** What the kubelet answers. */
type RegistrationService = { Register: handleUnaryCall<RegisterRequest, Empty> };

const one = (type: string, id: number) => ({ type, id });
const many = (type: string, id: number) => ({ type, id, rule: "repeated" });

const messages = {
  Empty: { fields: {} },
  DevicePluginOptions: {
    fields: {
      pre_start_required: one("bool", 1),
      get_preferred_allocation_available: one("bool", 2),
    },
  },
  RegisterRequest: {
    fields: {
      version: one("string", 1),
      endpoint: one("string", 2),
      resource_name: one("string", 3),
      options: one("DevicePluginOptions", 4),
    },
  },
  Device: { fields: { ID: one("string", 1), health: one("string", 2) } },
  ListAndWatchResponse: { fields: { devices: many("Device", 1) } },
  ContainerAllocateRequest: { fields: { devices_ids: many("string", 1) } },
  AllocateRequest: { fields: { container_requests: many("ContainerAllocateRequest", 1) } },
  DeviceSpec: {
    fields: {
      container_path: one("string", 1),
      host_path: one("string", 2),
      permissions: one("string", 3),
    },
  },
  ContainerAllocateResponse: { fields: { devices: many("DeviceSpec", 3) } },
  AllocateResponse: { fields: { container_responses: many("ContainerAllocateResponse", 1) } },
};

const method = (requestType: string, responseType: string, responseStream = false) => ({
  ...{ requestType, responseType, responseStream, comment: "" },
});

const services = {
  Registration: { methods: { Register: method("RegisterRequest", "Empty") } },
  DevicePlugin: {
    methods: {
      GetDevicePluginOptions: method("Empty", "DevicePluginOptions"),
      ListAndWatch: method("Empty", "ListAndWatchResponse", true),
      Allocate: method("AllocateRequest", "AllocateResponse"),
    },
  },
};

const definitions = fromJSON(
  { nested: { [API_VERSION]: { nested: { ...messages, ...services } } } },
  // What is not on the wire has its default: a list is never undefined.
  { defaults: true },
);

// The types above say what the descriptors say.
const service = <T>(name: string) => definitions[`${API_VERSION}.${name}`] as unknown as ServiceDefinition<T>;
export const devicePluginService = service<DevicePluginService>("DevicePlugin");
export const registrationService = service<RegistrationService>("Registration");
