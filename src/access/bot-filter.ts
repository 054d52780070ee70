import { isbot } from 'isbot';

/** Browsers send up to about 300 characters. The list is searched in 2 µs for these, and in 40 µs for 16 KB, the longest header. */
const USER_AGENT_MAX = 512;
/** Only browsers run the scripts of pages. Crawlers that do so pretend to be one, so a list has to name them. */
const BROWSER = /^(mozilla|opera)\//i;
/**
 * Other clients are programs: a site's own backend, an app, an HTTP library. They are no bots, unless they call themselves a bot or
 * fetch the pictures of pages for a preview. Cubot makes phones, and their apps name it.
 */
const PROGRAM_BOT = /(?<!cu)bot\b|crawl|spider|externalhit|^whatsapp/i;
/** These fetch the picture of a mail for the person who opens it. */
const MAIL_PROXY = /\b(GoogleImageProxy|YahooMailProxy)\b/;

const NOTICE =
  'a crawler or an automated browser added to a metric: such additions are not counted, only in tallycast_bot_operations_total; ' +
  'COUNT_BOTS=true counts them';

/** Recognises crawlers and automated browsers, whose additions are not counted. People and programs are no bots. */
export class BotFilter {
  #operations = 0;

  /** @param inform writes a line to the log */
  constructor(
    private readonly countsBots: boolean,
    private readonly inform: (message: string) => void,
  ) {}

  /** Operations of bots that were not counted. */
  get operations(): number {
    return this.#operations;
  }

  /**
   * Call it once for a connection or a request.
   * @param isAutomated whether the client says that a program drives it
   */
  isBot(userAgent: string | undefined, isAutomated = false): boolean {
    return !this.countsBots && (isAutomated || isBotName(userAgent?.slice(0, USER_AGENT_MAX) ?? ''));
  }

  /** Call it for operations that are left out. The log says so once. */
  leaveOut(operations: number): void {
    if (operations === 0) return;
    if (this.#operations === 0) this.inform(NOTICE);
    this.#operations += operations;
  }
}

function isBotName(userAgent: string): boolean {
  if (!BROWSER.test(userAgent)) return PROGRAM_BOT.test(userAgent);
  return isbot(userAgent) && !MAIL_PROXY.test(userAgent);
}
