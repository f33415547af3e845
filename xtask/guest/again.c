/*
 * again TIMES [kill] RECORD... : starts `busy`, has `textpoke RECORD... -p PID` record it so many times, and looks that
 * it lives and is well all the while. The traces go to /tmp/again-0 and so on. With `kill`, each recorder is killed once
 * it has laid hands on the process, each time some milliseconds later, and `textpoke repair` puts the process right.
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

/* Waits until somebody traces the process, or the recorder has ended. */
static void await_tracer(const char *pid, pid_t recorder)
{
	char path[64], line[128];
	siginfo_t ended = { 0 };
	int tracer = 0;

	snprintf(path, sizeof path, "/proc/%s/status", pid);
	while (!tracer) {
		FILE *status = fopen(path, "r");

		while (status && fgets(line, sizeof line, status))
			if (sscanf(line, "TracerPid: %d", &tracer) == 1)
				break;
		if (status)
			fclose(status);
		if (waitid(P_PID, recorder, &ended, WEXITED | WNOHANG | WNOWAIT) || ended.si_pid)
			return;
	}
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
	char pid[16], place[32], *busy[] = { "busy", NULL };
	char *record[MOST] = { "textpoke", "record", "-o", place, "-p", pid };
	int times = count > 1 ? atoi(words[1]) : 0, n = 6, at = 2, bad = 0;
	int kills = count > 2 && !strcmp(words[2], "kill");

	at += kills;
	while (at < count && n < MOST - 1)
		record[n++] = words[at++];
	pid_t program = start(busy);
	snprintf(pid, sizeof pid, "%d", program);
	usleep(300 * 1000);
	for (int i = 0; i < times && !bad; i++) {
		snprintf(place, sizeof place, "/tmp/again-%d", i);
		pid_t recorder = start(record);

		if (kills) {
			await_tracer(pid, recorder);
			usleep(75 * 1000 * i);
			kill(recorder, SIGKILL);
		}
		int code = end_of(recorder);
		if (kills ? code != 128 + SIGKILL || !repaired(pid) : code) {
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
