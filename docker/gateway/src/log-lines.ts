/** Characters of a text in a line of the log, and of a stack. What clients choose is in some of them. */
const MOST_TEXT = 1_000;
const MOST_STACK = 4_000;

/** Options of a program's logger: the form of its lines, and 16 KiB for one at most, whatever a text is made of. */
export const logOptions = (service: string, level: string) => ({
  level,
  base: { service },
  timestamp: () => `,"time":"${new Date().toISOString()}"`,
  formatters: { log: cutTexts },
  serializers: { err: cutError },
});

function cutTexts(fields: Record<string, unknown>): Record<string, unknown> {
  const isShort = (value: unknown) => typeof value !== "string" || value.length <= MOST_TEXT;
  if (Object.values(fields).every(isShort)) return fields;
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, typeof value === "string" ? cut(value) : value]),
  );
}

/** Without the causes of an error, and what else it carries: they have no bound. */
function cutError(error: unknown): { type: string; message: string; stack: string } {
  // Most are texts, which fastify's type of a serializer does not know.
  if (!(error instanceof Error)) return cut(String(error)) as never;
  const { name: type, message, stack = "" } = error;
  return { type, message: cut(message), stack: cut(stack, MOST_STACK) };
}

const cut = (text: string, most = MOST_TEXT): string =>
  text.length > most ? `${text.slice(0, most)}…` : text;
