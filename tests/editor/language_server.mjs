// A TOML language server as an editor runs it, over lines of JSON instead of framed ones.
//
// node language_server.mjs FOLDER: FOLDER holds node_modules with @taplo/lsp. Nothing is fetched from anywhere.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const { TaploLsp } = createRequire(path.resolve(process.argv[2], "here.js"))("@taplo/lsp");

const environment = {
  cwd: () => process.cwd(),
  envVar: () => undefined,
  envVars: () => [],
  fetch: { fetch: () => Promise.reject(new Error("no network")), Headers, Request, Response },
  findConfigFile: () => undefined,
  glob: () => [],
  isAbsolute: path.isAbsolute,
  now: () => new Date(),
  readFile: (file) => readFile(file),
  stderr: async (bytes) => bytes.length,
  stdErrAtty: () => false,
  stdin: async () => new Uint8Array(),
  stdout: async (bytes) => bytes.length,
  urlToFilePath: (url) => (url.startsWith("file:") ? fileURLToPath(url) : ""),
  writeFile: () => Promise.reject(new Error("nothing is written")),
};
const server = await TaploLsp.initialize(environment, {
  onMessage: (message) => process.stdout.write(`${JSON.stringify(message)}\n`),
});
for await (const line of createInterface({ input: process.stdin })) {
  server.send(JSON.parse(line));
}
process.exit(0);
