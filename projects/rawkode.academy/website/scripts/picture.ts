// Draws src/assets/line-map.png. Run it after a change (`bun scripts/picture.ts`) and commit the picture:
// the build only scales and compresses what is committed.
import { fileURLToPath } from "node:url";
import sharp from "sharp";

const WIDTH = 1600;
const HEIGHT = 900;
const GROUND = "#10251d";
const GREEN = "#4fd1a1";
const AMBER = "#f2a65a";
const BLUE = "#7fb4f5";
const PAPER = "#f4f8f6";

const grid = Array.from({ length: 21 }, (_, column) =>
  Array.from({ length: 13 }, (_, row) => `<circle cx="${column * 80}" cy="${50 + row * 80}" r="2" fill="#1f3d31"/>`).join(""),
).join("");

const line = (path: string, colour: string) =>
  `<path d="${path}" fill="none" stroke="${GROUND}" stroke-width="38" stroke-linecap="round" stroke-linejoin="round"/>` +
  `<path d="${path}" fill="none" stroke="${colour}" stroke-width="22" stroke-linecap="round" stroke-linejoin="round"/>`;

const stop = (x: number, y: number) =>
  `<circle cx="${x}" cy="${y}" r="21" fill="${GROUND}" stroke="${PAPER}" stroke-width="9"/>`;

const interchange = (x: number, y: number, length: number) =>
  `<rect x="${x - 28}" y="${y - 28}" width="56" height="${length + 56}" rx="28" fill="${GROUND}" stroke="${PAPER}" stroke-width="10"/>`;

const terminus = (x: number, y: number, colour: string) =>
  `<circle cx="${x}" cy="${y}" r="46" fill="${PAPER}"/><circle cx="${x}" cy="${y}" r="24" fill="${colour}"/>`;

// Three lines leave one interchange, the commit: the sandbox (blue), production (green), and a preview (amber)
// that runs beside production for a while and joins it at the merge.
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}">
  <rect width="100%" height="100%" fill="${GROUND}"/>
  ${grid}
  ${line("M 240 370 H 420 L 600 190 H 1300", BLUE)}
  ${line("M 240 530 H 420 L 600 710 H 860 L 1120 450", AMBER)}
  ${line("M 240 450 H 1360", GREEN)}
  ${interchange(240, 370, 160)}
  ${stop(780, 190)}${stop(1040, 190)}
  ${stop(520, 450)}${stop(720, 450)}${stop(920, 450)}${stop(1120, 450)}
  ${stop(670, 710)}${stop(790, 710)}
  ${terminus(1300, 190, BLUE)}
  ${terminus(1360, 450, GREEN)}
</svg>`;

await sharp(Buffer.from(svg))
  .png({ palette: true, colours: 64, compressionLevel: 9, effort: 10 })
  .toFile(fileURLToPath(new URL("../src/assets/line-map.png", import.meta.url)));
