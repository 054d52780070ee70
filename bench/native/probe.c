/*
 * Measures the time from an operation to its acknowledgement and to a screen. Each probe is an actor that views a post and
 * a viewer of that post. It sends its next view a random time after both have arrived, so that it covers all phases of a
 * tick. A view is on the screen with the first frame whose total is at least that of its acknowledgement.
 *
 *     probe port=P [probes=20] [posts=20] [prefix=r0-] [pause=250] [warmup=2] [seconds=10]
 *
 * The posts are `prefix`0, `prefix`1 …, like those of act. `pause`: mean of the random time in ms. Prints JSON at the
 * end: `acknowledged` and `shown`, latencies of the measured seconds.
 */
#define _GNU_SOURCE
#include <sys/epoll.h>
#include "act-books.h"
#include "act-options.h"
#include "act-socket.h"

#define EVENTS_MAX 256
/* Frames kept before the acknowledgement, which follows within a few ticks. */
#define FRAMES_MAX 64
#define POLL_MS 1

struct probe {
  struct websocket actor, watcher;
  unsigned post, random, id;
  uint64_t due_ns, sent_ns;
  /* Total in the acknowledgement; 0 before it. */
  uint64_t total;
  struct {
    uint64_t at_ns, total;
  } frames[FRAMES_MAX];
  unsigned frame_count;
};

static struct {
  unsigned port, probes, posts, pause, warmup, seconds;
  const char *prefix;
} options = {.probes = 20, .posts = 20, .pause = 250, .warmup = 2, .seconds = 10, .prefix = "r0-"};

static struct latencies acknowledged, shown;
static uint64_t measure_ns;

static void rest(struct probe *p, uint64_t now) {
  p->random ^= p->random << 13, p->random ^= p->random >> 17, p->random ^= p->random << 5;
  p->due_ns = now + (uint64_t)(p->random % (2 * options.pause + 1)) * 1000000u;
  p->sent_ns = 0;
}

static void view(struct probe *p, uint64_t now) {
  char text[TEXT_BYTES];
  p->id++;
  int length = snprintf(text, sizeof text, "42%u[\"view\",{\"post\":\"%s%u\"}]", p->id, options.prefix, p->post);
  p->sent_ns = now;
  p->total = 0;
  p->frame_count = 0;
  websocket_text(&p->actor, text, (size_t)length);
  websocket_flush(&p->actor);
}

/* Parses the total of views in an update. */
static uint64_t total_in(const char *text, size_t length) {
  static const char name[] = "\"views\":";
  const char *at = memmem(text, length, name, strlen(name));
  return at == NULL ? 0 : strtoull(at + strlen(name), NULL, 10);
}

static void see(struct probe *p, uint64_t at_ns, uint64_t total) {
  if (p->sent_ns == 0) return;
  if (p->total == 0) {
    if (p->frame_count == FRAMES_MAX) fail("no acknowledgement came");
    p->frames[p->frame_count].at_ns = at_ns;
    p->frames[p->frame_count++].total = total;
  } else if (total >= p->total) {
    if (p->sent_ns >= measure_ns) book_latency(&shown, at_ns - p->sent_ns);
    rest(p, at_ns);
  }
}

static void acknowledge(struct probe *p, const char *text, size_t length, uint64_t now) {
  p->total = total_in(text, length);
  if (p->total == 0) fail(text);
  if (p->sent_ns >= measure_ns) book_latency(&acknowledged, now - p->sent_ns);
  for (unsigned i = 0; i < p->frame_count && p->sent_ns > 0; i++) see(p, p->frames[i].at_ns, p->frames[i].total);
}

static void take(struct probe *p, struct websocket *s) {
  size_t length;
  websocket_read(s);
  uint64_t now = now_ns();
  for (const char *text; (text = websocket_next(s, &length)) != NULL;) {
    if (text[0] == '2') {
      websocket_text(s, "3", 1);
      websocket_flush(s);
    } else if (s == &p->watcher) see(p, now, total_in(text, length));
    else if (strncmp(text, "43", 2) == 0) acknowledge(p, text, length, now);
  }
}

static void listen_to(struct websocket *s, int poll_fd, uint64_t tag) {
  fcntl(s->fd, F_SETFL, O_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.u64 = tag};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &event) != 0) fail("epoll_ctl");
}

static void open_probe(struct probe *p, unsigned i) {
  char text[TEXT_BYTES];
  p->post = i % options.posts;
  p->random = i * 2654435761u + 1;
  socket_io_open(&p->actor, (int)options.port, "");
  socket_io_open(&p->watcher, (int)options.port, "");
  int length = snprintf(text, sizeof text, "420[\"subscribe\",{\"posts\":[\"%s%u\"]}]", options.prefix, p->post);
  websocket_text(&p->watcher, text, (size_t)length);
  websocket_flush(&p->watcher);
  websocket_expect(&p->watcher, "430[{\"ok\":true");
  rest(p, now_ns());
}

static const struct option OPTIONS[] = {
    {"port", &options.port, NULL},   {"probes", &options.probes, NULL},   {"posts", &options.posts, NULL},
    {"pause", &options.pause, NULL}, {"warmup", &options.warmup, NULL},   {"seconds", &options.seconds, NULL},
    {"prefix", NULL, &options.prefix}, {NULL, NULL, NULL},
};

int main(int argc, char **argv) {
  if (argc > 1) parse_options(argv, OPTIONS);
  int poll_fd = epoll_create1(0);
  struct probe *probes = calloc(options.probes, sizeof *probes);
  for (unsigned i = 0; i < options.probes; i++) {
    open_probe(&probes[i], i);
    listen_to(&probes[i].actor, poll_fd, 2 * i);
    listen_to(&probes[i].watcher, poll_fd, 2 * i + 1);
  }
  measure_ns = now_ns() + options.warmup * 1000000000ull;
  const uint64_t end_ns = measure_ns + options.seconds * 1000000000ull;
  for (uint64_t now = now_ns(); now < end_ns; now = now_ns()) {
    for (unsigned i = 0; i < options.probes; i++)
      if (probes[i].sent_ns == 0 && probes[i].due_ns <= now) view(&probes[i], now);
    struct epoll_event events[EVENTS_MAX];
    int count = epoll_wait(poll_fd, events, EVENTS_MAX, POLL_MS);
    for (int i = 0; i < count; i++) {
      struct probe *p = &probes[events[i].data.u64 >> 1];
      take(p, events[i].data.u64 & 1 ? &p->watcher : &p->actor);
    }
  }
  printf("{");
  print_latencies("acknowledged", &acknowledged);
  printf(",");
  print_latencies("shown", &shown);
  puts("}");
}
