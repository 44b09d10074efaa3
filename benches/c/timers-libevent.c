/* Timers on libevent. The events are part of what they time: setting one takes no memory of its own but a place in the
 * heap. */
#include "timers.h"

#include <event2/event.h>
#include <event2/event_struct.h>

static struct event_base *base;
static size_t left;

static void fired(evutil_socket_t fd, short what, void *context) {
  (void)fd, (void)what, (void)context;
  if (--left == 0) event_base_loopbreak(base);
}

static void *insert(size_t count, delay *delay) {
  struct event *timers = memory(count, sizeof *timers);
  for (size_t i = 0; i < count; i++) {
    struct timeval after = {.tv_sec = delay(i) / 1000, .tv_usec = delay(i) % 1000 * 1000};
    evtimer_assign(&timers[i], base, fired, NULL);
    if (evtimer_add(&timers[i], &after) < 0) die("evtimer_add");
  }
  return timers;
}

static void cancel(void *timers, size_t count) {
  for (size_t i = 0; i < count; i++) evtimer_del((struct event *)timers + i);
}

static void fire(size_t count) {
  left = count;
  event_base_dispatch(base);
}

int main(int argc, char **argv) {
  base = event_base_new();
  if (!base) die("event_base_new");
  return run(argc, argv);
}
