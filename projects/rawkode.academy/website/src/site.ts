import manifest from "../package.json";

/** The pages in the order in which they are read. Navigation, and the link to the next page, follow this list. */
export const pages = [
  { path: "/how-it-works/", name: "How it works", summary: "From the commit to the live site, step by step." },
  { path: "/deploys/", name: "Deploys", summary: "Which projects are deployed, to which environment, and when a deployment is skipped." },
  { path: "/previews/", name: "Previews", summary: "One comment in the merge request, with working links." },
  { path: "/rollbacks/", name: "Rollbacks", summary: "See what is live, and return to a previous version." },
  { path: "/engines/", name: "Engines", summary: "The same steps, in Dagger or on your own machine." },
  { path: "/sandbox/", name: "Sandbox", summary: "Deploy without an account, to a stand-in on your own machine." },
] as const;

/** The page of the repository: `repository` of package.json. Null as long as the field is not there. */
export const repository = (manifest as { repository?: string }).repository ?? null;

/** The folder with the documentation of the tool. Null without the repository. */
export const documentation = repository === null ? null : `${repository}/-/tree/HEAD/docs`;

export interface Section {
  id: string;
  title: string;
}
