/**
 * The one direction of imports: gateway, http -> ingest, fanout -> store -> counters.
 * Checked by test/architecture; `npm run check` runs it too.
 */
const layer = (folder, allowed) => ({
  name: `${folder.replaceAll('/', '-')}-imports-lower-layers`,
  comment: `${folder} may import only ${allowed.join(', ') || 'itself'}`,
  severity: 'error',
  from: { path: `^src/${folder}/`, pathNot: ['\\.module\\.ts$', '\\.test\\.ts$'] },
  to: { path: '^src/', pathNot: [`^src/${folder}/`, ...allowed.map((one) => `^src/${one}/`)] },
});

/** A subfolder that must not import from its own folder. */
const subfolder = (folder, allowed) => ({
  ...layer(folder, allowed),
  to: { path: '^src/', pathNot: [`^src/${folder}/[^/]+$`, ...allowed.map((one) => `^src/${one}/[^/]+$`)] },
});

const pure = ['counters', 'counters/replication', 'common'];

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'files must not import each other in a circle, not even types',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    { name: 'no-orphans', severity: 'error', from: { orphan: true, path: '^src/', pathNot: '\\.d\\.ts$' }, to: {} },
    layer('common', []),
    layer('protocol', []),
    layer('counters', ['common']),
    {
      name: 'counters-count-without-replication',
      comment: 'applying a batch needs no other region; a store that has some passes a recorder of changes',
      severity: 'error',
      from: { path: '^src/counters/[^/]+$', pathNot: '\\.test\\.ts$' },
      to: { path: '^src/counters/replication/' },
    },
    layer('config', ['counters', 'common']),
    layer('store', ['counters', 'common', 'config']),
    subfolder('store/embedded/disk', pure),
    subfolder('store/redis/client', ['config', 'common']),
    subfolder('store/redis/codec', ['store', ...pure]),
    subfolder('store/redis/scripts', ['store/redis/codec', ...pure]),
    subfolder('store/redis/replication', [
      'store/redis/client',
      'store/redis/codec',
      'store/redis/scripts',
      'store',
      ...pure,
    ]),
    layer('ingest', ['store', 'counters', 'protocol', 'common']),
    layer('fanout', ['store', 'counters', 'protocol', 'common']),
    layer('replication', ['store', 'counters', 'config', 'protocol', 'common']),
    subfolder('replication/transport', ['config', 'protocol', ...pure]),
    layer('sinks', ['store', 'counters', 'config', 'common']),
    subfolder('sinks/postgres', ['sinks', 'counters', 'common']),
    layer('log', ['ingest', 'store', 'counters', 'config', 'protocol', 'common']),
    subfolder('log/nats', ['log', 'config', 'common']),
    subfolder('log/redis', ['log/redis/scripts', 'log', 'store/redis/client', 'store/redis/scripts', 'common']),
    layer('admin', ['sinks', 'log', 'store', 'access', 'counters', 'protocol', 'common']),
    layer('access', ['counters', 'config', 'protocol', 'common']),
    layer('gateway', ['ingest', 'fanout', 'access', 'counters', 'config', 'protocol', 'common']),
    subfolder('gateway/transport', ['counters', 'protocol', 'common']),
    subfolder('gateway/proofs', ['gateway/transport', 'counters', 'protocol', 'common']),
    subfolder('gateway/actor-events', ['ingest', 'fanout', 'protocol', ...pure]),
    layer('http', [
      ...['ingest', 'fanout', 'access', 'replication', 'sinks', 'admin'],
      ...['store', 'counters', 'config', 'protocol', 'common'],
    ]),
    subfolder('http/events', ['http', 'ingest', 'access', 'counters', 'config', 'protocol', 'common']),
    subfolder('http/badge', ['http', 'fanout', 'config']),
    layer('workers', ['ops', 'config', 'common']),
    {
      name: 'edges-know-the-ports-alone',
      severity: 'error',
      from: {
        path: '^src/((ingest|fanout|replication|sinks|admin|gateway|http)/|log/[^/]+$)',
        pathNot: ['\\.module\\.ts$', '\\.test\\.ts$'],
      },
      to: { path: '^src/store/[^/]+/' },
    },
    {
      name: 'counters-have-no-dependencies',
      severity: 'error',
      from: { path: '^src/counters/', pathNot: '\\.test\\.ts$' },
      to: { dependencyTypes: ['npm', 'core'] },
    },
    {
      name: 'nest-only-at-the-edges',
      comment:
        'ingest, fanout, access, replication, sinks, log, admin and stores are plain classes, which src/app/core.module.ts wires',
      severity: 'error',
      from: { path: '^src/(ingest|fanout|store|access|replication|sinks|log|admin)/', pathNot: '\\.module\\.ts$' },
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
