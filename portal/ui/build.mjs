// Compiles portal/ui into portal/static/portal (committed, so a Python-only install has a working site).
// Run it by `npm run ui`, or with any Node 20+: node portal/ui/build.mjs
import { copyFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import rtlcss from "rtlcss";
import * as sass from "sass";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");
const modules = join(root, "node_modules");
const out = join(root, "portal", "static", "portal");

const notice = "/*! Contains nhsuk-frontend 10.6.1, MIT, (c) Crown Copyright NHS England. See LICENSES.txt */\n";
const { css } = sass.compile(join(here, "portal.scss"), {
  style: "compressed",
  charset: false,
  importers: [{ findFileUrl: (url) => (url.startsWith("nhsuk-frontend/") ? pathToFileURL(join(modules, url)) : null) }],
  quietDeps: true,
  logger: sass.Logger.silent,
});

// The two promises of the theme: nothing foreign is fetched, no NHS blue is left.
const foreign = css.match(/url\(["']?(https?:)?\/\/[^)]*\)/g) ?? [];
if (foreign.length || /#005eb8/i.test(css)) {
  throw new Error(`portal.css must be our own: ${foreign.join(" ") || "NHS blue found"}`);
}

mkdirSync(join(out, "vendor"), { recursive: true });
writeFileSync(join(out, "portal.css"), `${notice}${css}\n`);
writeFileSync(join(out, "portal.rtl.css"), `${notice}${rtlcss.process(css)}\n`);
cpSync(join(here, "assets"), out, { recursive: true });

const vendored = { "htmx.org/dist/htmx.min.js": "htmx.min.js", "htmx.org/dist/ext/hx-csp.min.js": "hx-csp.min.js" };
for (const [from, to] of Object.entries(vendored)) {
  // Source maps are not shipped, so the pointer to them would only be a 404.
  const text = readFileSync(join(modules, from), "utf8").replace(/\n?\/\/# sourceMappingURL=.*\s*$/, "\n");
  writeFileSync(join(out, "vendor", to), text);
}
copyFileSync(join(modules, "htmx.org", "LICENSE"), join(out, "vendor", "htmx.LICENSE.txt"));
console.log(`portal.css ${Math.round(css.length / 1024)} KiB, and its right-to-left copy`);
