#!/usr/bin/env node
// Old versions of Node must be able to parse this file, so that they print the message below. It therefore uses no syntax newer
// than Node 12, has no static import, and is not bundled. See `engines` in package.json.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19) || major === 21 || (major === 22 && minor < 13)) {
  process.stderr.write(
    'Tallycast runs on Node 20.19 or later, 22.13 or later, 24 and 26; this is Node ' + process.versions.node + '\n',
  );
  process.exit(1);
} else {
  void import('./cli/run.js').then((cli) => cli.run(process.argv.slice(2), process.env));
}
