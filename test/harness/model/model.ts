/** A sandbox that a client was told of, and has not been told that it is deleted. */
export type Known = { id: string; name: string; ephemeral: boolean };

/** What the API has promised so far. It knows of each thing either what must be, or that it can't know ("in doubt"). */
export class Model {
  /** By name: of the sandboxes and, under their keys, of volumes and snapshots. */
  private readonly known = new Map<string, Known>();
  private readonly doubtful = new Set<string>();
  private readonly lingering = new Set<string>();
  private readonly requests = new Map<string, { underWay: number; begun: number }>();
  /** Faults are on, or something that failed because of them may not be settled yet: 5xx are allowed. */
  troubled = false;

  get = (name: string): Known | undefined => this.known.get(name);
  all = (): Known[] => [...this.known.values()];

  /** Whether something may have become of the name that no answer told of. */
  inDoubt = (name: string): boolean => this.doubtful.has(name);

  add(made: Known): void {
    this.known.set(made.name, made);
  }

  /** The name's sandbox was deleted. */
  delete(name: string, id: string): void {
    if (this.known.get(name)?.id === id) this.known.delete(name);
  }

  /** An ephemeral sandbox was asked for: of a name that is free again it may still answer that it stopped. */
  linger(name: string): void {
    this.lingering.add(name);
  }

  lingers = (name: string): boolean => this.lingering.has(name);

  doubt(name: string): void {
    this.doubtful.add(name);
  }

  /** What is really there is the truth, where nobody could know. */
  settle(found: Known[]): void {
    for (const name of this.doubtful) this.known.delete(name);
    for (const each of found) if (this.doubtful.has(each.name)) this.known.set(each.name, each);
    this.doubtful.clear();
    this.troubled = false;
  }

  /** A request about a name begins. The answer, called at its end, tells whether it was the only one all the time. */
  begin(name: string): () => boolean {
    const about = this.requests.get(name) ?? { underWay: 0, begun: 0 };
    this.requests.set(name, about);
    const alone = about.underWay === 0;
    const ticket = ++about.begun;
    about.underWay++;
    return () => {
      about.underWay--;
      return alone && about.begun === ticket;
    };
  }
}

/** The owners of keys, each with names of its own. */
export const OWNERS = ["ann", "bob"] as const;
export type Owner = (typeof OWNERS)[number];
export const otherThan = (owner: Owner): Owner => (owner === "ann" ? "bob" : "ann");

/** What each owner was promised. */
export class Models {
  private readonly models = { ann: new Model(), bob: new Model() };

  of = (owner: Owner): Model => this.models[owner];
  all = (): Model[] => Object.values(this.models);
}

/** Volumes and snapshots have names of their own. */
export const volumeKey = (name: string): string => `volume ${name}`;
export const snapshotKey = (name: string): string => `snapshot ${name}`;
export const isSandbox = ({ name }: Pick<Known, "name">): boolean => !name.includes(" ");
