/** Seconds that a container may be in a state that passes, by its status and health. */
const patience: Record<string, number> = {
  "running starting": 300,
  // Of a paused one the engine says so until the next probe.
  "running unhealthy": 60,
  "restarting starting": 60,
};

/**
 * Waits until a started container is healthy, or can't become healthy.
 *
 * @param inspect one look at the container with a format of `docker inspect`
 * @returns its status and health. @example "running healthy", "exited unhealthy"
 */
export async function settled(inspect: (format: string) => Promise<string>): Promise<string> {
  const began = Date.now();
  for (;;) {
    const state = await inspect("{{.State.Status}} {{.State.Health.Status}}");
    if (Date.now() - began >= (patience[state] ?? 0) * 1000) return state;
    await new Promise((wake) => setTimeout(wake, 1_000));
  }
}
