#define TAP_NO_MAIN
#include "tests/lib/lone_daemon.h"

#include "base/fd.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct lone lone = {.reading = -1};
struct lone_result *lone_result;

static bool fails(void)
{
	if (lone.fail_at == 0 || ++lone.allocations != lone.fail_at)
		return false;
	return lone.failed = true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *s)
{
	return fails() ? NULL : __real_strdup(s);
}

/* SQLite's own, which are not linked in. */
static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int n)
{
	return fails() ? NULL : sqlite_memory.xMalloc(n);
}

static void *sqlite_realloc(void *p, int n)
{
	return fails() ? NULL : sqlite_memory.xRealloc(p, n);
}

static uint64_t begun_ns;

int __real_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __real_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);
int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old);

static uint64_t real_ns(void)
{
	struct timespec ts;

	(void)__real_clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
	if (id != CLOCK_MONOTONIC || begun_ns == 0)
		return __real_clock_gettime(id, ts);
	const uint64_t ns = begun_ns + (real_ns() - begun_ns) * LONE_FASTER;
	*ts = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	return 0;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
	struct itimerspec real = *at;
	const uint64_t ns = (uint64_t)at->it_value.tv_sec * NS_PER_S + (uint64_t)at->it_value.tv_nsec;

	if (ns > begun_ns) {
		const uint64_t to = begun_ns + (ns - begun_ns) / LONE_FASTER + 1;
		real.it_value.tv_sec = (time_t)(to / NS_PER_S);
		real.it_value.tv_nsec = (long)(to % NS_PER_S);
	}
	return __real_timerfd_settime(fd, flags, &real, old);
}

int __real_store_from(struct store *s, uint32_t after, int (*fn)(const struct stored *f, void *arg), void *arg,
		      struct err *e);
int __wrap_store_from(struct store *s, uint32_t after, int (*fn)(const struct stored *f, void *arg), void *arg,
		      struct err *e);

int __wrap_store_from(struct store *s, uint32_t after, int (*fn)(const struct stored *f, void *arg), void *arg,
		      struct err *e)
{
	if (lone.reading == 0)
		return err_set(e, ERR_SYSTEM, EIO, "kept functions: reading: disk I/O error");
	lone.reading -= lone.reading > 0;
	return __real_store_from(s, after, fn, arg, e);
}

int __real_store_open_now(struct store *s, const char *file, struct err *e);
int __wrap_store_open_now(struct store *s, const char *file, struct err *e);

int __wrap_store_open_now(struct store *s, const char *file, struct err *e)
{
	if (lone.opened < LONE_OPENINGS)
		lone.opened_ns[lone.opened] = clock_mono_ns();
	lone.opened++;
	return __real_store_open_now(s, file, e);
}

/* In the place of the look at its files. */
void __wrap_deployment_go_on(struct deployment *p);
void __wrap_deployment_go_on(struct deployment *p)
{
	struct err e = {0};
	const size_t n = strlen(lone.began);

	if (lone.going_on > 0) {
		lone.going_on--;
		(void)err_oom(&e);
		deployment_fail(p, &e);
		return;
	}
	(void)snprintf(lone.began + n, sizeof lone.began - n, "%s ", p->f->name);
	deployment_free(p);
}

/* Of fsboxd's main.c. */
void daemon_complain(const struct err *e)
{
	if (secure_getenv("FSBOX_TEST_VERBOSE"))
		tap_note("  %s %s", e->where, e->msg);
}

void daemon_event(struct daemon *of, enum event_kind kind, const struct function *f, const struct unit *u,
		  const char *invocation, const char *status, const char *detail)
{
	const size_t n = strlen(lone.told);

	(void)of, (void)u, (void)invocation, (void)status, (void)detail;
	if (kind == EV_DEPLOYED || kind == EV_UNDEPLOYED)
		(void)snprintf(lone.told + n, sizeof lone.told - n, "%c%s ", kind == EV_DEPLOYED ? '+' : '-', f->name);
}

/* ---- A daemon ---- */

static void no_streams(struct daemon *of)
{
	(void)of;
}

static void no_room(struct daemon *of, struct function *f)
{
	(void)of, (void)f;
}

static void spawn_gone(void *arg, const struct err *why)
{
	(void)arg, (void)why;
}

static void begin(void)
{
	static const struct link_ops ops = {.gone = spawn_gone};
	static const struct peers_budget budget = {
		.memory_bytes = 1 << 30, .max_cells = 10, .max_queued = 10, .max_functions = 10, .max_execs = 10};
	sqlite3_mem_methods ours;
	struct err e = {0};
	int sv[2];

	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK)
		abort();
	ours = sqlite_memory;
	ours.xMalloc = sqlite_malloc;
	ours.xRealloc = sqlite_realloc;
	if (sqlite3_config(SQLITE_CONFIG_MALLOC, &ours) != SQLITE_OK)
		abort();
	lone.d.config.memory_bytes = budget.memory_bytes;
	lone.d.on_room = no_room;
	lone.d.on_event = no_streams;
	lone.d.limits = true;
	if (peers_load(&lone.d.peers, NULL, &budget, &e) < 0 || loop_open(&lone.d.loop, &e) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0 ||
	    link_open(&lone.d.link, &lone.d.loop, sv[0], &ops, &lone.d, &e) < 0)
		abort();
	lone.spawn_end = sv[1];
}

/* The digest is the name. */
static bool keep(struct store *s, const char *name, const char *spec)
{
	const struct stored f = {
		.owner = LONE_OWNER, .gid = LONE_OWNER, .name = name, .digest = name, .spec = spec, .path = "/f.so"};
	struct err e = {0};
	uint32_t number;

	return store_put(s, &f, &number, &e) == 0;
}

bool lone_make_store(const char *file, const char *spec, const char *const *names)
{
	struct store s;
	struct err e = {0};
	bool ok = store_open(&s, file, &e) == 0;

	for (; ok && *names; names++)
		ok = keep(&s, *names, spec);
	store_close(&s);
	return ok;
}

bool lone_sql(const char *file, const char *text)
{
	sqlite3 *db = NULL;
	const bool ok = sqlite3_open(file, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;

	(void)sqlite3_close(db);
	return ok;
}

bool lone_write(const char *file, const char *text, size_t len)
{
	AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd_valid(fd) && fd_write_all(fd, text, len) == 0;
}

int lone_hand_over(const char *name, uint32_t flags, uint32_t kept, struct err *e)
{
	static struct spawn_datagram g;
	struct deploy_note note = {.magic = DEPLOY_NOTE_MAGIC, .owner = LONE_OWNER, .kept = kept};

	spawn_function_begin(&g, LONE_NUMBER);
	g.function.flags = flags;
	g.function.runtime = SPAWN_RUNTIME_NATIVE;
	(void)snprintf(note.name, sizeof note.name, "%s", name);
	(void)snprintf(note.digest, sizeof note.digest, "%s", name);
	g.function.note_len = sizeof note;
	memcpy(g.function.note, &note, sizeof note);
	return deploy_known(&lone.d, &g.function, NULL, 0, e);
}

bool lone_has_sent(enum spawn_word word)
{
	static struct spawn_datagram g;
	bool any = false;

	while (recv(lone.spawn_end, g.bytes, sizeof g.bytes, MSG_DONTWAIT) > 0)
		any = any || g.head.word == word;
	return any;
}

bool lone_work_until(bool (*done)(void), uint64_t most_s)
{
	const uint64_t end = clock_mono_ns() + most_s * NS_PER_S;
	struct err e = {0};

	while (!done() && clock_mono_ns() < end)
		if (loop_once(&lone.d.loop, 5, &e) < 0)
			abort();
	return done();
}

bool lone_never(void)
{
	return false;
}

static void remove_all(void)
{
	static const char *const names[] = {"functions.db", "functions.db-wal", "new.db", "new.db-wal"};
	char file[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(file, sizeof file, "%s/%s", lone.dir, names[i]);
		(void)unlink(file);
	}
	CHECK_EQ(rmdir(lone.dir), 0);
}

void lone_run(int (*fn)(uint64_t), uint64_t arg)
{
	int status = 0;
	pid_t pid;

	if (!lone_result)
		lone_result = mmap(NULL, sizeof *lone_result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
				   0);
	(void)snprintf(lone.dir, sizeof lone.dir, "/tmp/fsbox-stored-XXXXXX");
	if (lone_result == MAP_FAILED || !mkdtemp(lone.dir))
		abort();
	(void)snprintf(lone.path, sizeof lone.path, "%s/functions.db", lone.dir);
	*lone_result = (struct lone_result){.line = -1};
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		begun_ns = real_ns();
		begin();
		lone_result->line = fn(arg);
		lone_result->failed = lone.failed;
		(void)fflush(stdout);
		_exit(0); /* what a daemon holds is not given back one by one */
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (!CHECK_EQ(lone_result->line, 0))
		tap_note("  that line, with %llu", (unsigned long long)arg);
	remove_all();
}

bool lone_open(void)
{
	struct err e = {0};

	return deploy_open_store(&lone.d, lone.path, &e) == 0;
}
