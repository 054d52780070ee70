/* The lower limit of fan-out over sockets: one write() of a prepared frame to each connection every tick.
 *
 *     write-loop --port P --sockets N --tick-ms T --bytes B
 *
 * Accepts WebSocket upgrades (without Sec-WebSocket-Accept, which the load does not check) and starts when N are open. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "websocket.h"

static void fail(const char *what) {
  fprintf(stderr, "write-loop: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int option(int count, char **args, const char *name) {
  for (int i = 1; i + 1 < count; i++) {
    if (strcmp(args[i], name) == 0) return atoi(args[i + 1]);
  }
  errno = EINVAL;
  fail(name);
  return 0;
}

static int listen_on(int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, 4096) < 0) fail("listen");
  return fd;
}

/* Returns the next connection that requests a WebSocket; skips one that closes without a request. */
static int accept_upgraded(int listener) {
  static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
  static char request[65536];
  for (;;) {
    int fd = accept(listener, NULL, NULL), on = 1;
    if (fd < 0) fail("accept (more open files: ulimit -n)");
    if (recv(fd, request, sizeof request, 0) > 0) {
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      if (write(fd, answer, sizeof answer - 1) < 0) fail("write");
      return fd;
    }
    close(fd);
  }
}

int main(int count, char **args) {
  int sockets = option(count, args, "--sockets"), tick_ms = option(count, args, "--tick-ms");
  size_t bytes = (size_t)option(count, args, "--bytes");
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  int listener = listen_on(option(count, args, "--port"));
  int *fds = calloc((size_t)sockets, sizeof *fds);
  char *payload = malloc(bytes);
  unsigned char *frame = malloc(bytes + 14);
  memset(payload, 'x', bytes);
  size_t length = ws_frame_write(frame, WS_TEXT, payload, bytes, 0);
  for (int i = 0; i < sockets; i++) fds[i] = accept_upgraded(listener);
  int timer = timerfd_create(CLOCK_MONOTONIC, 0);
  struct timespec tick = {tick_ms / 1000, tick_ms % 1000 * 1000000L};
  struct itimerspec every = {tick, tick};
  timerfd_settime(timer, 0, &every, NULL);
  for (uint64_t ticks; read(timer, &ticks, sizeof ticks) > 0;) {
    for (int i = 0; i < sockets; i++) {
      if (fds[i] >= 0 && send(fds[i], frame, length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) close(fds[i]), fds[i] = -1;
    }
  }
  return 0;
}
