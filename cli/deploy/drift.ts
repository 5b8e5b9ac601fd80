import { DEPLOYMENT_LABEL } from "../../components/host/preflight-report";
import { serverHome } from "../../components/server/stack-files";
import { projectName } from "../../setup/project";
import { atWork, waitFor } from "../backup/at-work";
import { finishAllScript } from "../backup/volume-scripts";
import type { SetupHost } from "../stack";
import { resourcesOf } from "./host-resources";

/** What Pulumi's state knows of one resource. */
export interface StateResource {
  urn: string;
  type: string;
  id?: string;
  parent?: string;
  /** Set where Pulumi may not delete it. */
  protect?: boolean;
  /** Set where it stays on its host when Pulumi forgets it. */
  retainOnDelete?: boolean;
  outputs?: {
    name?: string;
    image?: string;
    stdout?: string;
    triggers?: unknown[];
    hosts?: unknown;
    connection?: unknown;
    envs?: unknown;
    /** Of TLS: the certificate of the stack's own authority, PEM. */
    authority?: string;
  };
}

/** The ids of this state's deployments, one for each host. */
export const deploymentsOf = (resources: readonly StateResource[]): string[] =>
  resources.flatMap(({ urn, type, outputs }) =>
    type === "command:local:Command" && urn.endsWith("-deployment") && outputs?.stdout
      ? [outputs.stdout]
      : [],
  );

/** An object of a host's engine. */
export interface HostObject {
  kind: "container" | "volume" | "network" | "image";
  id: string;
  name: string;
  /** Of a container; `starting` and `unhealthy` are ways to run. @example "running", "paused", "exited" */
  state: string;
  /** The stack that made it, by its labels; empty for what no stack of this project made. */
  stack: string;
  /** The deployment that made a container, by its label. */
  deployment?: string;
  /** Of a container: its image, the id where it was created by that. */
  image?: string;
}

/** Something of a deployed server that is not as the last `up` has left it. */
export interface Change {
  /** @example "The container sandboxes-server was stopped" */
  what: string;
  /** What an `up` does about it; undefined where it does nothing. */
  fate?: string;
  /** What else the user can do. */
  advice?: string;
}

/** How to repair changes made outside Pulumi. */
export interface Repair {
  changes: Change[];
  /** Nothing may be done on the host now. */
  isBusy?: boolean;
  /** A container that is to be stopped first. */
  stop?: string;
  /** For the docker client: ends an exchange of the state that was cut off. Nothing may start where that fails. */
  finish?: string[];
  /** Commands for the docker client of the host, up to the first that fails. */
  docker: string[][];
  /** The container that has to get ready after them. */
  await?: string;
}

/** Lists what is on a host, for `parseObjects`. Fails where a list does: what is not in half of them may be there. */
export const listScript = `set -e
l='{{.Label "io.microsandbox.project"}}\t{{.Label "io.microsandbox.stack"}}'
d='{{.Label "${DEPLOYMENT_LABEL}"}}\t{{.Image}}'
docker ps --all --no-trunc --format "container\t{{.ID}}\t{{.Names}}\t{{.State}}\t$l\t{{.Status}}\t$d"
docker volume ls --format "volume\t{{.Name}}\t{{.Name}}\t\t$l"
docker network ls --no-trunc --format "network\t{{.ID}}\t{{.Name}}\t\t$l"
docker image ls --no-trunc --format "image\t{{.ID}}"`;

/** @param stdout what `listScript` printed */
export function parseObjects(stdout: string): HostObject[] {
  return stdout.split("\n").flatMap((line) => {
    const [kind, id = "", name = "", status = "", project = "", stack = "", text = "", deployment, image] =
      line.split("\t");
    if (kind !== "container" && kind !== "volume" && kind !== "network" && kind !== "image") return [];
    // @example "Up 3 seconds (health: starting)", "Up 2 hours (unhealthy)", "Up 2 hours (unhealthy) (Paused)"
    const health = status === "running" ? /\((?:health: )?(starting|unhealthy)\)/.exec(text)?.[1] : undefined;
    const owner = project === projectName() ? stack : "";
    const made = { ...(deployment && { deployment }), ...(image && { image }) };
    return [{ kind, id, name, state: health ?? status, stack: owner, ...made }];
  });
}

/** Compares what Pulumi's state has of a host with what is there. */
export function compare(
  host: Pick<SetupHost, "name" | "host" | "baseName" | "volumes">,
  objects: readonly HostObject[],
  resources: readonly StateResource[],
): Repair {
  const repair: Repair = { changes: [], docker: [] };
  const find = (kind: HostObject["kind"], name: string) =>
    objects.find((each) => each.kind === kind && each.name === name);
  const recorded = (type: string, name: string) =>
    resources.find((each) => each.type === `docker:index/${type}` && each.outputs?.name === name);

  const name = `${host.baseName}-server`;
  const container = recorded("container:Container", name);
  const server = find("container", name);
  const trial = find("container", `${name}-trial`);
  const worker = [find("container", atWork(name)), find("container", `${name}-swap`), trial].find(isUp);
  if (container && worker) return busy(name, worker.name);
  if (server && server.id !== container?.id) {
    // A foreign container is not touched: Pulumi's program reports whose it is.
    if (container === undefined || !deploymentsOf(resources).includes(server.deployment ?? "")) return repair;
    const what = `The container ${server.name} is not the one of Pulumi's state: a run was interrupted while it replaced that one`;
    const fate = "it is stopped and created again, the volumes are kept";
    return { ...repair, changes: [{ what, fate }], stop: server.id, docker: [["rm", server.id]] };
  }
  const volumes = { state: volumeName(host, "state"), workspace: volumeName(host, "workspace") };
  if (server && isCutOff(server, trial, container?.outputs?.image)) return cutOff(host, trial, resources);
  if (server) wake(server, container?.outputs?.image ?? "", repair);
  else if (container) {
    repair.changes.push({
      what: `The container ${name} was removed`,
      fate: "it is created again, the volumes are kept",
    });
    if (Object.values(volumes).every((name) => find("volume", name)))
      repair.finish = finishing(container.outputs?.image ?? "", [
        `--volume=${volumes.state}:${serverHome}`,
        `--volume=${volumes.workspace}:/workspace`,
      ]);
  }

  const network = find("network", host.baseName);
  if (recorded("network:Network", host.baseName) && !network)
    repair.changes.push({
      what: `The network ${host.baseName} was removed`,
      fate: "it is created again",
    });

  for (const [role, described] of [
    ["state", "sandboxes, images and volumes"],
    ["workspace", "files of /workspace"],
  ] as const) {
    const name = volumes[role];
    const volume = find("volume", name);
    const known = recorded("volume:Volume", name);
    if (known && !volume)
      repair.changes.push({
        what: `The volume ${name} was removed, and with it the ${described}`,
        fate: "an empty one is created",
        advice: "To restore a backup: npm run restore -- FILE",
      });
  }

  const image = container?.outputs?.image;
  // An image that was sent or pulled: the program brings it again. Pulumi itself detects that one built there is gone.
  const loads = resourcesOf(host, resources).filter((urn) => urn.endsWith("-image-load"));
  if (loads.length > 0 && image && !objects.some(({ kind, id }) => kind === "image" && id === image))
    repair.changes.push({
      what: "The server's image was removed from the host",
      fate: "it is built or sent again",
    });
  return repair;
}

const volumeName = (host: Pick<SetupHost, "baseName" | "volumes">, role: "state" | "workspace"): string =>
  host.volumes?.[role] ?? `${host.baseName}-${role}`;

const isUp = (each: HostObject | undefined): each is HostObject =>
  each !== undefined && !["exited", "created"].includes(each.state);

function busy(server: string, worker: string): Repair {
  const what = `A backup, a restore or an upgrade is at work on the server ${server}`;
  return { changes: [{ what, advice: waitFor(worker) }], isBusy: true, docker: [] };
}

/**
 * Whether an upgrade has ended after its test and before the container was replaced (components/server/take-over.sh): the
 * state is not the one that the old server has left.
 */
const isCutOff = (server: HostObject, trial: HostObject | undefined, image?: string): trial is HostObject =>
  server.state === "exited" && trial?.state === "created" && trial.image !== image;

/** The run goes on, or back: it knows for which image. If Pulumi's state has no such trial, only the host goes back. */
function cutOff(
  host: Pick<SetupHost, "name">,
  { name, image }: HostObject,
  resources: readonly StateResource[],
): Repair {
  const what = "An upgrade was interrupted after its test, before the container was replaced";
  const own = new Set(resourcesOf(host, resources));
  const isRecorded = resources.some(
    ({ urn, outputs }) => own.has(urn) && urn.endsWith("-upgrade-trial") && outputs?.triggers?.[0] === image,
  );
  if (isRecorded)
    return {
      changes: [{ what, fate: "it goes on, or back to the previous state with the previous settings" }],
      docker: [],
    };
  const wait = "Within three minutes the host starts the previous server: wait, then run the command again";
  const advice = `${wait}. If it does not (it was restarted since), on the host: docker rm ${name}`;
  return { changes: [{ what, advice }], isBusy: true, docker: [] };
}

/** A change as an `up` tells it. */
export const sentence = ({ what, fate, advice }: Change): string =>
  `${what}${fate ? `: ${fate}` : ""}.${advice ? ` ${advice}` : ""}`;

/** What becomes of a container that is in a state like this; undefined where it is as it should be. */
function wokenFrom(state: string, name: string): Change | undefined {
  const server = `The container ${name}`;
  if (state === "paused") return { what: `${server} was paused`, fate: "resuming it" };
  if (state === "exited" || state === "created")
    return { what: `${server} was stopped`, fate: "starting it and the sandboxes that ran in it" };
  if (state === "starting")
    return {
      what: `${server} was started just now, by the engine or by hand`,
      fate: "waiting until it is ready",
    };
  const why = `To see why: docker logs --tail 20 ${name}`;
  if (state === "restarting")
    return { what: `The server in ${name} ends again and again`, fate: "restarting it", advice: why };
  if (state === "unhealthy")
    return {
      what: `The server in ${name} is running but not ready`,
      advice: `${why}; to restart it: docker restart ${name}`,
    };
  return undefined;
}

function wake({ id, name, state }: HostObject, image: string, repair: Repair): void {
  const change = wokenFrom(state, name);
  if (change === undefined) return;
  repair.changes.push(change);
  repair.await = id;
  if (state === "paused") repair.docker.push(["unpause", id]);
  // A server refuses a half state, again and again.
  if (state === "restarting") repair.stop = id;
  if (["exited", "created", "restarting"].includes(state)) {
    repair.finish = finishing(image, ["--volumes-from", `${id}:rw`]);
    repair.docker.push(["start", id]);
  }
}

/** The host may have gone down while a restore exchanged the state, or in the test of an upgrade. */
const finishing = (image: string, volumes: string[]): string[] => [
  ...["run", "--rm", "--network", "none", "--user", "0:0", "--security-opt", "label=disable"],
  ...[...volumes, image, "sh", "-c", finishAllScript()],
];
