/* What the servers written in C share: a listener like the one the Rust servers have, and the first line on stdout. */
#ifndef LISTENING_H
#define LISTENING_H

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BACKLOG = 4096, READ_BUFFER = 32 * 1024, IDLE_SECONDS = 60 };

/* `echo timers COUNT` has as many timers live meanwhile; `echo idle-timeout COUNT` also limits how long a connection may
 * be idle, so that every message moves a deadline on. */
static int timers, idle_timeout;

static void die(const char *doing) {
  perror(doing);
  exit(1);
}

static void expect_echo(int argc, char **argv) {
  if (argc < 2 || strcmp(argv[1], "echo") != 0) {
    fprintf(stderr, "expected the role `echo`\n");
    exit(2);
  }
  if (argc < 4) return;
  timers = atoi(argv[3]);
  idle_timeout = strcmp(argv[2], "idle-timeout") == 0;
}

/* Milliseconds until the timer of this number is due: within a minute of each other, and not before all is over. */
static inline long delay(int i) { return 3600000 + 60000 + i * 7919L % 60000; }

/* Accepted sockets inherit TCP_NODELAY. */
static int listening(void) {
  int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (bind(fd, (struct sockaddr *)&address, length) < 0) die("bind");
  if (listen(fd, BACKLOG) < 0) die("listen");
  if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) die("getsockname");
  printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  return fd;
}

#endif
