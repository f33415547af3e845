/*
 * Threads that compute, and know what must come out; one that sleeps, and must not be woken; one that forks and starts
 * programs. Runs until SIGUSR1, or for the seconds given, and ends with 0 if all was well.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN __attribute__((noinline))

enum { WORKERS = 3 };

static atomic_int over;
static atomic_long rounds;

OWN static long leaf(long x) { return 3 * x + 1; }

OWN static long middle(long x)
{
	long sum = 0;

	for (int i = 0; i < 4; i++)
		sum += leaf(x + i);
	return sum;
}

OWN static long outer(long x) { return x & 1 ? middle(x) : middle(x + 1) + leaf(x); }

OWN static long recursive(long n) { return n < 2 ? n : recursive(n - 1) + recursive(n - 2); }

static void fail(const char *what, long at)
{
	printf("busy: %s, %ld (errno %d)\n", what, at, errno);
	_exit(1);
}

static void round_of(long i)
{
	long odd = i | 1;

	/* Four times 3x + 1, for x from odd to odd + 3. */
	if (outer(odd) != 12 * odd + 22 || outer(odd + 1) != 12 * (odd + 2) + 22 + 3 * (odd + 1) + 1)
		fail("wrong result", i);
	if (i % 64 == 0 && recursive(12) != 144)
		fail("wrong recursion", i);
}

static void *brief(void *unused)
{
	round_of(7);
	return unused;
}

static void *work(void *unused)
{
	long i;

	for (i = 0; !over; i++) {
		round_of(i);
		if (i % 4096 == 0) {
			pthread_t thread;

			/* Threads that take over the memory of dead ones. */
			if (pthread_create(&thread, NULL, brief, NULL) || pthread_join(thread, NULL))
				fail("no thread", i);
		}
	}
	rounds += i;
	return unused;
}

static void *sleep_on(void *unused)
{
	int epoll = epoll_create1(0);
	struct epoll_event event;

	/* Nothing is ever to happen there. */
	if (epoll_wait(epoll, &event, 1, -1) != 0)
		fail("a sleeper was woken", errno == EINTR);
	return unused;
}

static void *multiply(void *unused)
{
	char *words[] = { "busy", "child", NULL }, *nothing[] = { NULL };

	for (long i = 0; !over; i++) {
		int status = 0;
		pid_t child = i & 1 ? fork() : -1;

		if (!child) {
			round_of(i);
			_exit(0);
		}
		/* Which shares this memory until it has a program of its own. */
		if (!(i & 1) && posix_spawn(&child, "/proc/self/exe", NULL, NULL, words, nothing))
			fail("cannot start a program", i);
		if (waitpid(child, &status, 0) != child || status)
			fail("a child ended badly", status);
		usleep(20 * 1000);
	}
	return unused;
}

static void end(int signal) { over = signal; }

int main(int count, char **words)
{
	int seconds = count > 1 ? atoi(words[1]) : 1 << 30;
	pthread_t sleeper, parent, workers[WORKERS];

	if (count > 1 && !strcmp(words[1], "child")) {
		round_of(1);
		return 0;
	}

	signal(SIGUSR1, end);
	pthread_create(&sleeper, NULL, sleep_on, NULL);
	pthread_create(&parent, NULL, multiply, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_create(&workers[i], NULL, work, NULL);
	for (int i = 0; i < seconds && !over; i++)
		sleep(1);
	over = 1;
	for (int i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	pthread_join(parent, NULL);
	printf("busy: %ld rounds, all right\n", (long)rounds);
	return 0;
}
