/*
 * Records of operations: latency, errors by code, and a ledger of acknowledged operations, from which the totals of
 * every post follow.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SECONDS_MAX 3600
/* Histogram buckets: 64 for each power of two of microseconds, so that a quantile is at most 1.6 % off. */
#define SUB_BITS 6
#define BUCKETS ((40 - SUB_BITS) << SUB_BITS)

enum error { RATE_LIMITED, OVERLOADED, UNAVAILABLE, OTHER, ERRORS };
static const char *const ERROR_NAMES[ERRORS] = {"RATE_LIMITED", "OVERLOADED", "UNAVAILABLE", "OTHER"};

struct latencies {
  uint64_t count, max_us, histogram[BUCKETS];
};

struct books {
  uint64_t sent, acknowledged, applied, retried, errors[ERRORS];
  /* Latencies of operations acknowledged during the measured time. */
  struct latencies latencies;
  uint64_t acknowledged_in[SECONDS_MAX], refused_in[SECONDS_MAX];
  /* Indexed by post. */
  uint64_t *views, *likes;
};

static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* CPU seconds of a process and all its threads, ended ones included. */
static inline double cpu_seconds(pid_t pid) {
  clockid_t clock;
  struct timespec t;
  if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return -1;
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline unsigned bucket_of(uint64_t us) {
  if (us < (1u << SUB_BITS)) return (unsigned)us;
  unsigned shift = 63u - (unsigned)__builtin_clzll(us) - SUB_BITS;
  unsigned bucket = ((shift + 1) << SUB_BITS) + (unsigned)((us >> shift) & ((1u << SUB_BITS) - 1));
  return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

static inline void book_latency(struct latencies *l, uint64_t ns) {
  uint64_t us = ns / 1000;
  l->count++;
  l->histogram[bucket_of(us)]++;
  if (us > l->max_us) l->max_us = us;
}

static inline double quantile_ms(const struct latencies *l, double q) {
  uint64_t rank = (uint64_t)(q * (double)l->count), seen = 0;
  for (unsigned i = 0; i < BUCKETS; i++) {
    seen += l->histogram[i];
    if (seen <= rank) continue;
    unsigned shift = i >> SUB_BITS, low = i & ((1u << SUB_BITS) - 1);
    return (shift == 0 ? (double)low : (double)((uint64_t)(low | (1u << SUB_BITS)) << (shift - 1))) / 1000;
  }
  return (double)l->max_us / 1000;
}

/* `on`: one bit for each post, for one actor. */
static inline void book_like(struct books *b, uint8_t *on, uint32_t post, bool liked) {
  uint8_t *byte = &on[post >> 3], bit = (uint8_t)(1 << (post & 7));
  if (((*byte & bit) != 0) == liked) return;
  *byte ^= bit;
  if (liked) b->likes[post]++;
  else b->likes[post]--;
}

static inline void print_latencies(const char *name, const struct latencies *l) {
  printf("\"%s\":{\"count\":%llu,\"p50\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}", name,
         (unsigned long long)l->count, quantile_ms(l, 0.5), quantile_ms(l, 0.99), quantile_ms(l, 0.999),
         (double)l->max_us / 1000);
}

static inline void print_list(const char *name, const uint64_t *values, unsigned count) {
  printf("\"%s\":[", name);
  for (unsigned i = 0; i < count; i++) printf("%s%llu", i ? "," : "", (unsigned long long)values[i]);
  printf("]");
}

static inline void print_books(const struct books *b, unsigned posts, unsigned seconds) {
  printf("\"sent\":%llu,\"acknowledged\":%llu,\"applied\":%llu,\"retried\":%llu,\"errors\":{",
         (unsigned long long)b->sent, (unsigned long long)b->acknowledged, (unsigned long long)b->applied,
         (unsigned long long)b->retried);
  for (int i = 0; i < ERRORS; i++)
    printf("%s\"%s\":%llu", i ? "," : "", ERROR_NAMES[i], (unsigned long long)b->errors[i]);
  printf("},");
  print_latencies("latencyMs", &b->latencies);
  printf(",");
  print_list("acknowledgedIn", b->acknowledged_in, seconds);
  printf(",");
  print_list("refusedIn", b->refused_in, seconds);
  printf(",\"ledger\":{");
  print_list("likes", b->likes, posts);
  printf(",");
  print_list("views", b->views, posts);
  printf("}");
}
