/*
 * Sends as fast as it can: `flood PORT STREAMS SECONDS [HOST]`. Each stream ends with a half-close and waits for the end of
 * the server, so all bytes have passed the relay when it prints
 *   {"bytes":N,"seconds":S,"cpuSeconds":C,"failed":F}
 */
#include "load.h"

#define CHUNK (1 << 18)
#define CONNECT_MS 5000
#define DRAIN_US 20e6

static char chunk[CHUNK];
static char is_sending[MAX_FDS];
static uint64_t bytes;
static int open_streams, failed;

static void end(int fd, int is_failure) {
	failed += is_failure;
	open_streams--;
	close(fd);
}

static void await_server_end(int fd) {
	char byte;
	ssize_t got = recv(fd, &byte, 1, 0);
	if (got == 0) end(fd, 0);
	else if (got > 0 || errno != EAGAIN) end(fd, 1);
}

/* One chunk for each event, so that the streams take turns. */
static void send_chunk(int fd) {
	ssize_t sent = send(fd, chunk, CHUNK, MSG_NOSIGNAL);
	if (sent > 0) bytes += (uint64_t)sent;
	else if (errno != EAGAIN) end(fd, 1);
}

static void half_close(int epoll, int fd) {
	is_sending[fd] = 0;
	shutdown(fd, SHUT_WR);
	watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
}

int main(int argc, char **argv) {
	if (argc != 4 && argc != 5) return 2;
	int port = atoi(argv[1]), streams = atoi(argv[2]), epoll = epoll_create1(EPOLL_CLOEXEC);
	double began = now_us(), until = began + atof(argv[3]) * 1e6;
	for (; open_streams < streams; open_streams++) {
		int fd = begin_connect_to(argv[4], port);
		if (fd < 0) die("connect");
		is_sending[fd] = 1;
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
	}
	struct epoll_event events[256];
	while (open_streams > 0 && now_us() < until + DRAIN_US) {
		int count = epoll_wait(epoll, events, 256, CONNECT_MS);
		if (count == 0) break;
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (!is_sending[fd]) await_server_end(fd);
			else if (now_us() < until) send_chunk(fd);
			else half_close(epoll, fd);
		}
	}
	printf("{\"bytes\":%llu,\"seconds\":%.6f,\"cpuSeconds\":%.6f,\"failed\":%d}\n", (unsigned long long)bytes,
	       (now_us() - began) / 1e6, cpu_seconds(), failed + open_streams);
}
