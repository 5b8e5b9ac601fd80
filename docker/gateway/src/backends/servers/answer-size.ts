/** Characters of all servers' answers for one page together, and of each at least: a page has no more than the former. */
const PAGE = 1024 * 1024;
const ANSWER = 64 * 1024;

/** Characters that each of so many servers may answer with for a page. */
export const roomFor = (servers: number): number => Math.max(ANSWER, Math.floor(PAGE / Math.max(1, servers)));
