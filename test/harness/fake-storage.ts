import type { ControlPlane } from "./control-plane";

/** What is read of a claim. */
interface Claim {
  metadata: { name: string; namespace: string; uid: string };
  spec: {
    storageClassName?: string;
    volumeName?: string;
    accessModes: string[];
    resources: { requests: { storage: string } };
  };
  status: { phase?: string; capacity?: { storage?: string } };
}

/** A storage class with which nobody provisions but {@link bindClaims}. */
export const storageClass = (name: string, { expands = true, isDefault = false } = {}) => ({
  apiVersion: "storage.k8s.io/v1",
  kind: "StorageClass",
  metadata: {
    name,
    annotations: isDefault ? { "storageclass.kubernetes.io/is-default-class": "true" } : {},
  },
  provisioner: "test.invalid/nothing",
  allowVolumeExpansion: expands,
});

/** Gives each claim a volume of the size that it asks for, as a provisioner and the controller of volumes do. */
export async function bindClaims(cluster: ControlPlane): Promise<void> {
  const { body } = await cluster.request("GET", "/api/v1/persistentvolumeclaims");
  for (const claim of body.items as Claim[]) await bind(cluster, claim);
}

async function bind(cluster: ControlPlane, { metadata, spec, status }: Claim): Promise<void> {
  const { storage } = spec.resources.requests;
  if (status.phase === "Bound" && status.capacity?.storage === storage) return;
  const path = `/api/v1/namespaces/${metadata.namespace}/persistentvolumeclaims/${metadata.name}`;
  if (spec.volumeName === undefined) {
    const volumeName = `volume-${metadata.uid}`;
    await cluster.request("POST", "/api/v1/persistentvolumes", {
      metadata: { name: volumeName },
      spec: {
        ...{ capacity: { storage }, accessModes: spec.accessModes, storageClassName: spec.storageClassName },
        ...{ csi: { driver: "test.invalid", volumeHandle: volumeName } },
        claimRef: { kind: "PersistentVolumeClaim", ...metadata },
      },
    });
    await cluster.request("PATCH", path, { spec: { volumeName } });
  }
  const bound = { phase: "Bound", capacity: { storage }, accessModes: spec.accessModes };
  await cluster.request("PATCH", `${path}/status`, { status: bound });
}
