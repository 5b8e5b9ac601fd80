import { stat } from "node:fs/promises";
import type { SandboxSpec } from "../../sandboxes/spec";
import type { Msb } from "./command-line";
import { canonical, type MirrorPrefixes, mirrored, parseReference } from "./image-reference";
import { keptFile, readKept } from "./registry-settings";

/** msb knows no mirrors: the reference that it is given is another one than the client's, which stays in the record. */
export class Mirrors {
  private prefixes: MirrorPrefixes = {};
  private logins: string[] = [];
  private mtime = 0;

  constructor(
    private readonly home: string,
    private readonly msb: Msb,
  ) {}

  /**
   * The reference that msb is asked for. Images that are cached under their own name, as those loaded from an
   * archive are, need no registry; and credentials sent with a request are for the registry that it names.
   */
  async referenceFor({ reference, pull_policy }: SandboxSpec, hasLogin: boolean): Promise<string> {
    if (hasLogin) return reference;
    const other = mirrored(reference, await this.current());
    if (other === undefined) return reference;
    return pull_policy !== "always" && (await this.isCached(reference)) ? reference : other;
  }

  /** Whether msb would show a login of the stack's to get the image. */
  async needsLogin(spec: SandboxSpec): Promise<boolean> {
    const { registry } = parseReference(await this.referenceFor(spec, false));
    return this.logins.includes(registry);
  }

  /** The names under which msb may have the image: its own, and the mirror's. */
  namesOf(reference: string): string[] {
    const other = mirrored(reference, this.prefixes);
    return other === undefined ? [reference] : [reference, other];
  }

  private async isCached(reference: string): Promise<boolean> {
    const wanted = canonical(reference);
    const images = await this.msb.images();
    return images.some((image) => canonical(image.reference) === wanted);
  }

  /** The settings, read again when they have changed. */
  async current(): Promise<MirrorPrefixes> {
    const { mtimeMs } = await stat(keptFile(this.home)).catch(() => ({ mtimeMs: 0 }));
    if (mtimeMs === this.mtime) return this.prefixes;
    const { mirrors, logins } = await readKept(this.home);
    this.prefixes = mirrors;
    this.logins = logins;
    this.mtime = mtimeMs;
    return this.prefixes;
  }
}
