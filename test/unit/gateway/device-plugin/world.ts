import { mkdtempSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { type Config, readConfig } from "../../../../docker/gateway/src/device-plugin/config";
import { pluginLog } from "../../../../docker/gateway/src/device-plugin/log";
import { DevicePlugin, type Timing } from "../../../../docker/gateway/src/device-plugin/plugin";
import { removeFolder } from "../../../harness/remove-folder";
import { FakeKubelet } from "./fake-kubelet";

/** What the tests wait for at most: a busy machine takes its time. */
const SOON = { timeout: 20_000, interval: 5 };

const TIMING: Timing = {
  ...{ kubelet: 5, device: 5, register: 5_000, watch: 300, steady: 1_000 },
  ...{ firstRetry: 5, mostRetry: 40 },
};

export type Line = { level: number; msg: string; service: string; err?: string; retryInMs?: number };

/** A folder of a kubelet, a device that comes and goes, and a plugin in this process. */
export class World {
  readonly lines: Line[] = [];
  readonly kubelet: FakeKubelet;
  readonly plugin: DevicePlugin;
  readonly config: Config;
  private readonly ended: Promise<void>;
  private readonly device: string;

  private constructor(
    readonly root: string,
    readonly folder: string,
    { devices = 1000, timing = {} }: { devices?: number; timing?: Partial<Timing> },
  ) {
    this.device = join(root, "kvm");
    this.kubelet = new FakeKubelet(folder);
    this.config = readConfig({
      ...{ DEVICE_PLUGINS_FOLDER: folder, KVM_DEVICE: this.device, KVM_DEVICES: String(devices) },
      LOG_LEVEL: "debug",
    });
    const log = pluginLog(this.config.LOG_LEVEL, {
      write: (line: string) => this.lines.push(JSON.parse(line)),
    });
    this.plugin = new DevicePlugin(this.config, log, {
      timing: { ...TIMING, ...timing },
      kernelEntry: join(root, "no-entry"),
    });
    this.bringDevice();
    this.ended = this.plugin.run();
  }

  static start(options: { devices?: number; timing?: Partial<Timing> } = {}): World {
    // Another folder beside the kubelet's, which holds sockets alone.
    const root = mkdtempSync(join(tmpdir(), "kvm-"));
    const folder = mkdtempSync(join(root, "p"));
    return new World(root, folder, options);
  }

  /** A device that anybody may open stands for /dev/kvm. */
  bringDevice(): void {
    this.takeDevice();
    symlinkSync("/dev/null", this.device);
  }

  takeDevice(): void {
    rmSync(this.device, { force: true });
  }

  /** The plugin's sockets in the folder. */
  get sockets(): string[] {
    return readdirSync(this.folder).filter((name) => name.startsWith("kvm-"));
  }

  get socket(): string {
    return join(this.folder, this.sockets[0] ?? "none");
  }

  /** Waits until the kubelet knows that all devices are so. */
  async kubeletSees(health: "Healthy" | "Unhealthy"): Promise<void> {
    const { KVM_DEVICES: all } = this.config;
    await expect.poll(() => this.kubelet.count(health), SOON).toBe(all);
  }

  async until(what: () => unknown): Promise<void> {
    await expect.poll(() => Boolean(what()), SOON).toBe(true);
  }

  /** Resolves once the plugin has ended: it must not, by itself. */
  stopped(): Promise<void> {
    this.plugin.stop();
    return this.ended;
  }

  async end(): Promise<void> {
    await this.stopped();
    this.kubelet.stop();
    await removeFolder(this.root);
  }
}
