/**
 * The one direction of imports: gateway, http -> ingest, fanout, presence -> store -> counters.
 * Checked by test/architecture; `npm run check` runs it too.
 */
const layer = (name, from, allowed) => ({
  name,
  comment: `${from} may import only ${allowed.join(', ')}`,
  severity: 'error',
  from: { path: `^src/${from}/`, pathNot: '\\.module\\.ts$' },
  to: { path: '^src/', pathNot: [`^src/${from}/`, ...allowed.map((a) => `^src/${a}`)] },
});

const core = ['common/', 'protocol/', 'clock\\.ts', 'tokens\\.ts'];
const middle = ['store/counter-store\\.ts', 'counters/', ...core];

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'of files, also where only types are imported',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    { name: 'no-orphans', severity: 'error', from: { orphan: true, path: '^src/', pathNot: '\\.d\\.ts$' }, to: {} },
    layer('protocol-is-the-bottom', 'protocol', []),
    layer('common-has-no-domain', 'common', ['clock\\.ts']),
    layer('counters-are-pure', 'counters', ['common/']),
    layer('store-knows-counters', 'store', ['counters/', ...core]),
    layer('ingest-knows-the-port', 'ingest', middle),
    layer('fanout-knows-the-port', 'fanout', ['presence/', ...middle]),
    layer('presence-stands-alone', 'presence', ['counters/', ...core]),
    layer('gateway-is-an-edge', 'gateway', ['ingest/', 'fanout/', 'presence/', 'access/', ...middle, 'settings\\.ts']),
    layer('regions-know-the-port', 'regions', ['store/regional-store\\.ts', 'counters/', ...core]),
    layer('http-is-an-edge', 'http', [
      ...['ingest/', 'fanout/', 'presence/', 'access/', 'regions/'],
      ...[...middle, 'settings\\.ts'],
    ]),
    layer('workers-pass-connections-on', 'workers', ['ops/', 'settings\\.ts', 'end-signal\\.ts', ...core]),
    layer('access-guards-both-edges', 'access', ['counters/', ...core, 'settings\\.ts']),
    {
      name: 'counters-have-no-dependencies',
      severity: 'error',
      from: { path: '^src/counters/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm', 'core'] },
    },
    {
      name: 'nest-only-at-the-edges',
      comment: 'ingest, fanout, presence, access, regions and stores are plain classes, which src/app/core.module.ts wires',
      severity: 'error',
      from: { path: '^src/(ingest|fanout|presence|store|access|regions)/', pathNot: '\\.module\\.ts$' },
      to: { path: 'node_modules/@nestjs/' },
    },
    {
      name: 'clients-speak-only-the-protocol',
      severity: 'error',
      from: { path: '^(client|client-demo|load)/' },
      to: { path: '^src/', pathNot: '^src/protocol/' },
    },
    {
      name: 'the-demo-uses-the-package-alone',
      comment: 'by its name, as its users do, so that what they can use is what the demo shows',
      severity: 'error',
      from: { path: '^client-demo/' },
      to: { path: '^(client|src)/', dependencyTypesNot: ['aliased-tsconfig-paths'] },
    },
    {
      name: 'the-package-stands-alone',
      comment: 'its users have nothing else; React is theirs, and only of the hook',
      severity: 'error',
      from: { path: '^client/src/', pathNot: ['\\.test\\.ts$', '^client/src/react\\.ts$'] },
      to: { dependencyTypes: ['npm', 'npm-dev', 'npm-no-pkg', 'npm-unknown', 'core'] },
    },
    {
      name: 'load-stands-alone',
      comment: 'it is a stranger to the gateway: what it knows, docs/protocol.md says',
      severity: 'error',
      from: { path: '^load/' },
      to: { path: '^(src|client|client-demo|test|bench)/', pathNot: '^src/protocol/' },
    },
    {
      name: 'drill-stands-alone',
      comment: 'it runs the gateway as an operator does',
      severity: 'error',
      from: { path: '^drill/' },
      to: { path: '^(src|client|client-demo|test|bench|load)/' },
    },
    {
      name: 'src-knows-no-tests',
      severity: 'error',
      from: { path: '^src/', pathNot: '\\.test\\.ts$' },
      to: { path: '^(test|bench|client-demo|load|drill)/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^client/dist/' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'require', 'node', 'default'] },
  },
};
