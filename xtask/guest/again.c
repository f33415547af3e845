/*
 * again TIMES [kill] RECORD... : starts `busy`, has `textpoke RECORD... -p PID` record it so many times, and looks that
 * it lives and is well all the while. With `kill`, each recording is killed after some milliseconds, and `textpoke repair`
 * puts the process right.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 32, PATIENCE = 100 };

static pid_t start(char **words)
{
	pid_t pid = fork();

	if (!pid) {
		execvp(words[0], words);
		perror(words[0]);
		_exit(127);
	}
	return pid;
}

/* Its exit code, 128 and more for a signal. */
static int end_of(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int repaired(char *pid)
{
	char *words[] = { "textpoke", "repair", pid, NULL };

	/* A sidecar that has lost its tracer may still be at work, and is waited for. */
	for (int i = 0; i < PATIENCE; i++) {
		if (!end_of(start(words)))
			return 1;
		usleep(100 * 1000);
	}
	return 0;
}

int main(int count, char **words)
{
	char pid[16], *record[MOST] = { "textpoke", "record" }, *busy[] = { "busy", NULL };
	int times = count > 1 ? atoi(words[1]) : 0, n = 2, at = 2, bad = 0;
	int kills = count > 2 && !strcmp(words[2], "kill");

	at += kills;
	while (at < count && n < MOST - 3)
		record[n++] = words[at++];
	record[n++] = "-p";
	record[n++] = pid;
	pid_t program = start(busy);
	snprintf(pid, sizeof pid, "%d", program);
	usleep(300 * 1000);
	for (int i = 0; i < times && !bad; i++) {
		pid_t recorder = start(record);

		if (kills) {
			/* From before it attaches until after it has. */
			usleep(1000 * (100 + 97 * i % 1500));
			kill(recorder, SIGKILL);
		}
		int code = end_of(recorder);
		if (kills ? !repaired(pid) : code) {
			printf("again: round %d ended with %d\n", i, code);
			bad = 1;
		}
		if (waitpid(program, &(int){ 0 }, WNOHANG)) {
			printf("again: the program died in round %d\n", i);
			return 1;
		}
	}
	kill(program, SIGUSR1);
	int code = end_of(program);
	printf("again: %d rounds, the program ended with %d\n", times, code);
	return bad || code;
}
