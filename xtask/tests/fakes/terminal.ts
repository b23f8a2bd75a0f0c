// Runs a program in a terminal of a given width and says what it wrote there: `terminal.ts COLUMNS PROGRAM [ARGUMENT…]`.

const [columns, ...command] = Bun.argv.slice(2) as [string, ...string[]];
let written = "";
const decoder = new TextDecoder();
const child = Bun.spawn(command, {
	env: process.env,
	terminal: {
		cols: Number(columns),
		rows: 24,
		data: (_terminal, bytes) => {
			written += decoder.decode(bytes, { stream: true });
		},
	},
});
const code = await child.exited;
// What it wrote last may still be on its way.
for (let before = -1; before !== written.length; ) {
	before = written.length;
	await Bun.sleep(150);
}
child.terminal?.close();
process.stdout.write(written);
process.exit(code);
