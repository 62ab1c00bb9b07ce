/*
 * Connects, sends 64 bytes, reads their echo and closes, again and again: `connect PORT CLIENTS SECONDS [HOST]`. Each
 * client connects at least once, all at the same time; the default host is 127.0.0.1. Prints
 *   {"connections":N,"seconds":S,"p50Us":A,"p99Us":B,"maxUs":M,"endedMs":E,"cpuSeconds":C,"failed":F}
 * Times are from socket() to the last echoed byte, in microseconds; endedMs is the Unix time of the last one.
 */
#include "load.h"

#define MESSAGE 64
#define MAX_CONNECTIONS 4000000
#define SILENCE_MS 20000

enum phase { CONNECTING, ECHOING };

static enum phase phases[MAX_FDS];
static double began_us[MAX_FDS];
static int echoed[MAX_FDS];
static float *times;
static long count, failed;
static int epoll, port, open_clients;
static double until_us, ended_ms;
static const char *host;

static int by_value(const void *a, const void *b) {
	float x = *(const float *)a, y = *(const float *)b;
	return (x > y) - (x < y);
}

/* Unix time. */
static double clock_ms(void) {
	struct timespec t;
	clock_gettime(CLOCK_REALTIME, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void connect_once(void) {
	double began = now_us();
	int fd = begin_connect_to(host, port);
	if (fd < 0) {
		failed++;
		return;
	}
	began_us[fd] = began;
	phases[fd] = CONNECTING;
	echoed[fd] = 0;
	open_clients++;
	watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
}

static void finish(int fd, int is_failure) {
	if (is_failure) failed++;
	else times[count++] = (float)(now_us() - began_us[fd]);
	close(fd);
	open_clients--;
	if (now_us() < until_us && count + failed < MAX_CONNECTIONS) connect_once();
	else ended_ms = clock_ms();
}

static void proceed(int fd) {
	static char message[MESSAGE], reply[MESSAGE];
	if (phases[fd] == CONNECTING) {
		phases[fd] = ECHOING;
		if (send(fd, message, MESSAGE, MSG_NOSIGNAL) != MESSAGE) finish(fd, 1);
		else watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
		return;
	}
	ssize_t got = recv(fd, reply, MESSAGE, 0);
	if (got < 0 && errno == EAGAIN) return;
	echoed[fd] += got > 0 ? (int)got : 0;
	if (got <= 0 || echoed[fd] >= MESSAGE) finish(fd, got <= 0);
}

static double quantile(double share) {
	return count == 0 ? 0 : (double)times[(long)((double)(count - 1) * share)];
}

int main(int argc, char **argv) {
	if (argc != 4 && argc != 5) return 2;
	port = atoi(argv[1]);
	host = argv[4];
	epoll = epoll_create1(EPOLL_CLOEXEC);
	times = malloc(MAX_CONNECTIONS * sizeof *times);
	double began = now_us();
	until_us = began + atof(argv[3]) * 1e6;
	for (int i = 0; i < atoi(argv[2]); i++) connect_once();
	struct epoll_event events[64];
	while (open_clients > 0) {
		int ready = epoll_wait(epoll, events, 64, SILENCE_MS);
		if (ready == 0) break;
		for (int i = 0; i < ready; i++) proceed(events[i].data.fd);
	}
	double seconds = (now_us() - began) / 1e6;
	qsort(times, (size_t)count, sizeof *times, by_value);
	printf("{\"connections\":%ld,\"seconds\":%.6f,\"p50Us\":%.1f,\"p99Us\":%.1f,\"maxUs\":%.1f,", count, seconds, quantile(0.5),
	       quantile(0.99), quantile(1));
	printf("\"endedMs\":%.1f,\"cpuSeconds\":%.6f,\"failed\":%ld}\n", ended_ms, cpu_seconds(), failed + open_clients);
}
