/* Echo on raw epoll, level-triggered: the least that a server can do. */
#define _GNU_SOURCE
#include "listening.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS = 1024, DESCRIPTORS = 32 * 1024 };

/* What the kernel did not take, by descriptor. While there is any, nothing is read. */
static struct pending {
  char *bytes;
  size_t start, end;
} pending[DESCRIPTORS];

static int poller;
static char buffer[READ_BUFFER];

static void watch(int operation, int fd, unsigned interest) {
  struct epoll_event event = {.events = interest, .data.fd = fd};
  if (epoll_ctl(poller, operation, fd, &event) < 0) die("epoll_ctl");
}

static void accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  if (fd >= DESCRIPTORS)
    close(fd);
  else
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void end(int fd) {
  free(pending[fd].bytes);
  pending[fd] = (struct pending){0};
  close(fd);
}

static void receive(int fd) {
  ssize_t received = recv(fd, buffer, sizeof buffer, 0);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (received <= 0) return end(fd);
  ssize_t sent = send(fd, buffer, received, MSG_NOSIGNAL);
  if (sent == received) return;
  if (sent < 0 && errno != EAGAIN) return end(fd);
  if (sent < 0) sent = 0;
  struct pending *rest = &pending[fd];
  rest->start = 0;
  rest->end = received - sent;
  rest->bytes = malloc(rest->end);
  if (!rest->bytes) die("malloc");
  memcpy(rest->bytes, buffer + sent, rest->end);
  watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void send_rest(int fd) {
  struct pending *rest = &pending[fd];
  ssize_t sent = send(fd, rest->bytes + rest->start, rest->end - rest->start, MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) return;
  if (sent < 0) return end(fd);
  rest->start += sent;
  if (rest->start < rest->end) return;
  free(rest->bytes);
  *rest = (struct pending){0};
  watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

int main(int argc, char **argv) {
  expect_echo(argc, argv);
  static struct epoll_event events[EVENTS];
  poller = epoll_create1(EPOLL_CLOEXEC);
  if (poller < 0) die("epoll_create1");
  int listener = listening();
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    int n = epoll_wait(poller, events, EVENTS, -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
      int fd = events[i].data.fd;
      if (fd == listener)
        accept_one(fd);
      else if (pending[fd].bytes)
        send_rest(fd);
      else
        receive(fd);
    }
  }
}
