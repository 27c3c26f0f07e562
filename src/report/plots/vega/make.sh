#!/bin/sh
# Makes runtime.js.gz: Vega, Vega-Lite and Vega's interpreter of expressions (which does without `eval`, so that pages
# can forbid it), each as its makers published it, with all licences in front. Needs npm and node.
#
#     sh src/report/plots/vega/make.sh
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
npm install --silent --ignore-scripts --no-audit --no-fund vega@6.4.0 vega-lite@6.4.3 vega-interpreter@2.3.2
cat > join.js <<'JS'
const fs = require("fs"), zlib = require("zlib"), path = require("path");
const at = (name, file) => path.join("node_modules", name, file);
// What the two bundles are made of: all that `vega` depends on, and of vega-lite all but its command line.
const parts = new Set();
const visit = (name) => {
  if (parts.has(name)) return;
  parts.add(name);
  const own = JSON.parse(fs.readFileSync(at(name, "package.json"), "utf8"));
  for (const next of Object.keys(own.dependencies || {})) visit(next);
};
["vega", "vega-interpreter", "json-stringify-pretty-compact", "tslib"].forEach(visit);
parts.add("vega-lite");
// Only used under Node, by programs of their own.
["commander", "iconv-lite", "rw", "safer-buffer", "@types/geojson", "@types/estree"].forEach((name) => parts.delete(name));
const licences = new Map();
for (const name of [...parts].sort()) {
  const own = JSON.parse(fs.readFileSync(at(name, "package.json"), "utf8"));
  const file = fs.readdirSync(at(name, "")).find((file) => /^licen[sc]e/i.test(file));
  const text = file ? fs.readFileSync(at(name, file), "utf8") : `${own.license}`;
  const key = text.replace(/\r/g, "").trim();
  licences.set(key, [...(licences.get(key) || []), `${name} ${own.version}`]);
}
let notice = "";
for (const [text, names] of licences) notice += `${names.join(", ")}\n\n${text}\n\n${"-".repeat(72)}\n\n`;
const read = (name, file) => fs.readFileSync(at(name, file), "utf8").replace(/\n?\/\/# sourceMappingURL=.*\n?$/, "\n");
let interpreter = read("vega-interpreter", "build/vega-interpreter.js");
interpreter = interpreter
  .replace(/^import \{([^}]*)\} from 'vega-util';/, "(() => { const {$1} = vega;")
  .replace(/export \{ expression as expressionInterpreter \};\s*$/, "vega.expressionInterpreter = expression; })();\n");
if (!interpreter.startsWith("(() =>") || !interpreter.endsWith("})();\n")) throw new Error("vega-interpreter has changed");
const all = `/*\n${notice.replace(/\*\//g, "* /").trimEnd()}\n*/\n` +
  read("vega", "build/vega.min.js") + read("vega-lite", "build/vega-lite.min.js") + interpreter;
if (/<\/script|<!--/i.test(all)) throw new Error("this cannot stand between <script> tags");
fs.writeFileSync(process.argv[2], zlib.gzipSync(all, { level: 9 }));
fs.writeFileSync(process.argv[3], notice.trimEnd() + "\n");
JS
node join.js "$here/runtime.js.gz" "$here/LICENSES.txt"
