/* Shared by the load generators: clocks, sockets and fatal errors. Linux only. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Clients use as many source addresses, 127.0.0.2 and following, because each has about 28,000 ports to one server. */
#define SOURCES 8
#define MAX_FDS 65536

static inline void die(const char *what) {
	perror(what);
	exit(1);
}

/* Microseconds of the monotonic clock. */
static inline double now_us(void) {
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* User and system seconds of this process. */
static inline double cpu_seconds(void) {
	struct rusage r;
	getrusage(RUSAGE_SELF, &r);
	return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static inline struct sockaddr_in loopback(int host, int port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + (uint32_t)host);
	return address;
}

static inline void no_delay(int fd) {
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static inline void watch(int epoll, int op, int fd, uint32_t events) {
	struct epoll_event event = {.events = events, .data.fd = fd};
	if (epoll_ctl(epoll, op, fd, &event) < 0) die("epoll_ctl");
}

/* Listens on 127.0.0.1, or on another address, and returns an epoll descriptor that watches the listener. */
static inline int listen_on(const char *host, int port, int *listener) {
	int one = 1;
	struct sockaddr_in address = loopback(1, port);
	if (host != NULL) address.sin_addr.s_addr = inet_addr(host);
	*listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	setsockopt(*listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(*listener, (struct sockaddr *)&address, sizeof address) < 0) die("bind");
	if (listen(*listener, 4096) < 0) die("listen");
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	watch(epoll, EPOLL_CTL_ADD, *listener, EPOLLIN);
	return epoll;
}

/* Begins to connect from the next source address to 127.0.0.1, or to another host. Returns a non-blocking socket, or -1. */
static inline int begin_connect_to(const char *host, int port) {
	static int count;
	int one = 1;
	struct sockaddr_in source = loopback(2 + count++ % SOURCES, 0), server = loopback(1, port);
	if (host != NULL) {
		source.sin_addr.s_addr = htonl(INADDR_ANY);
		server.sin_addr.s_addr = inet_addr(host);
	}
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || fd >= MAX_FDS) die("socket");
	no_delay(fd);
	/* The port is chosen at connect(): at bind() it would be unique among all servers. */
	setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&source, sizeof source) < 0) die("bind");
	if (connect(fd, (struct sockaddr *)&server, sizeof server) == 0 || errno == EINPROGRESS) return fd;
	close(fd);
	return -1;
}

static inline int begin_connect(int port) {
	return begin_connect_to(NULL, port);
}
