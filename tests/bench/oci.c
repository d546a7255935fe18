/* OCI runtimes on the same bundle, in turns and in a new order each round. Prints a table in Markdown; asserts nothing.
 *
 *     oci [--only-v2] ROUNDS DIR STATE NAME=PROGRAM...
 *
 * DIR/run is a bundle whose program ends at once, DIR/hold one whose program stays; STATE/NAME becomes the runtime's state.
 * With --only-v2 all of this happens in a mount namespace that shows cgroup2 alone at /sys/fs/cgroup: crun refuses hosts
 * with both. The first runtime is ours: its ratios to the others are printed. Time is CLOCK_MONOTONIC from before fork to
 * the return of wait4; standard streams are /dev/null. A runtime that fails its trial is left out, with what it said. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_RUNTIMES = 4, MAX_ROUNDS = 10000, CROWD = 100, MAX_WORDS = 12 };

enum measure { RUN, CYCLE, EXEC, ONE_OF_CROWD, ALL_OF_CROWD, LARGEST, GROUP, MEASURES };
static const struct {
	const char *name;
	int digits;
} measures[MEASURES] = {
	[RUN] = {"run, ms", 2},
	[CYCLE] = {"create, start, delete --force, ms", 2},
	[EXEC] = {"exec, ms", 2},
	[ONE_OF_CROWD] = {"100 runs at once: each of them, ms", 0},
	[ALL_OF_CROWD] = {"100 runs at once: until the last has ended, ms", 0},
	[LARGEST] = {"run: memory of the largest process, MiB", 2},
	[GROUP] = {"run: peak of a group with runtime and container, MiB", 2},
};

struct values {
	double *at;
	size_t n, room;
};
struct runtime {
	char *name, *program;
	bool out;
	unsigned failed; /* runs of the crowd */
	struct values got[MEASURES];
};

static struct runtime rts[MAX_RUNTIMES];
static size_t n_rts;
static const char *dir, *state;
static int memory = -1; /* v1's hierarchy of memory, where the runtimes do not see it */

static void must(bool ok, const char *what)
{
	if (!ok) {
		(void)fprintf(stderr, "oci: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static double now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static void add(struct values *v, double x)
{
	if (v->n == v->room) {
		v->room = v->room ? 2 * v->room : 64;
		v->at = realloc(v->at, v->room * sizeof *v->at);
		must(v->at, "memory");
	}
	v->at[v->n++] = x;
}

/* ---- One command ---- */

/* What exec needs, without allocation: ids are numbered, and a word for each %. */
struct command {
	char text[1024];
	char *argv[MAX_WORDS + 1];
};

/* Words of @rest are parted by blanks; %d of them is the number. */
static void __attribute__((format(printf, 3, 4)))
make(struct command *c, const struct runtime *r, const char *rest, ...)
{
	int n = snprintf(c->text, sizeof c->text, "%s --root %s/%s ", r->program, state, r->name);
	size_t words = 0;
	char *at = c->text, *word;
	va_list ap;

	va_start(ap, rest);
	n += vsnprintf(c->text + n, sizeof c->text - (size_t)n, rest, ap);
	va_end(ap);
	must((size_t)n < sizeof c->text, "a command that long");
	while ((word = strsep(&at, " ")) && words < MAX_WORDS)
		c->argv[words++] = word;
	c->argv[words] = NULL;
}

/* @err: where its messages go, or -1. @group: the group that it enters first, or -1. */
static pid_t spawn(const struct command *c, int err, int group)
{
	pid_t pid = fork();

	must(pid >= 0, "fork");
	if (pid > 0)
		return pid;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int tasks = group >= 0 ? openat(group, "tasks", O_WRONLY | O_CLOEXEC) : -1;

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err >= 0 ? err : null, 2) < 0)
		_exit(126);
	if (group >= 0 && write(tasks, "0", 1) != 1)
		_exit(126);
	(void)execv(c->argv[0], c->argv);
	_exit(127);
}

/* Milliseconds, or -1 when it failed. *ret_kib: the largest process that it was or waited for. */
static double finish(const struct command *c, int err, int group, long *ret_kib)
{
	const double begin = now_ms();
	pid_t pid = spawn(c, err, group);
	struct rusage use;
	int status;

	must(wait4(pid, &status, 0, &use) == pid, "wait4");
	if (ret_kib)
		*ret_kib = use.ru_maxrss;
	return status == 0 ? now_ms() - begin : -1;
}

static unsigned serial(void)
{
	static unsigned n;

	return ++n;
}

#define ID "fsbox-bench-%d-%u"

/* ---- What is measured: false when it failed ---- */

static bool do_run(struct runtime *r, int err)
{
	struct command c;
	long kib = 0;
	double ms;

	make(&c, r, "run --bundle %s/run " ID, dir, getpid(), serial());
	ms = finish(&c, err, -1, &kib);
	if (ms < 0)
		return false;
	add(&r->got[RUN], ms);
	add(&r->got[LARGEST], (double)kib / 1024);
	return true;
}

static bool do_cycle(struct runtime *r, int err)
{
	const unsigned n = serial();
	struct command create, start, end;
	double a, b, c;

	make(&create, r, "create --bundle %s/hold " ID, dir, getpid(), n);
	make(&start, r, "start " ID, getpid(), n);
	make(&end, r, "delete --force " ID, getpid(), n);
	a = finish(&create, err, -1, NULL);
	b = a >= 0 ? finish(&start, err, -1, NULL) : -1;
	c = finish(&end, err, -1, NULL);
	if (b < 0 || c < 0)
		return false;
	add(&r->got[CYCLE], a + b + c);
	return true;
}

/* The container in which exec is measured stays through all rounds. */
static bool keep_one(struct runtime *r, bool begin, int err)
{
	struct command c;

	if (begin)
		make(&c, r, "run --detach --bundle %s/hold fsbox-bench-%d-held", dir, getpid());
	else
		make(&c, r, "delete --force fsbox-bench-%d-held", getpid());
	return finish(&c, err, -1, NULL) >= 0;
}

static bool do_exec(struct runtime *r, int err)
{
	struct command c;
	double ms;

	make(&c, r, "exec fsbox-bench-%d-held /exit", getpid());
	ms = finish(&c, err, -1, NULL);
	if (ms >= 0)
		add(&r->got[EXEC], ms);
	return ms >= 0;
}

static void do_crowd(struct runtime *r)
{
	const double begin = now_ms();
	pid_t pids[CROWD];
	int status;

	for (size_t i = 0; i < CROWD; i++) {
		struct command c;

		make(&c, r, "run --bundle %s/run " ID, dir, getpid(), serial());
		pids[i] = spawn(&c, -1, -1);
	}
	for (size_t left = CROWD; left > 0; left--) {
		pid_t pid = wait4(-1, &status, 0, NULL);

		must(pid > 0, "wait4");
		for (size_t i = 0; i < CROWD; i++)
			if (pids[i] == pid && status == 0)
				add(&r->got[ONE_OF_CROWD], now_ms() - begin);
		r->failed += status != 0;
	}
	add(&r->got[ALL_OF_CROWD], now_ms() - begin);
}

/* With the kernel's memory: v1 charges it to the group of who asked for it. */
static void do_group(struct runtime *r)
{
	struct command c;
	char name[64], text[32] = "";
	int group, fd;
	ssize_t n;

	(void)snprintf(name, sizeof name, "fsbox-bench-%d", getpid());
	must(mkdirat(memory, name, 0755) == 0, "a group of memory");
	group = openat(memory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(group >= 0, "a group of memory");
	make(&c, r, "run --bundle %s/run " ID, dir, getpid(), serial());
	(void)finish(&c, -1, group, NULL);
	fd = openat(group, "memory.max_usage_in_bytes", O_RDONLY | O_CLOEXEC);
	n = read(fd, text, sizeof text - 1);
	must(n > 0, "memory.max_usage_in_bytes");
	(void)close(fd);
	(void)close(group);
	must(unlinkat(memory, name, AT_REMOVEDIR) == 0, "removing a group of memory");
	add(&r->got[GROUP], strtod(text, NULL) / (1 << 20));
}

/* ---- Turns ---- */

static void leave_out(struct runtime *r, FILE *said)
{
	char line[400] = "", last[400] = "";

	r->out = true;
	rewind(said);
	while (fgets(line, sizeof line, said))
		if (line[0] != '\n')
			(void)snprintf(last, sizeof last, "%s", line);
	last[strcspn(last, "\n")] = '\0';
	printf("%s is left out: %s\n", r->name, last[0] ? last : "it failed and said nothing");
}

/* Trials warm the caches; what they took does not count. */
static void try_out(struct runtime *r)
{
	FILE *said = tmpfile();
	int err;

	must(said, "a temporary file");
	err = fileno(said);
	if (!do_run(r, err) || !do_run(r, err) || !do_cycle(r, err) || !keep_one(r, true, err) || !do_exec(r, err))
		leave_out(r, said);
	for (size_t m = 0; m < MEASURES; m++)
		r->got[m].n = 0;
	(void)fclose(said);
}

/* Fisher and Yates's shuffle with a fixed generator, as in bench.c. */
static void shuffle(size_t *order)
{
	static unsigned seed = 1;

	for (size_t i = 0; i < n_rts; i++)
		order[i] = i;
	for (size_t i = n_rts; i > 1; i--) {
		seed = seed * 1103515245U + 12345U;
		size_t j = (seed >> 16) % i, swap = order[i - 1];

		order[i - 1] = order[j];
		order[j] = swap;
	}
}

static void run_round(bool crowd)
{
	static const int null = -1;
	size_t order[MAX_RUNTIMES];

	for (int what = 0; what < (crowd ? 5 : 3); what++) {
		shuffle(order);
		for (size_t i = 0; i < n_rts; i++) {
			struct runtime *r = &rts[order[i]];
			bool fine = true;

			if (r->out)
				continue;
			if (what < 3)
				fine = what == 0 ? do_run(r, null) : what == 1 ? do_cycle(r, null) : do_exec(r, null);
			else if (what == 3)
				do_crowd(r);
			else if (memory >= 0)
				do_group(r);
			if (!fine) {
				r->out = true;
				printf("%s is left out: it failed later on\n", r->name);
			}
		}
	}
}

/* ---- The table ---- */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double at(const struct values *v, double part)
{
	return v->at[(size_t)(part * (double)(v->n - 1) + 0.5)];
}

static void print_row(enum measure m)
{
	const struct values *ours = &rts[0].got[m];
	const int digits = measures[m].digits;

	printf("| %s |", measures[m].name);
	for (size_t i = 0; i < n_rts; i++) {
		const struct values *v = &rts[i].got[m];

		if (rts[i].out || v->n == 0)
			printf(" – |");
		else {
			printf(" %.*f / %.*f (%.*f) |", digits, at(v, 0.5), digits, at(v, 0.95), digits, at(v, 0));
		}
	}
	for (size_t i = 1; i < n_rts; i++) {
		const struct values *v = &rts[i].got[m];

		if (rts[0].out || rts[i].out || v->n == 0 || ours->n == 0)
			printf(" – |");
		else
			printf(" %.2f (%.2f) |", at(ours, 0.5) / at(v, 0.5), at(ours, 0) / at(v, 0));
	}
	printf("\n");
}

static void print_table(void)
{
	printf("\n| median / p95 (least) |");
	for (size_t i = 0; i < n_rts; i++)
		printf(" %s |", rts[i].name);
	for (size_t i = 1; i < n_rts; i++)
		printf(" %s / %s |", rts[0].name, rts[i].name);
	printf("\n|---|");
	for (size_t i = 0; i + 1 < 2 * n_rts; i++)
		printf("--:|");
	printf("\n");
	for (enum measure m = 0; m < MEASURES; m++) {
		bool any = false;

		for (size_t i = 0; i < n_rts; i++) {
			struct values *v = &rts[i].got[m];

			if (v->n > 0)
				qsort(v->at, v->n, sizeof *v->at, by_value);
			any |= v->n > 0 && !rts[i].out;
		}
		if (any)
			print_row(m);
	}
	for (size_t i = 0; i < n_rts; i++)
		if (!rts[i].out)
			printf("%s%s: %u of %zu runs at once failed", i ? "; " : "\n", rts[i].name, rts[i].failed,
			       CROWD * rts[i].got[ALL_OF_CROWD].n);
	printf("\n");
}

/* ---- The world ---- */

static void show_only_v2(void)
{
	memory = open("/sys/fs/cgroup/memory", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0)
		return;
	must(unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "a mount namespace");
	must(umount2("/sys/fs/cgroup", MNT_DETACH) == 0, "hiding the host's groups");
	must(mount("cgroup2", "/sys/fs/cgroup", "cgroup2", 0, NULL) == 0, "mounting cgroup2");
}

int main(int argc, char **argv)
{
	bool v2 = argc > 1 && strcmp(argv[1], "--only-v2") == 0;
	unsigned rounds;

	(void)setvbuf(stdout, NULL, _IOLBF, 0); /* a child inherits no half line */
	argc -= v2;
	argv += v2;
	if (argc < 5 || argc - 4 > MAX_RUNTIMES || sscanf(argv[1], "%u", &rounds) != 1 || rounds < 3 ||
	    rounds > MAX_ROUNDS) {
		(void)fprintf(stderr, "usage: oci [--only-v2] ROUNDS DIR STATE NAME=PROGRAM...\n");
		return 2;
	}
	dir = argv[2];
	state = argv[3];
	for (int i = 4; i < argc; i++) {
		struct runtime *r = &rts[n_rts++];

		r->program = argv[i];
		r->name = strsep(&r->program, "=");
		must(r->program, "NAME=PROGRAM");
	}
	if (v2)
		show_only_v2();
	for (size_t i = 0; i < n_rts; i++)
		try_out(&rts[i]);
	/* A crowd takes as long as a hundred rounds. */
	for (unsigned i = 0; i < rounds; i++)
		run_round(i % 20 == 10);
	for (size_t i = 0; i < n_rts; i++)
		(void)keep_one(&rts[i], false, -1);
	print_table();
	return 0;
}
