/* Runs contestants in turns, in a new order each round: a machine that gets slower does so for all, and what one leaves for
 * the kernel to tear down (namespaces, groups) does not always fall on the same successor. Prints a table
 * in Markdown. Time is from fork to the end of waitpid, CLOCK_MONOTONIC; the outputs go to /dev/null.
 *
 *     bench ROUNDS FILE      FILE: a line for each contestant: NAME TAB WORD TAB WORD …
 *
 * In a word, %d stands for a number that is new each time (container ids). A contestant that fails its two trial runs is
 * left out, and its reason is printed. The first contestant is the floor; ratios are to it, and of each pair named by
 * --ratio A:B. The options --calls NAME1:NAMEn:N print (time(NAMEn) - time(NAME1)) / N, the price of one more call. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_CONTESTANTS = 16, MAX_WORDS = 4096, MAX_ROUNDS = 10000 };

struct contestant {
	char *name;
	char *words[MAX_WORDS + 1];
	size_t n_words;
	bool out;
	double *ms;
};

static struct contestant cs[MAX_CONTESTANTS];
static size_t n_cs;
static size_t rounds;
static unsigned serial;

static double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* The words of one run, numbered; freed by the caller. */
static char **make_argv(const struct contestant *c)
{
	char **argv = calloc(c->n_words + 1, sizeof *argv);

	if (!argv)
		abort();
	for (size_t i = 0; i < c->n_words; i++) {
		const char *mark = strstr(c->words[i], "%d");

		if (!mark)
			argv[i] = strdup(c->words[i]);
		else if (asprintf(&argv[i], "%.*s%d-%u%s", (int)(mark - c->words[i]), c->words[i], getpid(), serial,
				  mark + 2) < 0)
			argv[i] = NULL;
		if (!argv[i])
			abort();
	}
	serial++;
	return argv;
}

static void free_argv(char **argv)
{
	for (size_t i = 0; argv[i]; i++)
		free(argv[i]);
	free(argv);
}

/* One run: its time in ms; *ret_status as waitpid(2) has it. @err_fd takes its messages. */
static double run_once(const struct contestant *c, int err_fd, int *ret_status)
{
	char **argv = make_argv(c);
	double start = now_ms();
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err_fd, 2) < 0)
			_exit(126);
		(void)execv(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, ret_status, 0) != pid)
		abort();
	double took = now_ms() - start;
	free_argv(argv);
	return took;
}

/* Two trial runs: they warm the caches, and what fails is left out with the last line that it said. */
static void try_out(struct contestant *c)
{
	FILE *said = tmpfile();
	char line[400] = "", last[400] = "";
	int status = 0;

	if (!said)
		abort();
	for (int i = 0; i < 2 && status == 0; i++)
		(void)run_once(c, fileno(said), &status);
	if (status != 0) {
		c->out = true;
		rewind(said);
		while (fgets(line, sizeof line, said))
			if (line[0] != '\n')
				(void)snprintf(last, sizeof last, "%s", line);
		last[strcspn(last, "\n")] = '\0';
		printf("%s is left out: it ended with %s %d: %s\n", c->name, WIFSIGNALED(status) ? "signal" : "status",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), last);
	}
	(void)fclose(said);
}

/* Fisher and Yates's shuffle with a fixed generator: the orders are the same in every run of the benchmark. */
static void shuffle(size_t *order)
{
	static unsigned state = 1;

	for (size_t i = n_cs; i > 1; i--) {
		state = state * 1103515245U + 12345U;
		size_t j = (state >> 16) % i, swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

static void run_round(size_t r, int null)
{
	size_t order[MAX_CONTESTANTS];

	for (size_t i = 0; i < n_cs; i++)
		order[i] = i;
	shuffle(order);
	for (size_t i = 0; i < n_cs; i++) {
		struct contestant *c = &cs[order[i]];
		int status = 0;

		if (c->out)
			continue;
		c->ms[r] = run_once(c, null, &status);
		if (status != 0) {
			c->out = true;
			printf("%s is left out: it failed in round %zu\n", c->name, r + 1);
		}
	}
}

static void read_contestants(const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (!f) {
		perror(path);
		exit(1);
	}
	while (getline(&line, &size, f) > 0) {
		struct contestant *c = &cs[n_cs];
		char *at = line, *word;

		if (n_cs == MAX_CONTESTANTS)
			abort();
		line[strcspn(line, "\n")] = '\0';
		while ((word = strsep(&at, "\t"))) {
			if (!c->name)
				c->name = strdup(word);
			else if (c->n_words < MAX_WORDS)
				c->words[c->n_words++] = strdup(word);
		}
		c->ms = calloc(rounds, sizeof *c->ms);
		if (!c->ms)
			abort();
		n_cs += c->n_words > 0;
	}
	free(line);
	(void)fclose(f);
}

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double at(const struct contestant *c, double part)
{
	return c->ms[(size_t)(part * (double)(rounds - 1) + 0.5)];
}

static const struct contestant *named(const char *name, size_t len)
{
	for (size_t i = 0; i < n_cs; i++)
		if (!cs[i].out && strlen(cs[i].name) == len && memcmp(cs[i].name, name, len) == 0)
			return &cs[i];
	return NULL;
}

/* "A:B": how often B's median fits into A's. */
static void print_ratio(const char *pair)
{
	const char *colon = strchr(pair, ':');
	const struct contestant *a = colon ? named(pair, (size_t)(colon - pair)) : NULL;
	const struct contestant *b = a ? named(colon + 1, strlen(colon + 1)) : NULL;

	if (a && b)
		printf("%s / %s = %.2f\n", a->name, b->name, at(a, 0.5) / at(b, 0.5));
}

static void print_calls(const char *triple)
{
	char one[64], many[64];
	unsigned n;

	if (sscanf(triple, "%63[^:]:%63[^:]:%u", one, many, &n) != 3 || n == 0)
		return;
	const struct contestant *a = named(one, strlen(one)), *b = named(many, strlen(many));
	if (a && b)
		printf("one more call to a warm cell: %.1f us (medians of %s and %s)\n",
		       (at(b, 0.5) - at(a, 0.5)) * 1000 / n, many, one);
}

int main(int argc, char **argv)
{
	unsigned n;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* a child inherits no half line */
	if (argc < 3 || sscanf(argv[1], "%u", &n) != 1 || n < 3 || n > MAX_ROUNDS || null < 0) {
		(void)fprintf(stderr, "usage: bench ROUNDS FILE [--ratio A:B | --calls A:B:N]...\n");
		return 2;
	}
	rounds = n;
	read_contestants(argv[2]);
	for (size_t i = 0; i < n_cs; i++)
		try_out(&cs[i]);
	for (size_t r = 0; r < rounds; r++)
		run_round(r, null);
	printf("\n| | median ms | p95 ms | min ms | median / %s |\n|---|--:|--:|--:|--:|\n", cs[0].name);
	for (size_t i = 0; i < n_cs; i++) {
		if (cs[i].out)
			continue;
		qsort(cs[i].ms, rounds, sizeof *cs[i].ms, by_value);
		printf("| %s | %.2f | %.2f | %.2f | ", cs[i].name, at(&cs[i], 0.5), at(&cs[i], 0.95), at(&cs[i], 0));
		if (cs[0].out)
			printf("|\n");
		else
			printf("%.2f |\n", at(&cs[i], 0.5) / at(&cs[0], 0.5));
	}
	printf("\n");
	for (int i = 3; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--ratio") == 0)
			print_ratio(argv[i + 1]);
		else if (strcmp(argv[i], "--calls") == 0)
			print_calls(argv[i + 1]);
	}
	return 0;
}
