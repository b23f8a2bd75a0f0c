// Prints the Cloudflare module's results for given inputs, so that another implementation can be compared with it. Reads one JSON
// document, `{"arguments": [step…], "verdicts": [{"command", "exitCode", "output"}…]}`, and prints one of the same shape
// with the results.
import { wranglerArguments, type Command, type UploadStep } from "../cloudflare/src/arguments.js";
import { verdict } from "../cloudflare/src/verdict.js";

interface Input {
  arguments?: UploadStep[];
  verdicts?: { command: Command; exitCode: number; output: string }[];
}

const input = (await Bun.stdin.json()) as Input;
const results = {
  arguments: (input.arguments ?? []).map(wranglerArguments),
  verdicts: (input.verdicts ?? []).map(({ command, exitCode, output }) => verdict(command, exitCode, output)),
};
process.stdout.write(`${JSON.stringify(results, null, 2)}\n`);
