import config from "../../../../dagger/config/config.json";

/** The pages in the order in which they are read. Navigation, and the link to the next page, follow this list. */
export const pages = [
  { path: "/how-it-works/", name: "How it works", summary: "From the commit to the live site, step by step." },
  { path: "/deploys/", name: "Deploys", summary: "Which projects are deployed, to which environment, and when a deployment is skipped." },
  { path: "/previews/", name: "Previews", summary: "One comment in the merge request, with working links." },
  { path: "/rollbacks/", name: "Rollbacks", summary: "See what is live, and return to a previous version." },
  { path: "/engines/", name: "Engines", summary: "The same steps, in Dagger or on your own machine." },
  { path: "/sandbox/", name: "Sandbox", summary: "Deploy without an account, to a stand-in on your own machine." },
] as const;

const { projectId, url } = config.gitlab;
const isNumber = /^\d+$/.test(projectId);

/** The page of the repository, by the shared config file. Null as long as the file has the placeholder 0. */
export const repository = projectId === "0" ? null : isNumber ? `${url}/projects/${projectId}` : `${url}/${projectId}`;

/** The folder with the documentation of the tool. Null if the address of the repository is not known. */
export const documentation = repository === null || isNumber ? null : `${repository}/-/tree/HEAD/docs`;

export interface Section {
  id: string;
  title: string;
}
