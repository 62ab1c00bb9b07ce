/*
 * Discards all that it receives: `sink PORT [HOST]`. MSG_TRUNC discards inside the kernel, without a copy, so that the sink
 * needs less CPU time than the relay under test. Closes after the end of the client.
 */
#include "load.h"

static void accept_all(int epoll, int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) return;
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

int main(int argc, char **argv) {
	if (argc != 2 && argc != 3) return 2;
	int listener, epoll = listen_on(argv[2], atoi(argv[1]), &listener);
	struct epoll_event events[256];
	for (;;) {
		int count = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;
			if (fd == listener) {
				accept_all(epoll, listener);
				continue;
			}
			ssize_t got = recv(fd, NULL, 1 << 22, MSG_TRUNC);
			if (got == 0 || (got < 0 && errno != EAGAIN)) close(fd);
		}
	}
}
