// Yjs and Automerge: replicas claim keys of their own, alone; then each takes in what each other one made, as bytes.
// One row a library: name and version, milliseconds of processor time of the merge, bytes exchanged.
//
//   NODE_PATH=DIR/node_modules node rooms_peers.cjs REPLICAS CLAIMS
"use strict";

const replicas = Number(process.argv[2] || 10);
const claims = Number(process.argv[3] || 1000);

const claim = (one, number) => ({ slot: `Oak@2027-01-04@${(one * 7 + number * 13) % 500}`, by: `replica-${one}`, ms: 1795000000000 + number });

function row(name, version, work) {
  const before = process.cpuUsage();
  const bytes = work();
  const used = process.cpuUsage(before);
  const ms = (used.user + used.system) / 1000;
  console.log(`| ${name} ${version} | ${ms.toFixed(0)} | ${(bytes / 1e6).toFixed(1)} | none |`);
}

function expectAll(counts) {
  if (counts.some((count) => count !== replicas * claims)) throw new Error(`not merged: ${counts}`);
}

function yjs(Y, version) {
  const docs = Array.from({ length: replicas }, () => new Y.Doc());
  docs.forEach((doc, one) => {
    for (let number = 0; number < claims; number++) doc.getMap("claims").set(`${one}-${number}`, claim(one, number));
  });
  row("Yjs", version, () => {
    let bytes = 0;
    const made = docs.map((doc) => Y.encodeStateAsUpdate(doc));
    docs.forEach((doc, to) => made.forEach((update, from) => {
      if (from !== to) { bytes += update.length; Y.applyUpdate(doc, update); }
    }));
    return bytes;
  });
  expectAll(docs.map((doc) => doc.getMap("claims").size));
}

function automerge(A, version) {
  let docs = Array.from({ length: replicas }, () => A.init());
  docs = docs.map((doc, one) => {
    for (let number = 0; number < claims; number++) doc = A.change(doc, (d) => { d[`${one}-${number}`] = claim(one, number); });
    return doc;
  });
  row("Automerge", version, () => {
    let bytes = 0;
    const made = docs.map((doc) => A.getAllChanges(doc));
    docs = docs.map((doc, to) => made.reduce((merged, changes, from) => {
      if (from === to) return merged;
      bytes += changes.reduce((sum, change) => sum + change.length, 0);
      return A.applyChanges(merged, changes)[0];
    }, doc));
    return bytes;
  });
  expectAll(docs.map((doc) => Object.keys(doc).length));
}

for (const [library, measure] of [["yjs", yjs], ["@automerge/automerge", automerge]]) {
  let path;
  try { path = require.resolve(library); } catch {
    console.error(`${library} is not installed, so it is left out (see rooms_peers.sh).`);
    continue;
  }
  const at = path.lastIndexOf(`node_modules/${library}/`);
  const version = JSON.parse(require("fs").readFileSync(`${path.slice(0, at)}node_modules/${library}/package.json`)).version;
  measure(require(library), version);
}
