import { expect, test } from '@jest/globals';
import { BotFilter } from './bot-filter.js';

const CRAWLERS = [
  'Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.6778.69 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
  'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36',
  'Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; GPTBot/1.2; +https://openai.com/gptbot',
  'Mozilla/5.0 (compatible; SomeNewBot/1.0; +https://example.org/bot)',
  'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/131.0.0.0 Safari/537.36',
  'Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse',
  'facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)',
  'Twitterbot/1.0',
  'WhatsApp/2.23.20.0',
  'SomeCrawler/0.1',
];

const PEOPLE = [
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1',
  'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0',
  'Mozilla/5.0 (Linux; Android 14; SAMSUNG SM-A546B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0 Mobile Safari/537.36',
  'Mozilla/5.0 (Linux; Android 9; CUBOT_X19) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Mobile Safari/537.36',
  'Mozilla/5.0 (Linux; Android 16; Pixel 10 Pro XL Build/CP1A.260305.018; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/146.0.7680.174 Mobile Safari/537.36 MetaIAB Facebook',
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 334.0.4.32.98 (iPhone13,2; iOS 17_5; en_US; en; scale=3.00; 1170x2532; 606128416)',
  'Opera/9.80 (Android; Opera Mini/36.2.2254/119.132; U; id) Presto/2.12.423 Version/12.16',
  'Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)',
  'Dalvik/2.1.0 (Linux; U; Android 9; CUBOT X19 Build/PPR1.180610.011)',
];

const PROGRAMS = [
  undefined,
  '',
  'curl/8.5.0',
  'axios/1.7.9',
  'node',
  'node-XMLHttpRequest',
  'python-requests/2.32.3',
  'Python/3.12 aiohttp/3.11.9',
  'Java-http-client/21.0.2',
  'Apache-HttpClient/5.3 (Java/17.0.9)',
  'Go-http-client/1.1',
  'my-shop/2.1 (https://shop.example)',
];

function collectingFilter(countsBots = false): { bots: BotFilter; log: string[] } {
  const log: string[] = [];
  return { bots: new BotFilter(countsBots, (message) => log.push(message)), log };
}

test.each(CRAWLERS)('%s is a bot, unless bots are counted', (userAgent) => {
  expect(collectingFilter().bots.isBot(userAgent)).toBe(true);
  expect(collectingFilter(true).bots.isBot(userAgent)).toBe(false);
});

test.each([...PEOPLE, ...PROGRAMS])('%s is no bot, unless it says that it is automated', (userAgent) => {
  expect(collectingFilter().bots.isBot(userAgent)).toBe(false);
  expect(collectingFilter().bots.isBot(userAgent, true)).toBe(true);
  expect(collectingFilter(true).bots.isBot(userAgent, true)).toBe(false);
});

test('only the beginning of a long user agent is searched', () => {
  const { bots } = collectingFilter();
  expect(bots.isBot(`Mozilla/5.0 ${'(Linux) '.repeat(60)}Googlebot/2.1`)).toBe(true);
  expect(bots.isBot(`Mozilla/5.0 ${'(Linux) '.repeat(64)}Googlebot/2.1`)).toBe(false);
});

test('the log says once that additions of bots are not counted, and how they would be', () => {
  const { bots, log } = collectingFilter();
  bots.leaveOut(0);
  expect(log).toEqual([]);
  for (const operations of [1, 3]) bots.leaveOut(operations);
  expect(bots.operations).toBe(4);
  expect(log).toEqual([expect.stringContaining('COUNT_BOTS=true')]);
});
