/* A socket of act and probe: a blocking handshake, then text frames in both directions through its own buffers. */
#pragma once
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "websocket.h"

#define IN_BYTES 16384
#define OUT_BYTES 16384
#define TEXT_BYTES 512
/* Length of head and mask of a frame below 64 KiB. */
#define FRAME_OVERHEAD 8

struct websocket {
  int fd;
  /* Unparsed received bytes start at `in_at`, unsent written bytes at `out_at`. */
  size_t in_at, in_end, out_at, out_end;
  unsigned char in[IN_BYTES], out[OUT_BYTES];
};

static inline void fail(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

/* Reads as much as fits. Ends the program if the server has closed the connection. */
static inline void websocket_read(struct websocket *s) {
  memmove(s->in, s->in + s->in_at, s->in_end - s->in_at);
  s->in_end -= s->in_at;
  s->in_at = 0;
  ssize_t got = read(s->fd, s->in + s->in_end, IN_BYTES - s->in_end);
  if (got > 0) s->in_end += (size_t)got;
  else if (got == 0 || (errno != EAGAIN && errno != EINTR)) fail("the server closed, or a frame is too large");
}

/* Returns whether all bytes are sent; the rest is tried again when the socket is writable. */
static inline bool websocket_flush(struct websocket *s) {
  while (s->out_at < s->out_end) {
    ssize_t sent = send(s->fd, s->out + s->out_at, s->out_end - s->out_at, MSG_NOSIGNAL);
    if (sent < 0) return false;
    s->out_at += (size_t)sent;
  }
  s->out_at = s->out_end = 0;
  return true;
}

/* The caller must check the free space. */
static inline void websocket_text(struct websocket *s, const char *text, size_t length) {
  s->out_end += ws_frame_write(s->out + s->out_end, WS_TEXT, text, length, 1);
}

/* Returns the next received text, not terminated by 0, or NULL. */
static inline const char *websocket_next(struct websocket *s, size_t *length) {
  struct ws_frame frame;
  size_t size = ws_frame_read(s->in + s->in_at, s->in_end - s->in_at, &frame);
  if (size == 0) return NULL;
  if (frame.opcode != WS_TEXT) fail("the server sent something else than text");
  s->in_at += size;
  *length = frame.length;
  return (const char *)frame.payload;
}

static inline void websocket_open(struct websocket *s, int port, const char *path) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  s->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (s->fd < 0 || connect(s->fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
  int on = 1;
  setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  s->out_end = (size_t)ws_upgrade((char *)s->out, OUT_BYTES, "127.0.0.1", port, path, "");
  websocket_flush(s);
  const unsigned char *end = NULL;
  while (end == NULL) {
    websocket_read(s);
    end = memmem(s->in, s->in_end, "\r\n\r\n", 4);
  }
  if (memcmp(s->in, "HTTP/1.1 101", 12) != 0) fail("the server did not upgrade a connection");
  s->in_at = (size_t)(end + 4 - s->in);
}

/* Reads until the next text, which must begin with `start`. */
static inline void websocket_expect(struct websocket *s, const char *start) {
  const char *text;
  size_t length;
  while ((text = websocket_next(s, &length)) == NULL) websocket_read(s);
  if (length < strlen(start) || memcmp(text, start, strlen(start)) != 0) {
    fprintf(stderr, "expected %s and got %.*s\n", start, (int)length, text);
    exit(1);
  }
}

/* Opens a Socket.IO connection and completes its handshake. https://socket.io/docs/v4/socket-io-protocol/ */
static inline void socket_io_open(struct websocket *s, int port, const char *auth) {
  char connect[TEXT_BYTES];
  int length = snprintf(connect, sizeof connect, "40%s", auth);
  websocket_open(s, port, "/socket.io/?EIO=4&transport=websocket");
  websocket_expect(s, "0{");
  websocket_text(s, connect, (size_t)length);
  websocket_flush(s);
  websocket_expect(s, "40");
}
