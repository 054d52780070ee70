import { UNNAMED_REGION } from '../counters/pn-counter.js';
import type { Environment } from './environment-schema.js';
import { findGuestMetrics } from './guest-metrics.js';
import { checkRegionNames } from './peer-urls.js';
import { isPostgres } from './sink-url-list.js';

interface Rule {
  readonly isBroken: (env: Environment) => boolean;
  /** The error: the fault first, then the remedy. */
  readonly message: string;
}

/** Contradictions between settings that are valid on their own. docs/configuration.md lists the messages. */
export const SETTING_RULES: readonly Rule[] = [
  {
    isBroken: (env) => env.JWT_SECRET !== undefined && env.JWT_JWKS_URL !== undefined,
    message: 'JWT_SECRET and JWT_JWKS_URL exclude each other: set the one that your tokens are signed with',
  },
  {
    isBroken: (env) => !verifiesTokens(env) && requiresTokens(env),
    message:
      'JWT_ISSUER, JWT_AUDIENCE, JWT_ACTOR_CLAIM and REQUIRE_TOKEN_TO_READ need JWT_SECRET or JWT_JWKS_URL: set one to verify tokens',
  },
  {
    isBroken: (env) => !verifiesTokens(env) && env.GUEST_METRICS.length > 0,
    message: 'GUEST_METRICS needs JWT_SECRET or JWT_JWKS_URL: without tokens everyone may change every metric',
  },
  {
    isBroken: (env) => env.REDIS_URL === undefined && env.ACK === 'replicated',
    message: 'ACK=replicated needs REDIS_URL: the embedded store has no replicas',
  },
  {
    isBroken: (env) => env.REDIS_URL === undefined && env.WORKERS > 1,
    message: 'WORKERS above 1 needs REDIS_URL: the embedded store is for one process',
  },
  {
    isBroken: (env) => env.REDIS_NAT_MAP !== undefined && env.REDIS_URL?.kind !== 'cluster',
    message: 'REDIS_NAT_MAP needs REDIS_URL=redis+cluster://…: only the nodes of a cluster announce addresses',
  },
  {
    isBroken: (env) => env.OPS_PORT !== undefined && env.OPS_PORT !== 0 && env.OPS_PORT === env.PORT,
    message: 'OPS_PORT must differ from PORT: a firewall can then close it alone',
  },
  {
    isBroken: (env) => env.PEERS === undefined && env.PEER_TOKEN !== undefined,
    message: 'PEER_TOKEN has no effect without PEERS: set PEERS to the other regions',
  },
  {
    isBroken: (env) => env.PEERS !== undefined && env.REGION === UNNAMED_REGION,
    message: 'PEERS needs REGION: set the name under which the other regions list this one',
  },
  {
    isBroken: (env) => env.PEERS !== undefined && env.PEER_TOKEN === undefined,
    message: 'PEERS needs PEER_TOKEN: set a secret that is the same in all regions',
  },
  {
    isBroken: (env) => env.SINK_MEMBERS === 'true' && !hasPostgres(env),
    message:
      'SINK_MEMBERS=true needs a PostgreSQL sink, because no other one keeps members: add postgres://… to SINK_URL',
  },
  {
    isBroken: (env) => hasWebhook(env) && env.SINK_SECRET === undefined,
    message: 'SINK_URL with a webhook needs SINK_SECRET: make one with echo "whsec_$(openssl rand -base64 32)"',
  },
  {
    isBroken: (env) => env.SINK_SECRET !== undefined && !hasWebhook(env),
    message: 'SINK_SECRET has no effect without a webhook: add its https URL to SINK_URL',
  },
];

/** @throws Error with the message of the first broken rule */
export function checkRules(env: Environment): void {
  const broken = SETTING_RULES.find(({ isBroken }) => isBroken(env));
  if (broken !== undefined) throw new Error(broken.message);
  checkSetting('PEERS', () => checkRegionNames(env.REGION, env.PEERS ?? []));
  checkSetting('GUEST_METRICS', () => findGuestMetrics(env.GUEST_METRICS, env.METRICS));
}

/** @param check throws errors whose messages go on from the name of the setting */
function checkSetting(name: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    throw new Error(`${name} ${(error as Error).message}`, { cause: error });
  }
}

function verifiesTokens({ JWT_SECRET, JWT_JWKS_URL }: Environment): boolean {
  return JWT_SECRET !== undefined || JWT_JWKS_URL !== undefined;
}

function requiresTokens(env: Environment): boolean {
  const { JWT_ISSUER, JWT_AUDIENCE, JWT_ACTOR_CLAIM, REQUIRE_TOKEN_TO_READ } = env;
  const namesClaims = JWT_ISSUER !== undefined || JWT_AUDIENCE !== undefined || JWT_ACTOR_CLAIM !== 'sub';
  return namesClaims || REQUIRE_TOKEN_TO_READ === 'true';
}

function hasPostgres({ SINK_URL = [] }: Environment): boolean {
  return SINK_URL.some(isPostgres);
}

function hasWebhook({ SINK_URL = [] }: Environment): boolean {
  return SINK_URL.some(({ protocol }) => /^https?:$/.test(protocol));
}
