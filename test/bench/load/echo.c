/* Echo server: `echo PORT [HOST]`. Accepts on 127.0.0.1 until it is killed. */
#include "load.h"

static char buffer[1 << 16];

static void accept_all(int epoll, int listener) {
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) return;
		no_delay(fd);
		watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
	}
}

/* Messages are smaller than a send buffer, so a short write is an error of the client. */
static void answer(int fd) {
	ssize_t got = read(fd, buffer, sizeof buffer);
	if (got < 0 && errno == EAGAIN) return;
	if (got <= 0 || write(fd, buffer, (size_t)got) != got) close(fd);
}

int main(int argc, char **argv) {
	if (argc != 2 && argc != 3) return 2;
	signal(SIGPIPE, SIG_IGN);
	int listener, epoll = listen_on(argv[2], atoi(argv[1]), &listener);
	struct epoll_event events[256];
	for (;;) {
		int count = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener) accept_all(epoll, listener);
			else answer(events[i].data.fd);
		}
	}
}
