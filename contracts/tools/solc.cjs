// Answers the two calls forge makes (`--version`, `--standard-json`) from the WebAssembly compiler.
const fs = require("fs");
const path = require("path");
const solc = require("../../node_modules/solc");

const args = process.argv.slice(2);
if (args.includes("--version")) {
  const version = solc.version().replace(".Emscripten.clang", ".Linux.g++");
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
  process.exit(0);
}

const values = (flag) => args.flatMap((arg, i) => (arg === flag ? [args[i + 1]] : []));
const folders = ["", ...values("--base-path"), ...values("--include-path")];
const readImport = (name) => {
  for (const folder of folders) {
    const file = path.join(folder, name);
    if (fs.existsSync(file)) return { contents: fs.readFileSync(file, "utf8") };
  }
  return { error: `not found: ${name}` };
};

const source = fs.readFileSync(args.find((arg) => arg.endsWith(".json")) || 0, "utf8");
let answer = Buffer.from(solc.compile(source, { import: readImport }));
// A pipe takes 64 KiB at a time and says EAGAIN in between.
while (answer.length) {
  try {
    answer = answer.subarray(fs.writeSync(1, answer));
  } catch (error) {
    if (error.code !== "EAGAIN") throw error;
  }
}
