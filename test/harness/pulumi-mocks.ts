import * as pulumi from "@pulumi/pulumi";
import type { StateResources } from "../../components/host/deployment";

/** A resource as the engine would have got it. */
export interface Registered {
  type: string;
  name: string;
  // Whatever the resource's inputs are: tests look at them by name.
  // biome-ignore lint/suspicious/noExplicitAny: inputs of any resource
  inputs: Record<string, any>;
  /** Reference of the provider; undefined for the default one. */
  provider?: string;
  /** Inputs whose change replaces the resource, whatever its provider says. */
  replaceOnChanges: string[];
  /** Inputs that stay as they were, also where something else changes or replaces it. */
  ignoreChanges: string[];
  /** URNs of all that it waits for. */
  dependencies: string[];
  protect: boolean;
  /** Whether it is left where it is when the program has it no more. */
  retainOnDelete: boolean;
  /** Of a component: what it registers as its outputs, once it does. */
  outputs?: Record<string, unknown>;
}

/** What the invokes of command:local:run answer; a test changes it to play another host. */
export interface FakeHost {
  kvm: Record<string, unknown>;
  preflight: Record<string, unknown>;
  /** What kubectl tells of a cluster. */
  cluster?: Record<string, unknown>;
  /** What the state holds before the run. */
  state?: StateResources;
  /** Id that a build gives to an image; by default the same for each of one name. */
  imageId?: string;
  /** Filled with the commands of all invokes. */
  asked?: string[];
  /** Id of the deployment that uses the emulated host of the name. */
  emulatedOwner?: string;
  /** What a command prints, by its name; any other tells its name. */
  printed?: Record<string, string>;
  /** Whether what was brought to the host is gone from its engine. */
  imageGone?: boolean;
}

export const healthyHost: FakeHost = {
  kvm: {
    ok: true,
    code: "ok",
    message: "/dev/kvm opens",
    remedy: "",
    guestsUnlikely: false,
    details: {
      arch: "amd64",
      cpuFlag: "vmx",
      module: "kvm_intel",
      nested: false,
      device: "10:232",
      kernel: "6.1.0",
    },
  },
  preflight: {
    ok: true,
    code: "ok",
    message: "the engine answers",
    remedy: "",
    engine: { version: "28.0.0", api: "1.48", arch: "amd64", os: "linux", cgroup: "v2" },
    tun: true,
    swapLimit: true,
    mtu: null,
    kvmGid: 106,
    kvmMode: "660",
    addresses: ["127.0.0.1", "10.1.2.3"],
    objects: [],
  },
};

export const healthyCluster = {
  ok: true,
  cluster: "0b5e3a5e-8a54-4a0f-9d0b-3f1f7a0f2c11",
  context: "current",
  version: { serverVersion: { major: "1", minor: "37" } },
  nodes: [
    {
      ...{ name: "a", labels: { kvm: "true" }, taints: [] },
      addresses: [[{ type: "InternalIP", address: "10.0.0.7" }]],
      allocatable: { cpu: "256", memory: "1Ti" },
    },
  ],
  ports: { api: [6443], dns: [53, 53] },
  storageClasses: [
    {
      name: "standard",
      annotations: [{ "storageclass.kubernetes.io/is-default-class": "true" }],
      expands: [true],
    },
    { name: "fast", annotations: [], expands: [] },
    { name: "local-path", annotations: [], expands: [] },
  ],
  namespaces: [],
  claims: [],
  set: { namespace: "sandboxes", replicas: 0, counts: [] },
  refused: [],
  nodePort: "",
  denied: [],
};

export interface RunOptions {
  preview?: boolean;
  project?: string;
  /** What the run before has registered: a preview does not know what new and changed commands will print. */
  before?: Registered[];
}

/** The state that a run has left, as the next one reads it. */
export function stateOf(resources: Registered[], host: FakeHost = healthyHost): StateResources {
  const entries = resources.map(({ type, name, inputs, outputs: registered }) => {
    const outputs = { ...inputs, ...computed(type, name, inputs, host), ...registered };
    return [`urn:pulumi:dev::microsandbox::${type}::${name}`, { type, outputs }] as const;
  });
  return Object.fromEntries(entries);
}

/** Runs a Pulumi program against mocks and returns every resource it registered. */
export async function registered(
  program: () => unknown,
  host: FakeHost = healthyHost,
  stack = "dev",
  { preview = false, project = "microsandbox", before }: RunOptions = {},
): Promise<Registered[]> {
  const { stackTraceLimit } = Error;
  // Pulumi takes a stack for each output, and vitest maps its lines: half of the time of these tests.
  Error.stackTraceLimit = 0;
  try {
    const resources: Registered[] = [];
    await pulumi.runtime.setMocks(mocks(resources, host, before), project, stack, preview);
    recordOptions(resources);
    await program();
    await settled(resources);
    return resources;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function mocks(
  resources: Registered[],
  host: FakeHost,
  before: Registered[] | undefined,
): pulumi.runtime.Mocks {
  return {
    newResource({ type, name, inputs, id, provider }) {
      resources.push({
        ...{ type, name, inputs, provider, replaceOnChanges: [], ignoreChanges: [] },
        ...{ dependencies: [], protect: false, retainOnDelete: false },
      });
      const known = { id: id || `${name}-id`, state: { ...inputs, ...computed(type, name, inputs, host) } };
      if (!before || type !== "command:local:Command") return known;
      const old = before.find((each) => each.name === name)?.inputs;
      if (JSON.stringify(old) === JSON.stringify(inputs)) return known;
      // The command provider replaces a resource for other triggers, and updates it for anything else.
      const replaced = JSON.stringify(old?.triggers) !== JSON.stringify(inputs.triggers);
      return { id: old && !replaced ? known.id : "", state: inputs };
    },
    call({ token, inputs }) {
      if (token === "pulumi:pulumi:readStackResourceOutputs") return { outputs: host.state ?? {} };
      if (token !== "command:local:run") throw new Error(`unexpected invoke ${token}`);
      host.asked?.push(inputs.command);
      return { ...inputs, stderr: "", stdout: answer(inputs, host) };
    },
  };
}

/** Adds what a request says besides the inputs, which mocks are not told. */
function recordOptions(resources: Registered[]): void {
  interface Request {
    getName(): string;
    getType(): string;
    getReplaceonchangesList(): string[];
    getIgnorechangesList(): string[];
    getDependenciesList(): string[];
    getProtect(): boolean;
    getRetainondelete(): boolean;
    getParent(): string;
  }
  interface OutputsRequest {
    getUrn(): string;
    getOutputs(): { toJavaScript(): Record<string, unknown> };
  }
  const monitor = pulumi.runtime.getMonitor() as unknown as {
    registerResource(request: Request, callback: unknown): Promise<void>;
    registerResourceOutputs(request: OutputsRequest, callback: unknown): void;
  };
  const registerOutputs = monitor.registerResourceOutputs.bind(monitor);
  monitor.registerResourceOutputs = (request, callback) => {
    const made = resources.find(({ type, name }) => request.getUrn().endsWith(`${type}::${name}`));
    if (made) made.outputs = request.getOutputs().toJavaScript();
    registerOutputs(request, callback);
  };
  const register = monitor.registerResource.bind(monitor);
  monitor.registerResource = async (request, callback) => {
    await register(request, callback);
    const made = resources.find((each) => each.name === request.getName() && each.type === request.getType());
    if (!made) return;
    made.replaceOnChanges.push(...request.getReplaceonchangesList());
    made.ignoreChanges.push(...request.getIgnorechangesList());
    made.dependencies.push(...request.getDependenciesList());
    made.protect = request.getProtect();
    const parent = resources.find(({ type, name }) => request.getParent().endsWith(`${type}::${name}`));
    // As pulumi 3.259 has it: `false` does not undo what the parent says.
    made.retainOnDelete = request.getRetainondelete() || (parent?.retainOnDelete ?? false);
  };
}

/** Waits until no resource is on its way any more: all happens in this process, so a few idle turns tell. */
async function settled(resources: Registered[]): Promise<void> {
  for (let quiet = 0, count = -1; quiet < 10; quiet = resources.length === count ? quiet + 1 : 0) {
    count = resources.length;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A service that a load balancer stands before. */
const balanced = { loadBalancer: { ingress: [{ ip: "203.0.113.7" }] } };

/** What an engine, or a cluster, would compute. */
function computed(
  type: string,
  name: string,
  inputs: Record<string, unknown>,
  host: FakeHost,
): Record<string, unknown> {
  if (type === "docker:index/remoteImage:RemoteImage") return { imageId: host.imageId ?? `sha256:${name}` };
  if (type === "kubernetes:core/v1:Service")
    return (inputs.spec as { type?: string }).type === "LoadBalancer" ? { status: balanced } : {};
  if (type !== "command:local:Command") return {};
  const started = {
    sshUser: "root",
    sshAddress: "127.0.0.1",
    sshPort: 2222,
    identityFile: "/hosts/key",
    knownHostsFile: "/hosts/known_hosts",
  };
  const isMachine = String(inputs.create).includes("emulated-host.sh start");
  return {
    stdout: isMachine ? JSON.stringify(started) : (host.printed?.[name] ?? `${name} output`),
    stderr: "",
  };
}

function answer(inputs: Record<string, unknown>, host: FakeHost): string {
  const stdin = String(inputs.stdin ?? "");
  if (String(inputs.command).includes("emulated-host.sh"))
    return JSON.stringify({ running: true, wanted: 3, owner: host.emulatedOwner ?? "" });
  if (String(inputs.command).includes("emulated-cluster.sh"))
    return JSON.stringify({ running: true, wanted: 3, owner: "", kubeconfig: "/clusters/kubeconfig" });
  if (stdin.startsWith("docker version")) return "engine answers\n";
  if (stdin.includes("echo no image")) return host.imageGone ? "no image\n" : "";
  if (stdin.includes("kube-system")) {
    const [, context] = /^export CONTEXT='?([^'\n]+)/m.exec(stdin) ?? [];
    return JSON.stringify({ ...(host.cluster ?? healthyCluster), ...(context && { context }) });
  }
  if (stdin.includes("HOST_PORT=")) return JSON.stringify(host.preflight);
  if (stdin.length > 0) return JSON.stringify(host.kvm);
  return "";
}

/** Runs a program that fails while it runs: what it registered all the same, and what it failed with, each once. */
export async function failing(
  program: () => unknown,
  host: FakeHost = healthyHost,
): Promise<{ resources: Registered[]; errors: string[] }> {
  const errors = new Set<string>();
  // Pulumi leaves rejections to the process, and vitest would take them for its own.
  const others = process.listeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", (error) =>
    errors.add(error instanceof Error ? error.message : String(error)),
  );
  try {
    const resources = await registered(program, host);
    return { resources, errors: [...errors] };
  } finally {
    process.removeAllListeners("unhandledRejection");
    for (const listener of others) process.on("unhandledRejection", listener);
  }
}
