/* The parts of WebSocket (RFC 6455) that a load needs: the upgrade request, and frames in both directions. */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

enum { WS_TEXT = 1, WS_BINARY = 2, WS_CLOSE = 8, WS_PING = 9, WS_PONG = 10 };

/* A received frame; `payload` points into the receive buffer. */
struct ws_frame {
  int opcode;
  const unsigned char *payload;
  size_t length;
};

/* `headers`: further headers, each ended by \r\n. Returns the length, or -1 if it does not fit. The server's
 * Sec-WebSocket-Accept is not checked, so all connections use the same key. */
static inline int ws_upgrade(char *out, size_t size, const char *host, int port, const char *path,
                             const char *headers) {
  int n = snprintf(out, size,
                   "GET %s HTTP/1.1\r\nHost: %s:%d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                   path, host, port, headers);
  return n < 0 || (size_t)n >= size ? -1 : n;
}

/* Writes a frame into `out`, which has room for 14 bytes more than the payload; `masked` as clients must. Returns its
 * length. The mask is constant; it costs the server as much as any other mask. */
static inline size_t ws_frame_write(unsigned char *out, int opcode, const void *payload, size_t length, int masked) {
  static const unsigned char mask[4] = {0x5a, 0xc3, 0x96, 0x17};
  const unsigned char *from = payload;
  size_t n = 0;
  unsigned char bit = masked ? 0x80 : 0;
  out[n++] = (unsigned char)(0x80 | opcode);
  if (length < 126) {
    out[n++] = (unsigned char)(bit | length);
  } else if (length < 65536) {
    out[n++] = bit | 126;
    out[n++] = (unsigned char)(length >> 8);
    out[n++] = (unsigned char)length;
  } else {
    out[n++] = bit | 127;
    for (int shift = 56; shift >= 0; shift -= 8) out[n++] = (unsigned char)((uint64_t)length >> shift);
  }
  if (!masked) {
    memcpy(out + n, from, length);
    return n + length;
  }
  memcpy(out + n, mask, 4);
  n += 4;
  for (size_t i = 0; i < length; i++) out[n + i] = from[i] ^ mask[i & 3];
  return n + length;
}

/* Parses one unmasked frame of a server at the start of the received bytes. Returns its length with its head, 0 if it is
 * incomplete. */
static inline size_t ws_frame_read(const unsigned char *in, size_t size, struct ws_frame *frame) {
  if (size < 2) return 0;
  size_t head = 2;
  uint64_t length = in[1] & 0x7f;
  if (length == 126) {
    if (size < 4) return 0;
    length = (uint64_t)in[2] << 8 | in[3];
    head = 4;
  } else if (length == 127) {
    if (size < 10) return 0;
    length = 0;
    for (int i = 2; i < 10; i++) length = length << 8 | in[i];
    head = 10;
  }
  if (size - head < length) return 0;
  frame->opcode = in[0] & 0x0f;
  frame->payload = in + head;
  frame->length = (size_t)length;
  return head + (size_t)length;
}

#endif
