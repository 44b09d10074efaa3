/* Reads many slow poems at once on libuv: `fan-in-libuv ADDRESS COUNT` prints how many bytes came. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { READ_BUFFER = 32 * 1024 };

struct poem {
  uv_tcp_t socket;
  uv_connect_t request;
};

static char buffer[READ_BUFFER];
static size_t bytes;

static void check(const char *doing, int status) {
  if (status >= 0) return;
  fprintf(stderr, "%s: %s\n", doing, uv_strerror(status));
  exit(1);
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  (void)handle, (void)suggested;
  *buf = uv_buf_init(buffer, sizeof buffer);
}

static void received(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  (void)buf;
  if (n == UV_EOF) return uv_close((uv_handle_t *)stream, NULL);
  check("read", n);
  bytes += n;
}

static void connected(uv_connect_t *request, int status) {
  check("connect", status);
  uv_read_start(request->handle, lend, received);
}

int main(int argc, char **argv) {
  char *colon = argc == 3 ? strchr(argv[1], ':') : NULL;
  struct sockaddr_in address;
  if (!colon) {
    fprintf(stderr, "usage: fan-in-libuv ADDRESS COUNT\n");
    return 2;
  }
  *colon = 0;
  check(argv[1], uv_ip4_addr(argv[1], atoi(colon + 1), &address));
  int count = atoi(argv[2]);
  struct poem *poems = calloc(count ? count : 1, sizeof *poems);
  if (!poems) return 1;
  for (int i = 0; i < count; i++) {
    uv_tcp_init(uv_default_loop(), &poems[i].socket);
    const struct sockaddr *to = (const struct sockaddr *)&address;
    check("connect", uv_tcp_connect(&poems[i].request, &poems[i].socket, to, connected));
  }
  uv_run(uv_default_loop(), UV_RUN_DEFAULT);
  printf("%zu\n", bytes);
}
