/// <reference types="astro/client" />

// Diagrams are drawn by integrations/d2.ts while the site is built.
declare module "*.d2?direction=right" {
  const svg: string;
  export default svg;
}
declare module "*.d2?direction=down" {
  const svg: string;
  export default svg;
}
