/* Timers on libuv. The handles are part of what they time, as they are where one is in each connection: setting one
 * takes no memory. */
#include "timers.h"

#include <uv.h>

static uv_loop_t *loop;
static size_t left;

static void fired(uv_timer_t *timer) {
  (void)timer;
  if (--left == 0) uv_stop(loop);
}

static void *insert(size_t count, delay *delay) {
  uv_timer_t *timers = memory(count, sizeof *timers);
  uv_update_time(loop);
  for (size_t i = 0; i < count; i++) {
    uv_timer_init(loop, &timers[i]);
    uv_timer_start(&timers[i], fired, delay(i), 0);
  }
  return timers;
}

static void cancel(void *timers, size_t count) {
  for (size_t i = 0; i < count; i++) uv_timer_stop((uv_timer_t *)timers + i);
}

static void fire(size_t count) {
  left = count;
  uv_run(loop, UV_RUN_DEFAULT);
}

int main(int argc, char **argv) {
  loop = uv_default_loop();
  return run(argc, argv);
}
