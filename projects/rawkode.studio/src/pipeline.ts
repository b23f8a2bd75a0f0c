export interface Step {
  name: string;
  does: string;
}

/** The steps of a deploy, in order. */
export const steps: readonly Step[] = [
  { name: "Plan", does: "Finds the projects that a commit touches, and says why." },
  { name: "Build", does: "Builds with Bun from the lock file, without any credential." },
  { name: "Upload", does: "Sends the version to Cloudflare Workers with the pinned wrangler." },
  { name: "Verify", does: "Asks the health address until the new version answers." },
  { name: "Record", does: "Writes down what is live, since when, and from which commit." },
];
