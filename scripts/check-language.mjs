// Finds names, comments and prose that break the rules of CONTRIBUTING.md, "Language". npm run check.
//
//     node scripts/check-language.mjs [--update]
//
// Files in scripts/language-todo.json have not been rewritten yet. They may break the rules, and leave the list when they
// follow them. --update removes those files from the list; nothing adds one.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import ts from 'typescript';

const TODO = 'scripts/language-todo.json';
const CODE = /\.(ts|tsx|mjs|cjs|js|lua)$/;
const PROSE = /\.md$/;
/** Decisions and changes are records of their time. */
const NOT_CHECKED = /^(docs\/decisions\/|CHANGELOG\.md$|client\/dist\/)/;
const CELL_MAX = 120;

/** A comment names its subject. */
const SUBJECTLESS = /^(?:\/\*\*?|\/\/|--|\*)\s*(What|Who|Whoever|Of|By which)\b/;
const PHRASES = [
  [/\b[Ss]o (many|long|much)\b(?! (that|as))/, '"this many", "this long"'],
  [/\banew\b/, '"again"'],
  [/\bat hand\b/, '"current"'],
  [/\bof late\b/, '"recently"'],
  [/\bbe it\b/, '"even if"'],
  [/, for (it|they|there)\b/, '"because"'],
  [/\b[Ww]hoever\b/, 'the name of the actor'],
  [/\b(?:is|are|was|were|be|been|being) (?:told|asked)\b/, '"gets", "sent", "reported", "requested"'],
];

/** Words that no identifier contains, because each has had several meanings. */
const AMBIGUOUS = new Set([
  ...['life', 'lives', 'told', 'asked', 'confirmed', 'floor', 'word', 'words', 'pace'],
  ...['place', 'places', 'part', 'parts', 'quiet', 'round', 'rounds'],
]);
/** Identifiers of languages and libraries. */
const ALLOWED = new Set(['Math.floor', 'Math.round', 'math.floor', 'formatToParts']);
const ALLOWED_IN = [
  // The DOM calls styleable elements `part`.
  [/^client\//, new Set(['part'])],
  // Benches and tests repeat their steps in rounds.
  [/^(bench|test)\/|\.test\.ts$/, new Set(['round', 'rounds'])],
  // Scripts keep math.floor in a local.
  [/\.lua$/, new Set(['floor'])],
  // Names of fields on disk are part of the format.
  [/\/disk\/(data-format|replication-record)(\.test)?\.ts$/, new Set(['confirmed', 'floor', 'place', 'told'])],
];

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => (CODE.test(file) || PROSE.test(file)) && !NOT_CHECKED.test(file) && existsSync(file));
const todo = new Set(JSON.parse(readFileSync(TODO, 'utf8')));
const faults = new Map(files.map((file) => [file, findFaults(file)]));

if (process.argv.includes('--update')) {
  const left = files.filter((file) => todo.has(file) && faults.get(file).length > 0);
  writeFileSync(TODO, `${JSON.stringify(left, null, 2)}\n`);
} else {
  for (const [file, found] of faults) {
    if (!todo.has(file)) for (const fault of found) fail(`${file}:${fault}`);
    else if (found.length === 0) fail(`${file} follows the rules: remove it from ${TODO} (--update does)`);
  }
  for (const file of todo)
    if (!faults.has(file)) fail(`${file} does not exist: remove it from ${TODO} (--update does)`);
  console.log(`${todo.size} files still to be rewritten`);
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

/** @returns `line: fault` for each fault */
function findFaults(file) {
  const text = readFileSync(file, 'utf8');
  const lines = text.split('\n');
  if (PROSE.test(file)) return findFaultsInProse(lines);
  const identifiers = file.endsWith('.lua') ? findLuaIdentifiers(lines) : findIdentifiers(file, text);
  return [...findFaultsInComments(lines), ...findFaultsInNames(file, identifiers)];
}

function findFaultsInProse(lines) {
  let isCode = false;
  return lines.flatMap((line, i) => {
    if (line.startsWith('```')) isCode = !isCode;
    if (isCode) return [];
    const cells = line.startsWith('|') ? line.split('|') : [];
    const long = cells.filter((cell) => cell.trim().length > CELL_MAX);
    return [...findPhrases(line, i), ...long.map(() => `${i + 1}: a table cell has over ${CELL_MAX} characters`)];
  });
}

function findFaultsInComments(lines) {
  let isComment = false;
  return lines.flatMap((line, i) => {
    const text = line.trim();
    const begins = /^(\/\*\*?|\/\/|--)/.test(text);
    const isFirst = begins || (isComment && /^\/\*\*$/.test(lines[i - 1]?.trim() ?? ''));
    const inside = begins || isComment;
    if (text.startsWith('/*')) isComment = true;
    if (text.includes('*/')) isComment = false;
    if (!inside) return [];
    const previous = lines[i - 1]?.trim() ?? '';
    // Further lines of a comment of `//` or `--` continue a sentence.
    const continues = /^(\/\/|--)/.test(text) && /^(\/\/|--)/.test(previous);
    const subjectless = isFirst && !continues && SUBJECTLESS.test(text);
    return [...(subjectless ? [`${i + 1}: a comment names its subject: ${text}`] : []), ...findPhrases(text, i)];
  });
}

function findPhrases(text, i) {
  return PHRASES.filter(([phrase]) => phrase.test(text)).map(
    ([phrase, better]) => `${i + 1}: ${phrase.exec(text)[0]}: ${better}`,
  );
}

/** @returns `[name, line]` of each identifier; `Math.floor` with its object */
function findIdentifiers(file, text) {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const found = [];
  const visit = (node) => {
    if (ts.isIdentifier(node) || ts.isPrivateIdentifier(node)) {
      const { parent } = node;
      const isMath = ts.isPropertyAccessExpression(parent) && parent.expression.getText() === 'Math';
      const name = isMath && parent.name === node ? `Math.${node.text}` : node.text;
      found.push([name, source.getLineAndCharacterOfPosition(node.getStart()).line + 1]);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function findLuaIdentifiers(lines) {
  return lines.flatMap((line, i) => {
    const code = line.replace(/'[^']*'|"[^"]*"/g, "''").replace(/--.*/, '');
    return [...code.matchAll(/(?:math\.)?[A-Za-z_]\w*/g)].map(([name]) => [name, i + 1]);
  });
}

/** One fault a name and file, at its first line. */
function findFaultsInNames(file, identifiers) {
  const allowedHere = ALLOWED_IN.filter(([path]) => path.test(file)).map(([, texts]) => texts);
  const isFault = (text) => AMBIGUOUS.has(text) && !allowedHere.some((texts) => texts.has(text));
  const firstLines = new Map();
  for (const [name, line] of identifiers) {
    if (ALLOWED.has(name) || firstLines.has(name)) continue;
    if (splitName(name).some(isFault)) firstLines.set(name, line);
  }
  return Array.from(firstLines, ([name, line]) => `${line}: ${name}: the name has a word with several meanings`);
}

function splitName(name) {
  return name
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .toLowerCase()
    .split(/[^a-z]+/);
}
