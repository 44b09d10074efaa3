/* What is asked of every program that has timers, as src/timer_work.rs asks it of those in Rust:
 * `timers-PEER insert|cancel|fire|hold LIVE TIMES`. */
#ifndef TIMERS_H
#define TIMERS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Milliseconds, for the timer of this number. */
typedef uint64_t delay(size_t i);

/* Sets as many, in memory of their own, which is returned. */
static void *insert(size_t count, delay *delay);
/* Cancels the first so many of those. */
static void cancel(void *timers, size_t count);
/* Runs until as many have fired. */
static void fire(size_t count);

/* Spreads them over a minute, in no order: 7,919 is prime to it. */
static uint64_t far(size_t i) { return 60000 + i * 7919 % 60000; }

/* Spreads them over a second. */
static uint64_t near(size_t i) { return i * 7919 % 1000; }

static void die(const char *doing) {
  perror(doing);
  exit(1);
}

static void *memory(size_t count, size_t size) {
  void *got = calloc(count ? count : 1, size);
  if (!got) die("calloc");
  return got;
}

static double seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec + now.tv_nsec / 1e9;
}

/* Bytes that are anonymous and resident. */
static long resident(void) {
  char line[128];
  long kib = -1;
  FILE *status = fopen("/proc/self/status", "r");
  if (!status) die("/proc/self/status");
  while (kib < 0 && fgets(line, sizeof line, status)) sscanf(line, "RssAnon: %ld kB", &kib);
  fclose(status);
  return kib * 1024;
}

static int usage(void) {
  fprintf(stderr, "usage: timers-PEER insert|cancel|fire|hold LIVE TIMES\n");
  return 2;
}

static int run(int argc, char **argv) {
  if (argc != 4) return usage();
  const char *work = argv[1];
  size_t live = strtoull(argv[2], NULL, 10), times = strtoull(argv[3], NULL, 10);
  long before = resident();
  void *timers = insert(live, far);
  if (strcmp(work, "hold") == 0) {
    printf("%ld\n", resident() - before);
    return 0;
  }
  if (strcmp(work, "fire") == 0) insert(live, near);
  double begun = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
  if (strcmp(work, "insert") == 0)
    insert(times, far);
  else if (strcmp(work, "cancel") == 0)
    cancel(timers, times);
  else if (strcmp(work, "fire") != 0)
    return usage();
  else if (times > 0)
    fire(times);
  double each = (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu) * 1e9 / times;
  printf("%.1f %.3f\n", each, seconds(CLOCK_MONOTONIC) - begun);
  fflush(stdout);
  _Exit(0); /* freeing what is still live would count as part of the work */
}

#endif
