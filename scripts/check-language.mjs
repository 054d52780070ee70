// Finds comments and prose that a reader of the field stumbles over (CONTRIBUTING.md, "Language"). npm run check.
//
//     node scripts/check-language.mjs [--update]
//
// Files in scripts/language-todo.json have not been rewritten yet: they may break the rules, and leave the list when they
// do not any more. --update takes those files out of it that follow the rules; nothing adds one.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const TODO = 'scripts/language-todo.json';
const CODE = /\.(ts|tsx|mjs|cjs|js|lua)$/;
const PROSE = /\.md$/;
/** Decisions and changes are records of their time. */
const NOT_CHECKED = /^(docs\/decisions\/|CHANGELOG\.md$|client\/dist\/)/;
const CELL_MAX = 120;

/** A comment names its subject. */
const SUBJECTLESS = /^(?:\/\*\*?|\/\/|--|\*)\s*(What|Who|Whoever|Of|By which)\b/;
const WORDS = [
  [/\b[Ss]o (many|long|much)\b(?! (that|as))/, '"this many", "this long"'],
  [/\banew\b/, '"again"'],
  [/\bat hand\b/, '"current"'],
  [/\bof late\b/, '"recently"'],
  [/\bbe it\b/, '"even if"'],
  [/, for (it|they|there)\b/, '"because"'],
];

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { encoding: 'utf8' })
  .split('\n')
  .filter((file) => (CODE.test(file) || PROSE.test(file)) && !NOT_CHECKED.test(file) && existsSync(file));
const todo = new Set(JSON.parse(readFileSync(TODO, 'utf8')));
const faults = new Map(files.map((file) => [file, faultsIn(file)]));

if (process.argv.includes('--update')) {
  const left = files.filter((file) => todo.has(file) && faults.get(file).length > 0);
  writeFileSync(TODO, `${JSON.stringify(left, null, 2)}\n`);
} else {
  for (const [file, found] of faults) {
    if (!todo.has(file)) for (const fault of found) fail(`${file}:${fault}`);
    else if (found.length === 0) fail(`${file} follows the rules: take it out of ${TODO} (--update does)`);
  }
  for (const file of todo) if (!faults.has(file)) fail(`${file} is gone: take it out of ${TODO} (--update does)`);
  console.log(`${todo.size} files still to be rewritten`);
}

function fail(message) {
  console.error(message);
  process.exitCode = 1;
}

/** @returns `line: what is wrong`, for each fault */
function faultsIn(file) {
  const lines = readFileSync(file, 'utf8').split('\n');
  return PROSE.test(file) ? faultsOfProse(lines) : faultsOfCode(lines);
}

function faultsOfProse(lines) {
  let isCode = false;
  return lines.flatMap((line, i) => {
    if (line.startsWith('```')) isCode = !isCode;
    if (isCode) return [];
    const cells = line.startsWith('|') ? line.split('|') : [];
    const long = cells.filter((cell) => cell.trim().length > CELL_MAX);
    return [...wordsIn(line, i), ...long.map(() => `${i + 1}: a table cell has over ${CELL_MAX} characters`)];
  });
}

function faultsOfCode(lines) {
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
    // Further lines of a comment of `//` or `--` go on with a sentence.
    const goesOn = /^(\/\/|--)/.test(text) && /^(\/\/|--)/.test(previous);
    const subjectless = isFirst && !goesOn && SUBJECTLESS.test(text);
    return [...(subjectless ? [`${i + 1}: a comment names its subject: ${text}`] : []), ...wordsIn(text, i)];
  });
}

function wordsIn(text, i) {
  return WORDS.filter(([word]) => word.test(text)).map(
    ([word, better]) => `${i + 1}: ${word.exec(text)[0]}: ${better}`,
  );
}
