import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';

/** A program that tests run and npm does not install. */
interface Tool {
  readonly name: string;
  /** Folders of test/ that run it. */
  readonly usedBy: readonly string[];
  /** Environment variable with the program's path, which tests read. Without it PATH decides. */
  readonly setting?: string;
  /** Names to search on PATH, or absolute paths. */
  readonly candidates: readonly string[];
  /** Arguments with which a suitable program exits with 0; without them any program of this name is accepted. */
  readonly probe?: readonly string[];
  readonly debianPackages: readonly string[];
  readonly otherwise: string;
}

const TOOLS: readonly Tool[] = [
  {
    name: 'chromium',
    usedBy: ['browser'],
    setting: 'CHROMIUM_BIN',
    candidates: ['chromium', 'chromium-browser', 'google-chrome'],
    debianPackages: ['chromium'],
    otherwise: 'brew install --cask chromium',
  },
  {
    name: 'curl',
    usedBy: ['e2e'],
    candidates: ['curl'],
    debianPackages: ['curl'],
    otherwise: 'brew install curl',
  },
  {
    name: 'python3 with python-socketio',
    usedBy: ['e2e'],
    setting: 'PYTHON_BIN',
    // Debian's own Python comes first, because another one on PATH would not find Debian's packages.
    candidates: ['/usr/bin/python3', 'python3'],
    probe: ['-c', 'import socketio, websocket, requests'],
    debianPackages: ['python3', 'python3-socketio', 'python3-websocket', 'python3-requests'],
    otherwise: 'brew install python && pip3 install "python-socketio[client]"',
  },
  {
    name: 'redis-server',
    usedBy: ['contract', 'property', 'redis', 'faults', 'e2e', 'hostile'],
    setting: 'REDIS_SERVER_BIN',
    candidates: ['redis-server', 'valkey-server'],
    debianPackages: ['redis-server'],
    otherwise: 'brew install redis',
  },
  {
    name: 'nats-server',
    usedBy: ['sinks', 'e2e'],
    setting: 'NATS_SERVER_BIN',
    candidates: ['nats-server', '/usr/sbin/nats-server'],
    debianPackages: ['nats-server'],
    otherwise: 'brew install nats-server',
  },
  {
    name: 'haproxy',
    usedBy: ['e2e'],
    setting: 'HAPROXY_BIN',
    // Debian installs it in /usr/sbin, which is not on a user's PATH.
    candidates: ['haproxy', '/usr/sbin/haproxy'],
    debianPackages: ['haproxy'],
    otherwise: 'brew install haproxy',
  },
  {
    name: 'postgres',
    usedBy: ['sinks', 'faults', 'e2e'],
    setting: 'POSTGRES_BIN',
    // Debian has a folder for each version, which is not on PATH.
    candidates: [
      'postgres',
      ...[18, 17, 16, 15, 14, 13].map((version) => `/usr/lib/postgresql/${version}/bin/postgres`),
    ],
    debianPackages: ['postgresql'],
    otherwise: 'brew install postgresql',
  },
  {
    name: 'pgbouncer',
    usedBy: ['sinks'],
    setting: 'PGBOUNCER_BIN',
    candidates: ['pgbouncer', '/usr/sbin/pgbouncer'],
    debianPackages: ['pgbouncer'],
    otherwise: 'brew install pgbouncer',
  },
];

/** Debian's package would start a server of its own, which no test uses. */
const NO_CLUSTER = '/etc/postgresql-common/createcluster.d/tallycast-tests.conf';
/** Folders of test/ that run the built gateway. */
const RUN_THE_GATEWAY = ['e2e', 'browser', 'faults', 'hostile'];
const INSTALL_MS = 600_000;

/** The fields used of Jest's global configuration. */
interface Run {
  readonly rootDir: string;
  readonly testPathPatterns: {
    toExecutor(options: { rootDir: string }): { isMatch(path: string): boolean };
  };
}

/**
 * Runs once before all tests and ensures that the programs they need are installed, or ends the run with instructions. A run
 * of a few files requires only the programs that these need.
 */
export default function globalSetup(run: Run): void {
  const selected = selectedFolders(run);
  if (RUN_THE_GATEWAY.some((folder) => selected.has(folder)) && !existsSync(join(run.rootDir, 'dist', 'main.js'))) {
    throw new Error('dist/main.js is missing: these tests run the built gateway. Run `npm run build` first.');
  }
  const needed = TOOLS.filter(({ usedBy }) => usedBy.some((folder) => selected.has(folder)));
  const missing = needed.filter((tool) => findProgram(tool) === undefined);
  if (missing.length > 0) install(missing);
  for (const tool of needed) if (tool.setting !== undefined) process.env[tool.setting] = findProgram(tool)!;
}

function selectedFolders({ rootDir, testPathPatterns }: Run): ReadonlySet<string> {
  const patterns = testPathPatterns.toExecutor({ rootDir });
  const root = join(rootDir, 'test');
  const isSelected = (folder: string): boolean =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).some(
      (file) => file.endsWith('.test.ts') && patterns.isMatch(join(root, folder, file)),
    );
  const folders = readdirSync(root, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return new Set(folders.map(({ name }) => name).filter(isSelected));
}

function findProgram(tool: Tool): string | undefined {
  const set = tool.setting === undefined ? undefined : process.env[tool.setting];
  if (tool.setting === undefined || set === undefined) {
    return tool.candidates.map(searchPath).find((path) => path !== undefined && works(tool, path));
  }
  const path = searchPath(set);
  if (path !== undefined && works(tool, path)) return path;
  throw new Error(`${tool.setting}=${set} does not work as ${tool.name}: unset it, or name another program`);
}

function searchPath(program: string): string | undefined {
  const directories = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  return directories.map((directory) => join(directory, program)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function works({ probe }: Tool, path: string): boolean {
  if (probe === undefined) return true;
  try {
    execFileSync(path, probe, { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

function install(missing: readonly Tool[]): void {
  const names = missing.map(({ name }) => name).join(', ');
  const packages = missing.flatMap(({ debianPackages }) => debianPackages);
  const how = [
    `On Debian or Ubuntu: apt-get install --no-install-recommends ${packages.join(' ')}`,
    ...missing.map(({ name, otherwise }) => `Elsewhere, ${name}: ${otherwise}`),
    ...missing.flatMap(({ name, setting }) =>
      setting === undefined ? [] : [`Or set ${setting} to the path of ${name}.`],
    ),
  ].join('\n');
  const isDebian = existsSync('/etc/debian_version') && searchPath('apt-get') !== undefined;
  if (!isDebian || process.getuid?.() !== 0) throw new Error(`the tests need ${names}.\n${how}`);

  process.stderr.write(`test setup: installing ${packages.join(' ')} with apt-get\n`);
  try {
    mkdirSync(dirname(NO_CLUSTER), { recursive: true });
    writeFileSync(NO_CLUSTER, 'create_main_cluster = false\n');
    aptGet(['update']);
    aptGet(['install', '--yes', '--no-install-recommends', ...packages]);
  } catch (error) {
    throw new Error(`the tests need ${names}, and installing it failed: ${String(error)}\n${how}`, { cause: error });
  } finally {
    rmSync(NO_CLUSTER, { force: true });
  }
  const still = missing.filter((tool) => findProgram(tool) === undefined).map(({ name }) => name);
  if (still.length > 0) throw new Error(`apt-get installed no working ${still.join(', ')}.\n${how}`);
}

/** Prints nothing; if it fails, the error has its output. Waits for another running apt-get. */
function aptGet(args: readonly string[]): void {
  execFileSync('apt-get', ['-qq', '-o', 'DPkg::Lock::Timeout=120', ...args], {
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    timeout: INSTALL_MS,
  });
}
