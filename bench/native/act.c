/*
 * Acts on posts over many WebSocket connections, and keeps a ledger.
 *
 *     act port=P [connections=1000] [window=1] [rate=0] [posts=1000] [toggles=50] [warmup=2] [seconds=10]
 *         [run=r0] [prefix=r0-] [raw=0] [pids=1,2]
 *
 * Each connection is an actor. It views posts, likes them, or takes its likes back (`toggles`: percentage of the
 * operations), so that every operation changes a count. The posts, `prefix`0, `prefix`1 …, are drawn evenly. With `rate`
 * 0 it keeps `window` operations unacknowledged. With a rate, operations of all connections are due at fixed times, even
 * if earlier ones are not acknowledged (while the connection has fewer than `window` of those). Latency is measured from
 * when an operation was due (no coordinated omission). Operations that are due but unsent at the end are dropped. An
 * operation with an unknown outcome (UNAVAILABLE) is resent with its `seq`; other rejected ones are not. `raw` uses JSON
 * with an id over a bare WebSocket instead of Socket.IO.
 *
 * Prints `connected`, then `measuring` after the warm-up, and JSON when all operations are acknowledged: latencies and
 * counts of the measured seconds, CPU seconds in them of itself and of the processes `pids`, and the ledger of all
 * operations.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include "act-books.h"
#include "act-options.h"
#include "act-socket.h"

#define PIDS_MAX 16
#define EVENTS_MAX 1024
/* Time for acknowledgements after the last operation. */
#define DRAIN_NS 30000000000u
/*
 * The pause after each read of the sockets. A process that sleeps in a read would be woken at the sender's cost, which a
 * browser elsewhere would not cause. The server's queue is deeper than the operations due in that time.
 */
#define REST_US 200
/* Wait before an operation with an unknown outcome is resent: the gateway's `retryAfterMs`. */
#define AGAIN_NS 1000000000u
#define OPERATION_BYTES 160

enum kind { VIEW, LIKE, UNLIKE };
static const char *const EVENTS[] = {"view", "like", "unlike"};

struct operation {
  /* When it was sent or due; 0 once it is acknowledged. */
  uint64_t since_ns;
  uint32_t post, seq;
  enum kind kind;
  /* Its outcome is unknown: it is resent until it is acknowledged. */
  bool unknown;
};

struct connection {
  struct websocket socket;
  uint32_t random, next_id, unanswered, seq, begun;
  bool blocked;
  /* Indexed by id modulo the size. */
  struct operation *ring;
  /* Number of operations with unknown outcome, and when they are resent. */
  struct operation *unknown;
  uint32_t again;
  uint64_t again_ns;
  /* One bit for each post: whether the like is on after the last request; whether it is on by the last acknowledgement. */
  uint8_t *wanted, *on;
};

static struct {
  unsigned port, connections, window, rate, posts, toggles, warmup, seconds, raw;
  const char *run, *prefix, *pids;
} options = {.connections = 1000, .window = 1, .posts = 1000, .toggles = 50, .warmup = 2, .seconds = 10,
             .run = "r0", .prefix = "r0-", .pids = ""};

static pid_t pids[PIDS_MAX];
static unsigned pid_count;
static struct books books;
static struct connection *connections;
static unsigned ring_mask;
static uint64_t start_ns, measure_ns, end_ns, unanswered, waiting;
static int poll_fd;

static void send_operation(struct connection *c, struct operation operation) {
  // A slow operation keeps its slot.
  while (c->ring[c->next_id & ring_mask].since_ns != 0) c->next_id++;
  uint32_t id = c->next_id++;
  const char *format = options.raw ? "{\"id\":%u,\"event\":\"%s\",\"post\":\"%s%u\",\"seq\":%u}"
                                   : "42%u[\"%s\",{\"post\":\"%s%u\",\"seq\":%u}]";
  char text[TEXT_BYTES];
  int length = snprintf(text, sizeof text, format, id, EVENTS[operation.kind], options.prefix, operation.post,
                        operation.seq);
  websocket_text(&c->socket, text, (size_t)length);
  c->ring[id & ring_mask] = operation;
  c->unanswered++;
  unanswered++;
  books.sent++;
}

static struct operation next_operation(struct connection *c, uint64_t since_ns) {
  c->random ^= c->random << 13, c->random ^= c->random >> 17, c->random ^= c->random << 5;
  uint32_t post = (c->random >> 8) % options.posts;
  struct operation operation = {.since_ns = since_ns, .post = post, .seq = ++c->seq, .kind = VIEW};
  if ((c->random & 0xff) * 100 < options.toggles * 256) {
    uint8_t *byte = &c->wanted[post >> 3], bit = (uint8_t)(1 << (post & 7));
    operation.kind = (*byte ^= bit) & bit ? LIKE : UNLIKE;
  }
  return operation;
}

/* When the connection's next operation is due; in the past if it waits only for acknowledgements. */
static uint64_t due_ns(const struct connection *c, uint64_t now) {
  if (options.rate == 0) return now;
  uint64_t nth = (uint64_t)c->begun * options.connections + (uint64_t)(c - connections);
  return start_ns + (uint64_t)((double)nth * 1e9 / options.rate);
}

/* Enables or disables events for a writable connection. */
static void listen_to(struct connection *c, int operation) {
  struct epoll_event event = {.events = c->blocked ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
  if (epoll_ctl(poll_fd, operation, c->socket.fd, &event) != 0) fail("epoll_ctl");
}

static void act(struct connection *c, uint64_t now) {
  while (!c->blocked) {
    while (c->socket.out_end + OPERATION_BYTES + FRAME_OVERHEAD <= OUT_BYTES) {
      if (c->again > 0 && now >= c->again_ns) {
        waiting--;
        send_operation(c, c->unknown[--c->again]);
        continue;
      }
      uint64_t due = due_ns(c, now);
      if (c->unanswered + c->again >= options.window || due > now || due >= end_ns || now >= end_ns) break;
      c->begun++;
      send_operation(c, next_operation(c, due));
    }
    if (c->socket.out_end == 0) return;
    c->blocked = !websocket_flush(&c->socket);
    if (c->blocked) listen_to(c, EPOLL_CTL_MOD);
  }
}

static bool says(const char *text, size_t length, const char *what) {
  return memmem(text, length, what, strlen(what)) != NULL;
}

static void book_error(struct connection *c, struct operation operation, const char *text, size_t length,
                       uint64_t now) {
  int error = 0;
  while (error < OTHER && !says(text, length, ERROR_NAMES[error])) error++;
  books.errors[error]++;
  if (error != UNAVAILABLE && !operation.unknown) return;
  operation.unknown = true;
  books.retried++;
  waiting++;
  c->unknown[c->again++] = operation;
  c->again_ns = now + AGAIN_NS;
}

/* `text` starts after the id. */
static void answered(struct connection *c, uint32_t id, const char *text, size_t length, uint64_t now) {
  struct operation *slot = &c->ring[id & ring_mask], operation = *slot;
  if (operation.since_ns == 0) fail("an answer to nothing");
  slot->since_ns = 0;
  c->unanswered--;
  unanswered--;
  bool ok = says(text, length < 24 ? length : 24, "\"ok\":true");
  uint64_t second = (now - start_ns) / 1000000000u;
  if (second < SECONDS_MAX) (ok ? books.acknowledged_in : books.refused_in)[second]++;
  if (!ok) return book_error(c, operation, text, length, now);
  books.acknowledged++;
  if (says(text, length, "\"applied\":true")) books.applied++;
  if (operation.kind == VIEW) books.views[operation.post]++;
  else book_like(&books, c->on, operation.post, says(text, length, "\"on\":true"));
  if (now >= measure_ns && now < end_ns) book_latency(&books.latencies, now - operation.since_ns);
}

static void take(struct connection *c, const char *text, size_t length, uint64_t now) {
  const char *prefix = options.raw ? "{\"id\":" : "43";
  size_t skip = strlen(prefix);
  if (length > skip && memcmp(text, prefix, skip) == 0) {
    uint32_t id = 0;
    const char *at = text + skip;
    while (*at >= '0' && *at <= '9') id = id * 10 + (uint32_t)(*at++ - '0');
    answered(c, id, at, length - (size_t)(at - text), now);
  } else if (!options.raw && text[0] == '2') websocket_text(&c->socket, "3", 1);
}

static void open_connection(struct connection *c, unsigned i) {
  size_t bytes = options.posts / 8 + 1;
  c->ring = calloc(ring_mask + 1, sizeof *c->ring);
  c->unknown = calloc(ring_mask + 1, sizeof *c->unknown);
  c->wanted = calloc(bytes, 1);
  c->on = calloc(bytes, 1);
  c->random = i * 2654435761u + 1;
  char auth[TEXT_BYTES];
  snprintf(auth, sizeof auth, "{\"actor\":\"%s-%u\",\"session\":\"%s-session-%u\"}", options.run, i, options.run, i);
  if (options.raw) websocket_open(&c->socket, (int)options.port, "/");
  else socket_io_open(&c->socket, (int)options.port, auth);
  fcntl(c->socket.fd, F_SETFL, O_NONBLOCK);
  listen_to(c, EPOLL_CTL_ADD);
}

static void turn(struct connection *c, uint32_t events) {
  if (events & (EPOLLERR | EPOLLHUP)) fail("a connection broke");
  if (events & EPOLLOUT) {
    c->blocked = !websocket_flush(&c->socket);
    listen_to(c, EPOLL_CTL_MOD);
  }
  if (events & EPOLLIN) {
    websocket_read(&c->socket);
    uint64_t now = now_ns();
    size_t length;
    for (const char *text; (text = websocket_next(&c->socket, &length)) != NULL;) take(c, text, length, now);
  }
  act(c, now_ns());
}

/* Wakes the connections whose operations have become due since the last call. */
static void pace(uint64_t now) {
  static uint64_t woken;
  uint64_t until = (uint64_t)((double)(now - start_ns) * options.rate / 1e9) + 1;
  if (until - woken > options.connections) woken = until - options.connections;
  for (; woken < until; woken++) act(&connections[woken % options.connections], now);
}

static double cpu[PIDS_MAX + 1];

/* CPU seconds of the processes since the last call, followed by those of this process. */
static void take_cpu(void) {
  for (unsigned i = 0; i <= pid_count; i++) {
    cpu[i] = cpu_seconds(i < pid_count ? pids[i] : getpid()) - cpu[i];
  }
}

static void act_all(uint64_t now) {
  for (unsigned i = 0; i < options.connections; i++) act(&connections[i], now);
}

static void run(void) {
  start_ns = now_ns();
  measure_ns = start_ns + options.warmup * 1000000000ull;
  end_ns = measure_ns + options.seconds * 1000000000ull;
  const uint64_t drained_ns = end_ns + DRAIN_NS;
  act_all(start_ns);
  int marks = 0;
  for (uint64_t now = now_ns(); now < end_ns || (unanswered + waiting > 0 && now < drained_ns); now = now_ns()) {
    if (now >= end_ns && unanswered == 0) act_all(now);
    if (marks == 0 && now >= measure_ns) {
      marks = 1;
      take_cpu();
      puts("measuring");
      fflush(stdout);
    }
    if (marks == 1 && now >= end_ns) {
      marks = 2;
      take_cpu();
    }
    if (options.rate > 0 && now < end_ns) pace(now);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(poll_fd, events, EVENTS_MAX, 0);
    for (int i = 0; i < count; i++) turn(events[i].data.ptr, events[i].events);
    if (count < EVENTS_MAX) usleep(REST_US);
  }
  if (marks == 1) take_cpu();
}

static const struct option OPTIONS[] = {
    {"port", &options.port, NULL},       {"connections", &options.connections, NULL},
    {"window", &options.window, NULL},   {"rate", &options.rate, NULL},
    {"posts", &options.posts, NULL},     {"toggles", &options.toggles, NULL},
    {"warmup", &options.warmup, NULL},   {"seconds", &options.seconds, NULL},
    {"raw", &options.raw, NULL},         {"run", NULL, &options.run},
    {"prefix", NULL, &options.prefix},   {"pids", NULL, &options.pids},
    {NULL, NULL, NULL},
};

int main(int argc, char **argv) {
  if (argc > 1) parse_options(argv, OPTIONS);
  for (char *at = (char *)options.pids; *at != 0 && pid_count < PIDS_MAX; at += strspn(at, ","))
    pids[pid_count++] = (pid_t)strtol(at, &at, 10);
  for (ring_mask = 1; ring_mask < 2 * options.window; ring_mask <<= 1) continue;
  ring_mask--;
  books.likes = calloc(options.posts, sizeof *books.likes);
  books.views = calloc(options.posts, sizeof *books.views);
  connections = calloc(options.connections, sizeof *connections);
  poll_fd = epoll_create1(0);
  for (unsigned i = 0; i < options.connections; i++) open_connection(&connections[i], i);
  puts("connected");
  fflush(stdout);
  run();
  printf("{\"seconds\":%u,\"unanswered\":%llu,\"cpuSeconds\":[", options.seconds,
         (unsigned long long)(unanswered + waiting));
  for (unsigned i = 0; i <= pid_count; i++) printf("%s%.6f", i ? "," : "", cpu[i]);
  printf("],");
  print_books(&books, options.posts, options.warmup + options.seconds);
  puts("}");
}
