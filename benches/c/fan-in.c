/* Reads many slow poems at once on raw epoll, level-triggered: `fan-in ADDRESS COUNT` prints how many bytes came. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, READ_BUFFER = 32 * 1024 };

static char buffer[READ_BUFFER];

static void die(const char *doing) {
  perror(doing);
  exit(1);
}

static void start(int poller, const struct sockaddr_in *address) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  if (connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS) die("connect");
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0) die("epoll_ctl");
}

int main(int argc, char **argv) {
  char *colon = argc == 3 ? strchr(argv[1], ':') : NULL;
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (!colon) {
    fprintf(stderr, "usage: fan-in ADDRESS COUNT\n");
    return 2;
  }
  *colon = 0;
  address.sin_port = htons(atoi(colon + 1));
  if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) die(argv[1]);
  int poller = epoll_create1(EPOLL_CLOEXEC), left = atoi(argv[2]);
  if (poller < 0) die("epoll_create1");
  for (int i = 0; i < left; i++) start(poller, &address);
  static struct epoll_event events[EVENTS];
  size_t bytes = 0;
  while (left > 0) {
    int n = epoll_wait(poller, events, EVENTS, -1);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
      ssize_t received = recv(events[i].data.fd, buffer, sizeof buffer, 0);
      if (received < 0 && (errno == EAGAIN || errno == EINTR)) continue;
      if (received < 0) die("recv");
      if (received == 0) {
        close(events[i].data.fd);
        left--;
      }
      bytes += received;
    }
  }
  printf("%zu\n", bytes);
}
