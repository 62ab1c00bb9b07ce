/*
 * Opens connections, exchanges one byte on each and leaves them open: `hold PORT CONNECTIONS`. Prints
 *   {"open":N,"failed":F}
 * and closes them at the end of its stdin.
 */
#include "load.h"

#define AT_A_TIME 64
#define SILENCE_MS 10000

int main(int argc, char **argv) {
	if (argc != 3) return 2;
	int port = atoi(argv[1]), wanted = atoi(argv[2]), epoll = epoll_create1(EPOLL_CLOEXEC);
	int begun = 0, pending = 0, open_count = 0, failed = 0;
	char byte = 'x';
	struct epoll_event events[AT_A_TIME];
	while (open_count + failed < wanted) {
		for (; begun < wanted && pending < AT_A_TIME; begun++, pending++) {
			int fd = begin_connect(port);
			if (fd < 0) die("connect");
			watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
		}
		int ready = epoll_wait(epoll, events, AT_A_TIME, SILENCE_MS);
		if (ready == 0) break;
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			if (events[i].events & EPOLLOUT) {
				/* An error of the connection shows at the read. */
				(void)!send(fd, &byte, 1, MSG_NOSIGNAL);
				watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
				continue;
			}
			pending--;
			if (recv(fd, &byte, 1, 0) == 1) open_count++;
			else failed++;
			watch(epoll, EPOLL_CTL_DEL, fd, 0);
		}
	}
	printf("{\"open\":%d,\"failed\":%d}\n", open_count, wanted - open_count);
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0) {}
}
