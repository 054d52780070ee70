#!/usr/bin/env node
// The entry is parsed by every Node, however old, so that one that is too old says so: it may use nothing newer than
// Node 12 knows, has no static import, and is shipped as it is compiled here. See `engines` in package.json.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < 20 || (major === 20 && minor < 19) || major === 21 || (major === 22 && minor < 13)) {
  process.stderr.write(
    'Tallycast runs on Node 20.19 or later, 22.13 or later, 24 and 26; this is Node ' + process.versions.node + '\n',
  );
  process.exit(1);
} else {
  void import('./cli/run.js').then((cli) => cli.run(process.argv.slice(2), process.env));
}
