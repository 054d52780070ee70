/** Headers of a browser that opens a WebSocket; a server may keep them as long as the connection. */
const HEADERS = {
  Origin: 'https://www.example.com',
  Pragma: 'no-cache',
  'Cache-Control': 'no-cache',
  'User-Agent':
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36',
  'Accept-Encoding': 'gzip, deflate, br, zstd',
  'Accept-Language': 'en-GB,en;q=0.9,de-DE;q=0.8,de;q=0.7',
  'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits',
  // 200 characters: a session, consent and web analytics. %i makes each one different.
  Cookie: `sid=s%3A${'4f1c9b7e'.repeat(8)}.%i; consent=${'Y2F0'.repeat(10)}; _ga=GA1.1.1234567890.1700000000; _gid=${'7'.repeat(20)}; theme=dark`,
};

/** The headers as arguments of the load (bench/native/watch.c). */
export const browserHeaders = Object.entries(HEADERS).flatMap(([name, value]) => ['--header', `${name}: ${value}`]);
