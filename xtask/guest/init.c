/*
 * The first and only process that a guest starts with: runs the commands of /jobs one after the other, says on the
 * console how each ended, and switches the machine off.
 *
 * A line of /jobs is one command: seconds that it may take, then settings of the environment (NAME=VALUE), the program
 * and its arguments, separated by tabs. What commands print goes to the console as it is, by way of a pipe: they are not
 * to think that somebody watches. A frame begins with the byte 0x1e, which no command prints: "begin N", "end N CODE",
 * "late N", "done".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MOST_WORDS = 64, NOT_STARTED = 127 };

static void frame(const char *what, int number, int code)
{
	printf("\036%s %d %d\n", what, number, code);
	fflush(stdout);
}

static void file_systems(void)
{
	static const struct { const char *kind, *place; } all[] = {
		{ "proc", "/proc" }, { "sysfs", "/sys" }, { "devtmpfs", "/dev" }, { "tmpfs", "/tmp" }, { "tmpfs", "/dev/shm" },
	};
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
		mkdir(all[i].place, 0755);
		if (mount(all[i].kind, all[i].place, all[i].kind, 0, NULL))
			printf("init: mounting %s: %s\n", all[i].place, strerror(errno));
	}
}

/* Bytes leave as they are: no carriage returns. */
static void raw_console(void)
{
	struct termios t;

	if (!tcgetattr(1, &t)) {
		cfmakeraw(&t);
		tcsetattr(1, TCSANOW, &t);
	}
}

static void become(char **words, int output)
{
	int nothing = open("/dev/null", O_RDONLY);

	dup2(nothing, 0);
	dup2(output, 1);
	dup2(output, 2);
	setsid();
	while (*words && strchr(*words, '='))
		putenv(*words++);
	if (*words)
		execvp(*words, words);
	printf("init: %s: %s\n", *words ? *words : "no command", strerror(errno));
	fflush(stdout);
	_exit(NOT_STARTED);
}

/* Passes on what is in the pipe. */
static void pass_on(int pipe)
{
	char bytes[4096];
	ssize_t len;

	while ((len = read(pipe, bytes, sizeof bytes)) > 0)
		for (ssize_t done = 0, one; done < len && (one = write(1, bytes + done, len - done)) > 0; done += one)
			;
}

/* Whoever has ended is reaped, also those whose parent is gone. */
static int await(pid_t child, int pipe, int seconds, int *status)
{
	struct pollfd output = { pipe, POLLIN, 0 };
	time_t end = time(NULL) + seconds;
	int late = 0;

	for (;;) {
		int one;
		pid_t pid = waitpid(-1, &one, WNOHANG);

		if (pid == child) {
			*status = one;
			return late;
		}
		if (pid > 0)
			continue;
		if (!late && time(NULL) > end) {
			late = 1;
			kill(-1, SIGKILL);
		}
		/* At the end of the pipe there is nothing to wait for, but the child may work on. */
		if (poll(&output, 1, 10) > 0 && !(output.revents & POLLIN))
			usleep(10 * 1000);
		pass_on(pipe);
	}
}

static void run(char *line, int number)
{
	char *words[MOST_WORDS + 1], *rest = line, *word;
	int n = 0, status = 0, ends[2];
	int seconds = atoi(strsep(&rest, "\t"));

	while (n < MOST_WORDS && (word = strsep(&rest, "\t")))
		words[n++] = word;
	words[n] = NULL;
	frame("begin", number, 0);
	if (pipe2(ends, O_CLOEXEC))
		return;
	pid_t child = fork();
	if (!child)
		become(words, ends[1]);
	close(ends[1]);
	fcntl(ends[0], F_SETFL, O_NONBLOCK);
	if (await(child, ends[0], seconds, &status))
		frame("late", number, seconds);
	/* What it left behind must not disturb the next. */
	kill(-1, SIGKILL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	pass_on(ends[0]);
	close(ends[0]);
	frame("end", number, WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

int main(void)
{
	struct rlimit no_core = { 0, 0 };
	char *line = NULL;
	size_t room = 0;
	int number = 0;

	raw_console();
	file_systems();
	setrlimit(RLIMIT_CORE, &no_core);
	setenv("PATH", "/bin", 1);
	setenv("HOME", "/tmp", 1);
	FILE *jobs = fopen("/jobs", "re");
	while (jobs && getline(&line, &room, jobs) > 0) {
		line[strcspn(line, "\n")] = 0;
		run(line, number++);
	}
	frame("done", number, 0);
	tcdrain(1);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}
