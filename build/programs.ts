/** Files of src/ that run as a process or a worker thread of their own: each is a file of dist/ with the same path. */
export const programs: readonly string[] = ["main", "config/reader", "dataplane/worker", "demo/lines", "demo/web"];
