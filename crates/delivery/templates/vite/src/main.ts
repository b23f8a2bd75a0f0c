import "./style.css";
import { counter } from "./counter.ts";

const button = document.querySelector<HTMLButtonElement>("#counter");
const output = button?.querySelector("output");
const next = counter();

button?.addEventListener("click", () => {
  if (output) output.value = String(next());
});
