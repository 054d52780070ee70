// Makes the script file and the modules smaller than the minifier of the build can. npm run build:client.
// It shortens the names of the members that no other code uses: they are a twentieth of the bytes that a page loads.
import { copyFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { minify } from 'terser';
import ts from 'typescript';

/** The gateway serves them; the package has copies. */
const FOLDER = 'dist/client';
const SCRIPTS = ['tallycast.js', 'milestone.js'];
const PACKAGE = 'client/dist';
/** The modules that have code of their own, but for the hooks, which use nothing but what pages use, too. */
const MODULES = 'client/dist/shared';
/** Types with members that pages use, that are sent, or that are stored for a later version of the script. */
const SHARED_TYPES =
  /^(Environment|Clock|Timer|Page|Milestone\w*|Options|Post|Counts|Change|Credentials|UnsentEntry|PostedEvent|Live\w+|NumberElement|\w+Turned)$/;
const HIDDEN = ts.ModifierFlags.Private | ts.ModifierFlags.Protected;

/** Calls back with each declaration of a member, and the name of its type; '' for the members of an unnamed type. */
function visitMembers(folder, pattern, visit) {
  for (const file of readdirSync(folder, { recursive: true }).filter((name) => pattern.test(name))) {
    const descend = (node, type) => {
      const isType = ts.isInterfaceDeclaration(node) || ts.isClassDeclaration(node);
      if (isType || ts.isTypeLiteralNode(node)) for (const member of node.members) visit(member, node.name?.text ?? '');
      const isConstructor = ts.isConstructorDeclaration(node);
      if (isConstructor)
        for (const one of node.parameters) if (ts.isParameterPropertyDeclaration(one, node)) visit(one, type);
      ts.forEachChild(node, (child) => descend(child, isType ? node.name.text : type));
    };
    descend(ts.createSourceFile(file, readFileSync(join(folder, file), 'utf8'), ts.ScriptTarget.Latest, true), '');
  }
}

/** Members of the browser's and the language's own types, of the wire, and of the types above keep their names. */
function findInternalNames() {
  const internal = new Set();
  const kept = new Set();
  const keep = ({ name }) => name && kept.add(name.text);
  visitMembers('node_modules/typescript/lib', /^lib\.(dom|es|decorators)[\w.]*\.d\.ts$/, keep);
  visitMembers('src/protocol', /(?<!\.test)\.ts$/, keep);
  visitMembers('client/src', /(?<!\.test)\.ts$/, (member, type) => {
    const isShared = type === '' || (SHARED_TYPES.test(type) && !(ts.getCombinedModifierFlags(member) & HIDDEN));
    if (member.name && ts.isIdentifier(member.name)) (isShared ? kept : internal).add(member.name.text);
  });
  return [...internal].filter((name) => !kept.has(name));
}

const names = findInternalNames();
const options = {
  module: true,
  ecma: 2020,
  compress: { passes: 3, unsafe_arrows: true, pure_getters: true },
  // `builtins` only switches off a list of browser members that is less complete than the one above.
  mangle: { properties: { regex: new RegExp(`^(${names.join('|')})$`), builtins: true } },
};
/** Modules that import each other need the same short names. */
const nameCache = {};

async function compact(file) {
  const sourceMap = { content: readFileSync(`${file}.map`, 'utf8'), url: `${basename(file)}.map` };
  const { code, map } = await minify(readFileSync(file, 'utf8'), { ...options, nameCache, sourceMap });
  // Variables belong to their module.
  delete nameCache.vars;
  writeFileSync(file, code);
  writeFileSync(`${file}.map`, map);
}

for (const script of SCRIPTS) {
  await compact(join(FOLDER, script));
  for (const name of [script, `${script}.map`]) copyFileSync(join(FOLDER, name), join(PACKAGE, name));
}
for (const name of readdirSync(MODULES)) if (name.endsWith('.js')) await compact(join(MODULES, name));
