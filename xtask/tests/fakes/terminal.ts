// Runs a program in a terminal of a given width and prints what it wrote there: `terminal.ts COLUMNS PROGRAM [ARGUMENT…]`.
// The variable TYPED is typed as soon as the program asks a question, which ends with `[y/N] `.
// The variable LONGEST_PAUSE names a file for the longest time without output, in milliseconds.
// The variable ANSWERS is a JSON list of questions, each with the text that is typed when it is asked.
// The variable AWAITED is a JSON list of a text and a file, which is written as soon as the program has shown the text.
// The variable FIRST_OUTPUT names a file that is written as soon as the program writes something.
import { writeFileSync } from "node:fs";

const [columns, ...command] = Bun.argv.slice(2) as [string, ...string[]];
let written = "";
let last = performance.now();
let longest = 0;
function pause(): void {
	longest = Math.max(longest, performance.now() - last);
	last = performance.now();
}
const answers: [string, string][] = JSON.parse(process.env.ANSWERS ?? "[]");
const awaited: [string, string] | undefined = process.env.AWAITED && JSON.parse(process.env.AWAITED);
let answered = 0;
const decoder = new TextDecoder();
const child = Bun.spawn(command, {
	env: process.env,
	terminal: {
		cols: Number(columns),
		rows: 24,
		data: (terminal, bytes) => {
			pause();
			if (written === "" && process.env.FIRST_OUTPUT) writeFileSync(process.env.FIRST_OUTPUT, "");
			const asked = written.includes("[y/N] ");
			written += decoder.decode(bytes, { stream: true });
			if (awaited && written.includes(awaited[0])) writeFileSync(awaited[1], "");
			for (let next = answers[0]; next && written.includes(next[0], answered); next = answers[0]) {
				answered = written.length;
				answers.shift();
				terminal.write(next[1]);
			}
			if (!asked && written.includes("[y/N] ") && process.env.TYPED) terminal.write(process.env.TYPED);
		},
	},
});
const code = await child.exited;
pause();
if (process.env.LONGEST_PAUSE) writeFileSync(process.env.LONGEST_PAUSE, longest.toFixed());
// What it wrote last may still be on its way.
for (let before = -1; before !== written.length; ) {
	before = written.length;
	await Bun.sleep(150);
}
child.terminal?.close();
process.stdout.write(written);
process.exit(code);
