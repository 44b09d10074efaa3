/* Echo on libevent's bufferevents: what has come is moved, not copied, from the input to the output; above a high-water
 * mark reading stops until the output is empty. All connections are idle for as long, and so in one queue. */
#include "listening.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

enum { HIGH_WATER = 64 * 1024 };

/* How long a connection may be idle, or NULL. */
static const struct timeval *patience;

static void received(struct bufferevent *client, void *context) {
  (void)context;
  struct evbuffer *output = bufferevent_get_output(client);
  bufferevent_read_buffer(client, output);
  if (evbuffer_get_length(output) > HIGH_WATER) bufferevent_disable(client, EV_READ);
}

static void drained(struct bufferevent *client, void *context) {
  (void)context;
  if (!(bufferevent_get_enabled(client) & EV_READ)) bufferevent_enable(client, EV_READ);
}

static void ended(struct bufferevent *client, short what, void *context) {
  (void)what, (void)context;
  bufferevent_free(client);
}

static void accepted(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer, int n, void *context) {
  (void)peer, (void)n, (void)context;
  struct bufferevent *client =
      bufferevent_socket_new(evconnlistener_get_base(listener), fd, BEV_OPT_CLOSE_ON_FREE);
  if (!client) die("bufferevent_socket_new");
  bufferevent_setcb(client, received, drained, ended, NULL);
  bufferevent_set_max_single_read(client, READ_BUFFER);
  if (patience) bufferevent_set_timeouts(client, patience, NULL);
  bufferevent_enable(client, EV_READ | EV_WRITE);
}

static void far_off(evutil_socket_t fd, short what, void *context) { (void)fd, (void)what, (void)context; }

static void set_timer(struct event_base *base, long ms) {
  struct timeval after = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
  struct event *timer = evtimer_new(base, far_off, NULL);
  if (!timer || evtimer_add(timer, &after) < 0) die("evtimer_add");
}

int main(int argc, char **argv) {
  expect_echo(argc, argv);
  struct event_base *base = event_base_new();
  if (!base) die("event_base_new");
  struct timeval idle = {.tv_sec = IDLE_SECONDS};
  if (idle_timeout) patience = event_base_init_common_timeout(base, &idle);
  for (int i = 0; i < timers; i++) set_timer(base, delay(i));
  /* A backlog of 0: it listens already. */
  if (!evconnlistener_new(base, accepted, NULL, LEV_OPT_CLOSE_ON_FREE, 0, listening())) die("evconnlistener_new");
  return event_base_dispatch(base) < 0;
}
