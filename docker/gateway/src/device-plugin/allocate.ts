import { type ServiceError, status } from "@grpc/grpc-js";
import type { AllocateRequest, AllocateResponse, DeviceSpec } from "./api";

/** What a container gets, whatever it is called where this program sees it. */
const KVM: DeviceSpec = { container_path: "/dev/kvm", host_path: "/dev/kvm", permissions: "rw" };

/** An answer that refuses: a status of gRPC and a sentence, which the kubelet puts into an event of the pod. */
export const refusal = (code: status, details: string): Partial<ServiceError> => ({ code, details });

/** The ids of all devices: always the same, so that what the kubelet has noted of them stays true. */
export const deviceIds = (count: number): string[] =>
  Array.from({ length: count }, (_, index) => `kvm-${index}`);

/**
 * What containers get that the kubelet has chosen devices for.
 * @param unusable why the device can't be had now, if so
 * @throws a {@link refusal}: for ids that are not offered, a container with none, or more than there are
 */
export function allocate(
  { container_requests: containers }: AllocateRequest,
  offered: ReadonlySet<string>,
  unusable: string | undefined,
): AllocateResponse {
  if (unusable !== undefined)
    throw refusal(status.FAILED_PRECONDITION, `this node's /dev/kvm can't be used: ${unusable}`);
  const taken = new Set<string>();
  for (const { devices_ids: ids } of containers) {
    if (ids.length === 0) throw refusal(status.INVALID_ARGUMENT, "a container is asked for without a device");
    for (const id of ids) {
      const shown = JSON.stringify(id.slice(0, 63));
      if (!offered.has(id)) throw refusal(status.INVALID_ARGUMENT, `no device ${shown}`);
      if (taken.has(id)) throw refusal(status.INVALID_ARGUMENT, `device ${shown} is asked for twice`);
      taken.add(id);
    }
  }
  return { container_responses: containers.map(() => ({ devices: [KVM] })) };
}
