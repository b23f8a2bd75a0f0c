/** The time in milliseconds that a button shows that it has copied. */
const SHOWN = 2_000;

function enable(button: HTMLButtonElement): void {
  const label = button.textContent;
  let timer: ReturnType<typeof setTimeout> | undefined;
  button.setAttribute("aria-live", "polite");
  button.hidden = false;
  button.addEventListener("click", async () => {
    const copied = await navigator.clipboard.writeText(button.dataset["copy"] ?? "").then(
      () => true,
      () => false,
    );
    button.textContent = copied ? "Copied" : "Not copied";
    clearTimeout(timer);
    timer = setTimeout(() => {
      button.textContent = label;
    }, SHOWN);
  });
}

// Pages without TLS have no clipboard, except on this machine.
if ("clipboard" in navigator) document.querySelectorAll<HTMLButtonElement>("button[data-copy]").forEach(enable);
