/* Echo on libuv: one buffer lent to every read, written at once where the kernel takes it, a request only for the rest.
 * A deadline is moved on by uv_timer_again. */
#include "listening.h"

#include <uv.h>

static char buffer[READ_BUFFER];

/* A rest on its way, with its bytes behind it. */
struct rest {
  uv_write_t request;
  char bytes[];
};

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle, (void)suggested;
  *buf = uv_buf_init(buffer, sizeof buffer);
}

static void closed(uv_handle_t *handle) { free(handle); }

static void end(uv_stream_t *stream) {
  if (uv_is_closing((uv_handle_t *)stream)) return;
  if (stream->data) uv_close(stream->data, closed);
  uv_close((uv_handle_t *)stream, closed);
}

static void idle(uv_timer_t *deadline) { end(deadline->data); }

static void far_off(uv_timer_t *timer) { (void)timer; }

static uv_timer_t *set_timer(uv_loop_t *loop, uv_timer_cb call, uint64_t after, void *data) {
  uv_timer_t *timer = malloc(sizeof *timer);
  if (!timer) die("malloc");
  uv_timer_init(loop, timer);
  timer->data = data;
  uv_timer_start(timer, call, after, after); /* the repeat is what uv_timer_again goes by */
  return timer;
}

static void rest_sent(uv_write_t *request, int status) {
  uv_stream_t *stream = request->handle;
  free(request);
  if (status < 0)
    end(stream);
  else
    uv_read_start(stream, lend, received);
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  if (n == 0) return;
  if (n < 0) return end(stream);
  if (stream->data) uv_timer_again(stream->data);
  uv_buf_t message = uv_buf_init(buf->base, n);
  int sent = uv_try_write(stream, &message, 1);
  if (sent == n) return;
  if (sent < 0 && sent != UV_EAGAIN) return end(stream);
  if (sent < 0) sent = 0;
  uv_read_stop(stream);
  struct rest *rest = malloc(sizeof *rest + n - sent);
  if (!rest) die("malloc");
  memcpy(rest->bytes, buf->base + sent, n - sent);
  message = uv_buf_init(rest->bytes, n - sent);
  if (uv_write(&rest->request, stream, &message, 1, rest_sent) < 0) {
    free(rest);
    end(stream);
  }
}

static void accept_one(uv_stream_t *listener, int status) {
  if (status < 0) return;
  uv_tcp_t *client = malloc(sizeof *client);
  if (!client) die("malloc");
  uv_tcp_init(listener->loop, client);
  client->data = idle_timeout ? set_timer(listener->loop, idle, IDLE_SECONDS * 1000, client) : NULL;
  if (uv_accept(listener, (uv_stream_t *)client) < 0)
    end((uv_stream_t *)client);
  else
    uv_read_start((uv_stream_t *)client, lend, received);
}

int main(int argc, char **argv) {
  expect_echo(argc, argv);
  uv_loop_t *loop = uv_default_loop();
  uv_tcp_t listener;
  uv_tcp_init(loop, &listener);
  if (uv_tcp_open(&listener, listening()) < 0) die("uv_tcp_open");
  if (uv_listen((uv_stream_t *)&listener, BACKLOG, accept_one) < 0) die("uv_listen");
  for (int i = 0; i < timers; i++) set_timer(loop, far_off, delay(i), NULL);
  return uv_run(loop, UV_RUN_DEFAULT);
}
