import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createReporter } from "../../setup/report";
import { ControlPlane } from "../harness/control-plane";

let cluster: ControlPlane;

beforeAll(async () => {
  cluster = await ControlPlane.start(createReporter());
});
afterAll(() => cluster?.stop());

const named = (name: string) => ({ metadata: { name } });

describe("a cluster's API", () => {
  const namespace = "/api/v1/namespaces/restricted";

  /** A pod that Pod Security `restricted` takes, but for the changes. */
  const pod = (name: string, securityContext: object) => ({
    ...named(name),
    spec: {
      containers: [
        {
          name: "server",
          image: "server",
          securityContext: {
            runAsNonRoot: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            seccompProfile: { type: "RuntimeDefault" },
            ...securityContext,
          },
        },
      ],
    },
  });

  it("refuses a privileged pod where Pod Security `restricted` is enforced, and takes one with no rights", async () => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    const made = await cluster.request("POST", "/api/v1/namespaces", {
      metadata: { name: "restricted", labels },
    });
    expect(made).toMatchObject({ status: 201, body: { metadata: { labels } } });
    // As a controller does in a whole cluster.
    await cluster.request("POST", `${namespace}/serviceaccounts`, named("default"));

    const privileged = pod("privileged", { privileged: true, allowPrivilegeEscalation: true });
    const refused = await cluster.request("POST", `${namespace}/pods`, privileged);
    expect(refused).toMatchObject({ status: 403, body: { reason: "Forbidden" } });
    expect(refused.body.message).toContain('violates PodSecurity "restricted:latest": privileged');
    expect((await cluster.request("GET", `${namespace}/pods/privileged`)).status).toBe(404);

    expect((await cluster.request("POST", `${namespace}/pods`, pod("hardened", {}))).status).toBe(201);
  });

  it("lets one of several take a Lease that all have read", async () => {
    const leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    const lease = await cluster.request("POST", leases, named("name"));
    expect(lease.status).toBe(201);
    const takers = Array.from({ length: 10 }, (_, index) => `router-${index}`);
    const answers = await Promise.all(
      takers.map((holderIdentity) =>
        cluster.request("PUT", `${leases}/name`, { ...lease.body, spec: { holderIdentity } }),
      ),
    );
    const won = answers.filter(({ status }) => status === 200);
    expect(answers.filter(({ status }) => status === 409)).toHaveLength(takers.length - 1);
    expect(won).toHaveLength(1);
    const now = await cluster.request("GET", `${leases}/name`);
    expect(now.body.spec.holderIdentity).toBe(won[0]?.body.spec.holderIdentity);
    // Nor is a name given twice.
    expect((await cluster.request("POST", leases, named("name"))).status).toBe(409);
  });

  it("asks who it is", async () => {
    const answer = await cluster.request("GET", "/api/v1/namespaces", undefined, "nobody's");
    expect(answer.status).toBe(401);
  });
});
