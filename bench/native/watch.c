/* Opens many WebSocket connections, sends a script on each, and then only reads: the smallest possible CPU of a
 * client.
 *
 *     watch --port P [--host 127.0.0.1] [--path /] [--sockets N] [--at-once 200] [--header 'Name: value' …]
 *           [--first TEXT] [--on PREFIX REPLY …] [--ready PREFIX] [--binary] [--posts K/M] [--pause-us 2000]
 *
 * A message that begins with PREFIX is answered with REPLY (not if that is empty) and not counted. A connection is ready
 * after a message that begins with --ready's prefix, or when it is upgraded. In REPLY, --first and --header, %i is the
 * connection's number and %p its K random posts of p0 … pM-1, as comma-separated JSON strings. With K/0 they are s0 …,
 * different for each connection. \r and \n are escapes. --binary sends binary frames.
 * Writes {"ready":N} when all are ready; then, for each line on stdin, the traffic since the last one:
 * {"frames":…,"payloadBytes":…,"wireBytes":…,"closed":…}. Ends with stdin. The posts are the same in every run.
 *
 * After each read of its sockets it pauses for --pause-us: a process that sleeps in a read would be woken at the
 * sender's cost, which a browser elsewhere would not cause. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "websocket.h"

enum {
  RULES_MAX = 16,
  HEADERS_MAX = 8192,
  TEXT_MAX = 256 * 1024,
  READ_MAX = 1024 * 1024,
  EVENTS_MAX = 1024,
  /* Connections of one source address to one port; Linux allows 28,232 by default. */
  SOCKETS_PER_ADDRESS = 20000
};

struct rule {
  const char *prefix, *reply;
};

struct connection {
  int fd;
  bool upgraded, ready;
  /* Received bytes of an incomplete message. */
  unsigned char *part;
  size_t part_length;
};

static struct {
  const char *host, *path, *first, *ready;
  int port, sockets, at_once, pause_us, binary, posts, of;
  char headers[HEADERS_MAX];
  struct rule rules[RULES_MAX];
  int rule_count;
} options = {.host = "127.0.0.1", .path = "/", .sockets = 1, .at_once = 200, .pause_us = 2000};

static struct connection *connections;
static int epoll_fd, opened, ready;
static unsigned long long frames, payload_bytes, wire_bytes, closed;
static unsigned char buffer[READ_MAX], outgoing[TEXT_MAX + 14];
static char text[TEXT_MAX];
static uint32_t random_state = 0x9e3779b9;

static void fail(const char *what) {
  fprintf(stderr, "watch: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* xorshift32 (Marsaglia, 2003) */
static uint32_t random_below(uint32_t limit) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state % limit;
}

static size_t put_posts(char *out, int number) {
  size_t n = 0;
  bool *taken = options.of > 0 ? calloc((size_t)options.of, 1) : NULL;
  for (int i = 0; i < options.posts; i++) {
    int post = number * options.posts + i;
    if (options.of > 0) {
      do post = (int)random_below((uint32_t)options.of);
      while (taken[post]);
      taken[post] = true;
    }
    n += (size_t)sprintf(out + n, "%s\"%c%d\"", i > 0 ? "," : "", options.of > 0 ? 'p' : 's', post);
  }
  free(taken);
  return n;
}

static size_t expand(const char *pattern, int number) {
  size_t n = 0;
  for (const char *p = pattern; *p != 0 && n < TEXT_MAX - 64; p++) {
    if (p[0] == '%' && p[1] == 'i') n += (size_t)sprintf(text + n, "%d", number), p++;
    else if (p[0] == '%' && p[1] == 'p') n += put_posts(text + n, number), p++;
    else if (p[0] == '\\' && p[1] == 'r') text[n++] = '\r', p++;
    else if (p[0] == '\\' && p[1] == 'n') text[n++] = '\n', p++;
    else text[n++] = *p;
  }
  return n;
}

static void end(struct connection *of) {
  if (of->fd < 0) return;
  close(of->fd);
  of->fd = -1;
  free(of->part);
  of->part = NULL;
  closed++;
}

static void send_all(struct connection *to, const void *bytes, size_t length) {
  if (send(to->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) end(to);
}

static void say(struct connection *to, int opcode, const void *payload, size_t length) {
  send_all(to, outgoing, ws_frame_write(outgoing, opcode, payload, length, 1));
}

static void say_text(struct connection *to, const char *pattern) {
  size_t length = expand(pattern, (int)(to - connections));
  say(to, options.binary ? WS_BINARY : WS_TEXT, text, length);
}

static void open_next(void) {
  struct connection *one = &connections[opened];
  one->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (one->fd < 0) fail("socket (more open files: ulimit -n)");
  int on = 1;
  struct linger at_once = {1, 0};
  setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(one->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  setsockopt(one->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  struct sockaddr_in from = {.sin_family = AF_INET}, to = {.sin_family = AF_INET};
  from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(opened / SOCKETS_PER_ADDRESS));
  if (bind(one->fd, (struct sockaddr *)&from, sizeof from) < 0) fail("bind");
  to.sin_port = htons((uint16_t)options.port);
  if (inet_pton(AF_INET, options.host, &to.sin_addr) != 1) fail(options.host);
  if (connect(one->fd, (struct sockaddr *)&to, sizeof to) < 0) fail("connect");
  static char request[HEADERS_MAX + 1024];
  text[expand(options.headers, opened)] = 0;
  int length = ws_upgrade(request, sizeof request, options.host, options.port, options.path, text);
  if (length < 0) fail("headers are too long");
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, one->fd, &event) < 0) fail("epoll_ctl");
  opened++;
  send_all(one, request, (size_t)length);
}

static void now_ready(struct connection *one) {
  if (one->ready) return;
  one->ready = true;
  if (++ready == options.sockets) {
    printf("{\"ready\":%d}\n", ready);
    fflush(stdout);
  }
}

static bool begins(const struct ws_frame *frame, const char *prefix) {
  size_t length = strlen(prefix);
  return frame->length >= length && memcmp(frame->payload, prefix, length) == 0;
}

static void take(struct connection *from, const struct ws_frame *frame, size_t wire) {
  if (frame->opcode == WS_PING) return say(from, WS_PONG, frame->payload, frame->length);
  if (frame->opcode == WS_PONG) return;
  if (frame->opcode == WS_CLOSE) return end(from);
  bool scripted = false;
  if (options.ready != NULL && begins(frame, options.ready)) now_ready(from), scripted = true;
  for (int i = 0; i < options.rule_count && from->fd >= 0; i++) {
    if (!begins(frame, options.rules[i].prefix)) continue;
    scripted = true;
    if (*options.rules[i].reply != 0) say_text(from, options.rules[i].reply);
    break;
  }
  if (scripted) return;
  frames++;
  payload_bytes += frame->length;
  wire_bytes += wire;
}

/* Returns the length of the response to the upgrade, 0 if it is incomplete. */
static size_t take_upgrade(struct connection *from, const unsigned char *in, size_t size) {
  const unsigned char *ended = memmem(in, size, "\r\n\r\n", 4);
  if (ended == NULL) return 0;
  if (memmem(in, size, " 101 ", 5) != in + 8) {
    fprintf(stderr, "watch: not upgraded: %.*s\n", (int)size, (const char *)in);
    exit(1);
  }
  from->upgraded = true;
  if (options.first != NULL) say_text(from, options.first);
  if (options.ready == NULL) now_ready(from);
  return (size_t)(ended - in) + 4;
}

static void read_from(struct connection *from) {
  size_t size = from->part_length;
  if (size > 0) memcpy(buffer, from->part, size);
  ssize_t got = recv(from->fd, buffer + size, READ_MAX - size, MSG_DONTWAIT);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN) end(from);
    return;
  }
  size += (size_t)got;
  size_t at = 0;
  if (!from->upgraded) at = take_upgrade(from, buffer, size);
  struct ws_frame frame;
  for (size_t length; from->upgraded && from->fd >= 0; at += length) {
    length = ws_frame_read(buffer + at, size - at, &frame);
    if (length == 0) break;
    take(from, &frame, length);
  }
  if (from->fd < 0) return;
  if (size == at && from->part_length == 0) return;
  from->part_length = size - at;
  if (size > at) from->part = realloc(from->part, size - at), memcpy(from->part, buffer + at, size - at);
}

static void report(void) {
  unsigned char line[4096];
  if (read(STDIN_FILENO, line, sizeof line) <= 0) exit(0);
  printf("{\"frames\":%llu,\"payloadBytes\":%llu,\"wireBytes\":%llu,\"closed\":%llu}\n", frames, payload_bytes,
         wire_bytes, closed);
  fflush(stdout);
  frames = payload_bytes = wire_bytes = closed = 0;
}

static void add_rule(const char *prefix, const char *reply) {
  if (options.rule_count == RULES_MAX) exit(2);
  options.rules[options.rule_count++] = (struct rule){prefix, reply};
}

static void parse(int count, char **args) {
  for (int i = 1; i < count; i++) {
    const char *name = args[i];
    if (strcmp(name, "--binary") == 0) {
      options.binary = 1;
      continue;
    }
    const char *value = ++i < count ? args[i] : "";
    if (strcmp(name, "--host") == 0) options.host = value;
    else if (strcmp(name, "--port") == 0) options.port = atoi(value);
    else if (strcmp(name, "--path") == 0) options.path = value;
    else if (strcmp(name, "--sockets") == 0) options.sockets = atoi(value);
    else if (strcmp(name, "--at-once") == 0) options.at_once = atoi(value);
    else if (strcmp(name, "--pause-us") == 0) options.pause_us = atoi(value);
    else if (strcmp(name, "--first") == 0) options.first = value;
    else if (strcmp(name, "--ready") == 0) options.ready = value;
    else if (strcmp(name, "--posts") == 0) sscanf(value, "%d/%d", &options.posts, &options.of);
    else if (strcmp(name, "--on") == 0) add_rule(value, ++i < count ? args[i] : "");
    else if (strcmp(name, "--header") == 0) {
      size_t used = strlen(options.headers);
      snprintf(options.headers + used, HEADERS_MAX - used, "%s\r\n", value);
    } else {
      fprintf(stderr, "watch: no option %s\n", name);
      exit(2);
    }
  }
}

int main(int count, char **args) {
  parse(count, args);
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  connections = calloc((size_t)options.sockets, sizeof *connections);
  epoll_fd = epoll_create1(0);
  struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &input);
  static struct epoll_event events[EVENTS_MAX];
  for (;;) {
    while (opened < options.sockets && opened - ready < options.at_once) open_next();
    int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);
    for (int i = 0; i < n; i++) {
      struct connection *one = events[i].data.ptr;
      if (one == NULL) report();
      else if (one->fd >= 0) read_from(one);
    }
    if (ready == options.sockets && n < EVENTS_MAX && options.pause_us > 0) usleep((useconds_t)options.pause_us);
  }
}
