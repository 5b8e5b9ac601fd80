import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { errorText } from "../errors";
import { deviceIds } from "./allocate";
import type { Config } from "./config";
import { DeviceFile } from "./device";
import { kubeletSocket, removeDeadSockets } from "./folder";
import { Session } from "./session";

/** Milliseconds. */
export type Timing = {
  /** Between two looks at the kubelet's socket, and at the device. */
  kubelet: number;
  device: number;
  /** What a kubelet gets to answer a registration, and then to begin to watch, or to come back after it has stopped. */
  register: number;
  watch: number;
  /** A registration that was watched for so long has not failed. */
  steady: number;
  /** Before the second attempt, and at most. */
  firstRetry: number;
  mostRetry: number;
};

const TIMING: Timing = {
  ...{ kubelet: 1_000, device: 5_000, register: 15_000, watch: 10_000, steady: 60_000 },
  ...{ firstRetry: 1_000, mostRetry: 30_000 },
};

/** Before the next attempt, after so many: twice as long each time, less up to a half by chance. */
export const retryDelay = (
  attempts: number,
  { firstRetry, mostRetry }: Timing,
  random = Math.random(),
): number => Math.min(firstRetry * 2 ** (attempts - 1), mostRetry) * (1 - random / 2);

/**
 * Offers /dev/kvm of this node to pods, as a resource of the kubelet's. It looks at what there is and comes to match it,
 * whatever happened: a kubelet that was restarted, or has stopped watching, is registered with again.
 */
export class DevicePlugin {
  private readonly ids: readonly string[];
  private readonly device: DeviceFile;
  private readonly timing: Timing;
  private readonly stopping = new AbortController();
  private unusable: string | undefined;
  private session: Session | undefined;
  /** The kubelet's socket as it was seen last; undefined for none, null for not yet. */
  private kubelet: string | undefined | null = null;
  /** Registrations since one was watched steadily, and when the next may be, by performance.now(). */
  private attempts = 0;
  private nextAt = 0;
  private lastFailure = "";

  constructor(
    private readonly config: Config,
    private readonly log: Logger,
    { timing, kernelEntry }: { timing?: Partial<Timing>; kernelEntry?: string } = {},
  ) {
    this.ids = deviceIds(config.KVM_DEVICES);
    this.device = new DeviceFile(config.KVM_DEVICE, kernelEntry);
    this.timing = { ...TIMING, ...timing };
  }

  /** Works until it is stopped. */
  async run(): Promise<void> {
    const { signal } = this.stopping;
    this.tellDevice(this.device.whyUnusable());
    const looking = setInterval(() => this.look(), this.timing.device);
    await removeDeadSockets(this.config.DEVICE_PLUGINS_FOLDER, this.config.KVM_RESOURCE).catch((error) =>
      this.failed(error),
    );
    while (!signal.aborted) {
      await this.step().catch((error) => this.failed(error));
      await sleep(this.timing.kubelet, undefined, { signal }).catch(() => undefined);
    }
    clearInterval(looking);
  }

  /** Ends all streams and removes the socket. */
  stop(): void {
    this.stopping.abort();
    this.session?.close();
  }

  private look(): void {
    const unusable = this.device.whyUnusable();
    if (unusable === this.unusable) return;
    this.tellDevice(unusable);
    this.session?.watchers.tellAll();
  }

  private tellDevice(unusable: string | undefined): void {
    this.unusable = unusable;
    const device = this.config.KVM_DEVICE || "/dev/kvm";
    if (unusable === undefined) this.log.info({ device, health: "Healthy" }, "the device can be used");
    else this.log.warn({ device, health: "Unhealthy", err: unusable }, "the device can't be used");
  }

  private async step(): Promise<void> {
    const kubelet = kubeletSocket(this.config.DEVICE_PLUGINS_FOLDER);
    if (kubelet !== this.kubelet) this.kubeletChanged(kubelet);
    if (kubelet === undefined || this.isRegistered() || performance.now() < this.nextAt) return;
    this.session?.close();
    const session = this.newSession(kubelet);
    this.session = session;
    this.attempts++;
    try {
      await session.open();
    } catch (error) {
      session.close();
      this.session = undefined;
      throw error;
    } finally {
      this.nextAt = performance.now() + retryDelay(this.attempts, this.timing);
    }
    this.lastFailure = "";
    const { KVM_RESOURCE: resource, KVM_DEVICES: devices } = this.config;
    this.log.info({ resource, devices, socket: session.socketName }, "registered with the kubelet");
  }

  private kubeletChanged(kubelet: string | undefined): void {
    const folder = this.config.DEVICE_PLUGINS_FOLDER;
    this.kubelet = kubelet;
    this.attempts = 0;
    this.nextAt = 0;
    if (kubelet === undefined) this.log.warn({ folder }, "the kubelet has no socket here: waiting for it");
    else this.log.info({ folder }, "the kubelet has a socket");
  }

  /** Whether the kubelet of now knows of this plugin, and watches it or is about to. */
  private isRegistered(): boolean {
    const { session, timing } = this;
    if (!session || session.kubelet !== this.kubelet) return false;
    const forMs = performance.now() - session.watchers.since;
    if (session.watchers.size > 0) {
      if (forMs > timing.steady) this.attempts = 0;
      return true;
    }
    if (forMs <= timing.watch) return true;
    this.log.warn({ socket: session.socketName }, "the kubelet does not watch: registering again");
    session.close();
    this.session = undefined;
    return false;
  }

  private newSession(kubelet: string): Session {
    return new Session(kubelet, {
      folder: this.config.DEVICE_PLUGINS_FOLDER,
      resource: this.config.KVM_RESOURCE,
      ids: this.ids,
      unusable: () => this.unusable,
      registerMs: this.timing.register,
    });
  }

  /** A failure that repeats itself is one line. */
  private failed(error: unknown): void {
    if (this.stopping.signal.aborted) return;
    const said = errorText(error);
    // The names of sockets differ with each attempt.
    const same = said.replaceAll(/kvm-[-0-9a-f]+\.sock/g, "") === this.lastFailure;
    this.lastFailure = said.replaceAll(/kvm-[-0-9a-f]+\.sock/g, "");
    const retryInMs = Math.max(0, Math.round(this.nextAt - performance.now()));
    this.log[same ? "debug" : "warn"]({ err: said, retryInMs }, "could not register with the kubelet");
  }
}
