/** The pages in the order in which they are read. Navigation, and the link to the next page, follow this list. */
export const pages = [
  { path: "/how-it-works/", name: "How it works", summary: "From the commit to the live site, step by step." },
  { path: "/deploys/", name: "Deploys", summary: "What is deployed, where to, and when nothing has to be done." },
  { path: "/previews/", name: "Previews", summary: "One comment on the merge request, with a link that works." },
  { path: "/rollbacks/", name: "Rollbacks", summary: "What is live now, and how the former version comes back." },
  { path: "/engines/", name: "Engines", summary: "The same steps, run by Dagger or by your own machine." },
  { path: "/sandbox/", name: "Sandbox", summary: "Deploy without an account: a stand-in on your own machine." },
] as const;

export interface Section {
  id: string;
  title: string;
}
