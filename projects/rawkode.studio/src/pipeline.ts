export interface Step {
  name: string;
  does: string;
}

/** The steps of a deploy, in order. */
export const steps: readonly Step[] = [
  { name: "Plan", does: "Finds the projects that a commit affects, with reasons." },
  { name: "Build", does: "Builds from the lock file, without any credential." },
  { name: "Upload", does: "Uploads the version to Cloudflare Workers with the pinned wrangler." },
  { name: "Verify", does: "Requests the health path until the new version answers." },
  { name: "Record", does: "Saves what is live, since when, and from which commit." },
];
