/* read: for each line "READERS MILLISECONDS PATH" of its input, that many processes open the file, read it to its end
 * and close it, again and again for so long; then says in one line how long one such cycle took, in microseconds (tenth
 * percentile, median, 99th), and how many there were together.
 * Build: cc -O2 -o read read.c */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READERS = 64, CYCLES = 1 << 17 };

static struct {
	unsigned count[READERS];
	unsigned nsec[READERS * CYCLES];
} *shared;

static long long now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void cycle(const char *path)
{
	static char text[1 << 16];
	ssize_t length;
	int file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		err(1, "%s", path);
	while ((length = read(file, text, sizeof text)) > 0)
		;
	if (length < 0)
		err(1, "%s", path);
	close(file);
}

static int by_size(const void *one, const void *other)
{
	unsigned a = *(const unsigned *)one, b = *(const unsigned *)other;
	return (a > b) - (a < b);
}

int main(void)
{
	unsigned readers, milliseconds;
	char path[4096];
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	while (scanf("%u %u %4095s", &readers, &milliseconds, path) == 3 && readers && readers <= READERS) {
		for (unsigned number = 0; number < readers; number++) {
			pid_t pid = fork();
			if (pid < 0)
				err(1, "fork");
			if (pid)
				continue;
			unsigned *nsec = shared->nsec + number * CYCLES, count = 0;
			long long before = now(), end = before + milliseconds * 1000000LL;
			while (before < end && count < CYCLES) {
				cycle(path);
				long long after = now();
				nsec[count++] = after - before;
				before = after;
			}
			shared->count[number] = count;
			_exit(0);
		}
		for (int status; wait(&status) > 0;)
			if (status)
				errx(1, "a reader failed");
		unsigned all = 0;
		for (unsigned number = 0; number < readers; number++)
			for (unsigned each = 0; each < shared->count[number]; each++)
				shared->nsec[all++] = shared->nsec[number * CYCLES + each];
		qsort(shared->nsec, all, sizeof *shared->nsec, by_size);
		printf("%.2f %.2f %.2f %u\n", shared->nsec[all / 10] / 1e3, shared->nsec[all / 2] / 1e3,
		       shared->nsec[all - 1 - all / 100] / 1e3, all);
		fflush(stdout);
	}
	return 0;
}
