/* Functions from the time of another fsboxd, while memory, descriptors, the store's disk or its file fail: nothing that is
 * kept may be given up for it. fsboxd's own code with a socket in the place of fsbox-spawn and no children; each case is a
 * process, because that code has one daemon. Time runs fast, and by the linker (tools/daemon.mk) allocations and readings
 * fail when they are told to. */
#include "base/fd.h"
#include "base/mem.h"
#include "base/str.h"
#include "daemon/deployment.h"
#include "daemon/store_place.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

enum { FASTER = 20, OWNER = 7, NUMBER = 5, OPENINGS = 16 };

/* ---- What fails, and what is seen ---- */

static struct {
	uint64_t allocations, fail_at; /* 0: none fails */
	bool failed;
	int reading;  /* so many rows are given before reading fails with EIO; -1: none fails */
	int going_on; /* so many functions fail for lack of memory when their files are to be looked at */
	unsigned opened;
	uint64_t opened_ns[OPENINGS];
	char began[256]; /* names of those that came so far, with a blank behind each */
	char told[1024]; /* "+name " and "-name " */
} t = {.reading = -1};

static struct daemon d;
static char dir[64], path[96];
static int spawn_end;

static bool fails(void)
{
	if (t.fail_at == 0 || ++t.allocations != t.fail_at)
		return false;
	return t.failed = true;
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
	const uint64_t ns = begun_ns + (real_ns() - begun_ns) * FASTER;
	*ts = (struct timespec){.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
	return 0;
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *at, struct itimerspec *old)
{
	struct itimerspec real = *at;
	const uint64_t ns = (uint64_t)at->it_value.tv_sec * NS_PER_S + (uint64_t)at->it_value.tv_nsec;

	if (ns > begun_ns) {
		const uint64_t to = begun_ns + (ns - begun_ns) / FASTER + 1;
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
	if (t.reading == 0)
		return err_set(e, ERR_SYSTEM, EIO, "kept functions: reading: disk I/O error");
	t.reading -= t.reading > 0;
	return __real_store_from(s, after, fn, arg, e);
}

int __real_store_open_now(struct store *s, const char *file, struct err *e);
int __wrap_store_open_now(struct store *s, const char *file, struct err *e);

int __wrap_store_open_now(struct store *s, const char *file, struct err *e)
{
	if (t.opened < OPENINGS)
		t.opened_ns[t.opened] = clock_mono_ns();
	t.opened++;
	return __real_store_open_now(s, file, e);
}

/* In the place of the look at its files. */
void __wrap_deployment_go_on(struct deployment *p);
void __wrap_deployment_go_on(struct deployment *p)
{
	struct err e = {0};
	const size_t n = strlen(t.began);

	if (t.going_on > 0) {
		t.going_on--;
		(void)err_oom(&e);
		deployment_fail(p, &e);
		return;
	}
	(void)snprintf(t.began + n, sizeof t.began - n, "%s ", p->f->name);
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
	const size_t n = strlen(t.told);

	(void)of, (void)u, (void)invocation, (void)status, (void)detail;
	if (kind == EV_DEPLOYED || kind == EV_UNDEPLOYED)
		(void)snprintf(t.told + n, sizeof t.told - n, "%c%s ", kind == EV_DEPLOYED ? '+' : '-', f->name);
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
	d.config.memory_bytes = budget.memory_bytes;
	d.on_room = no_room;
	d.on_event = no_streams;
	d.limits = true;
	if (peers_load(&d.peers, NULL, &budget, &e) < 0 || loop_open(&d.loop, &e) < 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0 ||
	    link_open(&d.link, &d.loop, sv[0], &ops, &d, &e) < 0)
		abort();
	spawn_end = sv[1];
}

/* The digest is the name. */
static bool keep(struct store *s, const char *name, const char *spec)
{
	const struct stored f = {
		.owner = OWNER, .gid = OWNER, .name = name, .digest = name, .spec = spec, .path = "/f.so"};
	struct err e = {0};
	uint32_t number;

	return store_put(s, &f, &number, &e) == 0;
}

#define SPEC "{\"target\": \"/f.so\"}"

/* A file with functions of these names and this spec. */
static bool make_store(const char *file, const char *spec, const char *const *names)
{
	struct store s;
	struct err e = {0};
	bool ok = store_open(&s, file, &e) == 0;

	for (; ok && *names; names++)
		ok = keep(&s, *names, spec);
	store_close(&s);
	return ok;
}

static bool sql(const char *file, const char *text)
{
	sqlite3 *db = NULL;
	const bool ok = sqlite3_open(file, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK;

	(void)sqlite3_close(db);
	return ok;
}

static bool write_file(const char *file, const char *text, size_t len)
{
	AUTO_FD int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	return fd_valid(fd) && fd_write_all(fd, text, len) == 0;
}

/* What fsbox-spawn hands over: the function @name, with a policy's filter after init or without. */
static int hand_over(const char *name, uint32_t flags, uint32_t kept, struct err *e)
{
	static struct spawn_datagram g;
	struct deploy_note note = {.magic = DEPLOY_NOTE_MAGIC, .owner = OWNER, .kept = kept};

	spawn_function_begin(&g, NUMBER);
	g.function.flags = flags;
	g.function.runtime = SPAWN_RUNTIME_NATIVE;
	(void)snprintf(note.name, sizeof note.name, "%s", name);
	(void)snprintf(note.digest, sizeof note.digest, "%s", name);
	g.function.note_len = sizeof note;
	memcpy(g.function.note, &note, sizeof note);
	return deploy_known(&d, &g.function, NULL, 0, e);
}

/* What fsboxd has said to fsbox-spawn since the last look. */
static bool has_sent(enum spawn_word word)
{
	static struct spawn_datagram g;
	bool any = false;

	while (recv(spawn_end, g.bytes, sizeof g.bytes, MSG_DONTWAIT) > 0)
		any = any || g.head.word == word;
	return any;
}

/* Lets the daemon work for a while of its own time. */
static bool work_until(bool (*done)(void), uint64_t most_s)
{
	const uint64_t end = clock_mono_ns() + most_s * NS_PER_S;
	struct err e = {0};

	while (!done() && clock_mono_ns() < end)
		if (loop_once(&d.loop, 5, &e) < 0)
			abort();
	return done();
}

static bool never(void)
{
	return false;
}

/* 0, or the line of what is not as it should be. */
#define WANT(cond)                       \
	do {                             \
		if (!(cond))             \
			return __LINE__; \
	} while (0)

/* In memory that the case's process shares. */
static struct result {
	int line;
	bool failed; /* an allocation was made to fail */
} * result;

static void remove_all(void)
{
	static const char *const names[] = {"functions.db", "functions.db-wal", "new.db", "new.db-wal"};
	char file[128];

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		(void)snprintf(file, sizeof file, "%s/%s", dir, names[i]);
		(void)unlink(file);
	}
	CHECK_EQ(rmdir(dir), 0);
}

static void run(int (*fn)(uint64_t), uint64_t arg)
{
	int status = 0;
	pid_t pid;

	if (!result)
		result = mmap(NULL, sizeof *result, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	(void)snprintf(dir, sizeof dir, "/tmp/fsbox-stored-XXXXXX");
	if (result == MAP_FAILED || !mkdtemp(dir))
		abort();
	(void)snprintf(path, sizeof path, "%s/functions.db", dir);
	*result = (struct result){.line = -1};
	(void)fflush(stdout);
	pid = fork();
	if (pid == 0) {
		begun_ns = real_ns();
		begin();
		result->line = fn(arg);
		result->failed = t.failed;
		(void)fflush(stdout);
		_exit(0); /* what a daemon holds is not given back one by one */
	}
	REQUIRE(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	if (!CHECK_EQ(result->line, 0))
		tap_note("  that line, with %llu", (unsigned long long)arg);
	remove_all();
}

static bool open_it(void)
{
	struct err e = {0};

	return deploy_open_store(&d, path, &e) == 0;
}

static const char *const f_alone[] = {"f", NULL}, *const a_to_e[] = {"a", "b", "c", "d", "e", NULL};

/* ---- Handed over ---- */

static int hand_over_without_memory(uint64_t n)
{
	struct err e = {0};
	int r;

	WANT(make_store(path, SPEC, f_alone) && open_it());
	t.fail_at = n;
	r = hand_over("f", 0, 1, &e);
	t.fail_at = 0;
	WANT(!has_sent(SPAWN_FORGET));
	WANT(t.failed || r == 0);
	WANT(r == 0 ? function_find(&d, OWNER, "f") != NULL : e.code == ENOMEM);
	return 0;
}

TEST(a_function_is_not_forgotten_for_lack_of_memory)
{
	uint64_t n = 0;

	do
		run(hand_over_without_memory, ++n);
	while (result->failed && result->line == 0 && n < 2000);
	CHECK(!result->failed);
	CHECK_GT(n, 10);
}

static int hand_over_without_descriptor(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(make_store(path, "{\"target\": \"/f.so\", \"policy\": \"/p.json\"}", f_alone) && open_it());
	WANT(hand_over("f", SPAWN_HAS_AFTER, 1, &e) == -EMFILE);
	WANT(!has_sent(SPAWN_FORGET));
	return 0;
}

TEST(a_function_is_not_forgotten_for_lack_of_a_descriptor)
{
	run(hand_over_without_descriptor, 0);
}

/* A spec that another version can read. */
static int hand_over_unreadable(uint64_t n)
{
	struct err e = {0}, why = {0};

	WANT(make_store(path, "{\"of-the-future\": 1}", f_alone) && open_it());
	WANT(hand_over("f", 0, 1, &e) == 0);
	WANT(strcmp(t.told, "-f ") == 0 && deploy_check_broken(OWNER, "f", &why) < 0);
	deploy_mend_broken(&d);
	WANT(!has_sent(SPAWN_FORGET) && deploy_any_broken());
	WANT(sqlite3_exec(d.store.db, "UPDATE function SET spec = '" SPEC "'", NULL, NULL, NULL) == SQLITE_OK);
	t.fail_at = n;
	deploy_mend_broken(&d);
	t.fail_at = 0;
	WANT(!has_sent(SPAWN_FORGET));
	deploy_mend_broken(&d);
	WANT(function_find(&d, OWNER, "f") && !deploy_any_broken() && strcmp(t.told, "-f +f ") == 0);
	return 0;
}

TEST(a_function_that_cannot_be_read_is_kept_until_it_can)
{
	uint64_t n = 0;

	do
		run(hand_over_unreadable, ++n);
	while (result->failed && result->line == 0 && n < 2000);
	CHECK_GT(n, 10);
}

static int hand_over_what_is_gone(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(make_store(path, SPEC, a_to_e) && open_it());
	WANT(hand_over("f", 0, 1, &e) == 0 && has_sent(SPAWN_FORGET) && !deploy_any_broken());
	return 0;
}

TEST(a_function_whose_row_is_gone_is_forgotten)
{
	run(hand_over_what_is_gone, 0);
}

/* ---- Read ---- */

static bool all_came(void)
{
	return strcmp(t.began, "a b c d e ") == 0;
}

static bool f_came(void)
{
	return strcmp(t.began, "f ") == 0;
}

static int fail_in_the_middle(uint64_t rows)
{
	WANT(make_store(path, SPEC, a_to_e) && open_it());
	t.reading = (int)rows;
	deploy_stored(&d);
	WANT(!work_until(never, 5) && strlen(t.began) == 2 * rows);
	t.reading = -1;
	WANT(work_until(all_came, 200));
	WANT(!work_until(never, 5) && all_came()); /* each of them once */
	return 0;
}

TEST(a_disk_that_fails_in_the_middle_is_read_to_its_end_later)
{
	for (uint64_t rows = 0; rows <= 5; rows++)
		run(fail_in_the_middle, rows);
}

static int fail_for_long(uint64_t arg)
{
	(void)arg;
	WANT(make_store(path, SPEC, a_to_e) && open_it());
	t.reading = 0;
	deploy_stored(&d);
	WANT(!work_until(never, 40));
	WANT(t.opened >= 3 && t.opened <= OPENINGS);
	/* 1, 2, 4, 8 seconds and so on. */
	for (unsigned i = 1; i < t.opened; i++)
		WANT(t.opened_ns[i] - t.opened_ns[i - 1] >= (1ULL << i) * NS_PER_S);
	t.reading = -1;
	WANT(work_until(all_came, 200));
	/* From one second on again. */
	t.reading = 0;
	t.opened = 0;
	d.reloading = true;
	deploy_next_stored(&d);
	WANT(!work_until(never, 10));
	WANT(t.opened >= 2);
	return 0;
}

TEST(a_file_that_opens_and_cannot_be_read_is_tried_ever_more_seldom)
{
	run(fail_for_long, 0);
}

static int lack_for_files(uint64_t arg)
{
	(void)arg;
	WANT(make_store(path, SPEC, f_alone) && open_it());
	t.going_on = 3;
	deploy_stored(&d);
	WANT(work_until(f_came, 200) && t.going_on == 0);
	WANT(strcmp(t.told, "-f ") == 0); /* once */
	return 0;
}

TEST(a_row_for_which_something_was_lacking_is_read_again)
{
	run(lack_for_files, 0);
}

static int read_without_memory(uint64_t n)
{
	WANT(make_store(path, SPEC, f_alone) && open_it());
	t.fail_at = n;
	deploy_stored(&d);
	t.fail_at = 0;
	WANT(work_until(f_came, 200));
	return 0;
}

TEST(a_row_is_read_again_whatever_memory_was_lacking_for)
{
	uint64_t n = 0;

	do
		run(read_without_memory, ++n);
	while (result->failed && result->line == 0 && n < 2000);
	CHECK_GT(n, 10);
}

/* ---- Another file ---- */

static bool new_file(char *to, size_t size, const char *const *names)
{
	(void)snprintf(to, size, "%s/new.db", dir);
	return make_store(to, SPEC, names);
}

static int repair_a_row(uint64_t arg)
{
	char new[128];

	(void)arg;
	WANT(make_store(path, SPEC, f_alone) && sql(path, "UPDATE function SET spec = 'x' || spec") && open_it());
	deploy_stored(&d);
	WANT(strcmp(t.told, "-f ") == 0 && !work_until(f_came, 10));
	WANT(strcmp(t.told, "-f ") == 0); /* once, as often as it is read */
	WANT(new_file(new, sizeof new, f_alone) && rename(new, path) == 0);
	WANT(work_until(f_came, 200));
	return 0;
}

TEST(a_damaged_row_comes_back_when_a_file_without_damage_is_put_there)
{
	run(repair_a_row, 0);
}

static int put_slowly(uint64_t arg)
{
	AUTO_FREE char *data = NULL;
	char new[128], garbage[4096];
	struct stat st;
	size_t len;

	(void)arg;
	memset(garbage, 'x', sizeof garbage);
	WANT(write_file(path, garbage, sizeof garbage) && open_it());
	deploy_stored(&d);
	WANT(new_file(new, sizeof new, f_alone));
	AUTO_FD int from = open(new, O_RDONLY | O_CLOEXEC);
	WANT(fd_read_all(from, 1 << 20, &data, &len) == 0);
	/* As cp(1) does it: it is empty for a while, and then not whole. */
	AUTO_FD int to = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	WANT(fd_valid(to));
	WANT(!work_until(f_came, 20) && fstat(to, &st) == 0 && st.st_size == 0);
	for (size_t at = 0; at < len; at += 4096) {
		WANT(pwrite(to, data + at, least(len - at, 4096), (off_t)at) > 0);
		WANT(fstat(to, &st) == 0 && (size_t)st.st_size == least(at + 4096, len));
	}
	WANT(work_until(f_came, 200));
	return 0;
}

TEST(a_file_that_is_empty_as_yet_is_nobodys_to_fill)
{
	run(put_slowly, 0);
}

TEST(what_lies_there_counts_when_it_has_stayed_as_it_is)
{
	struct store_place p = {0};
	char file[] = "/tmp/fsbox-place-XXXXXX";
	AUTO_FD int fd = mkostemp(file, O_CLOEXEC);
	uint64_t now = 1000 * NS_PER_S;

	REQUIRE(fd_valid(fd) && write(fd, "x", 1) == 1);
	CHECK(!store_place_settled(&p, file, now));
	CHECK(!store_place_settled(&p, file, now + NS_PER_S / 2));
	CHECK(store_place_settled(&p, file, now += STORE_SETTLES_S * NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	/* Longer, or as long with other bytes. */
	CHECK(write(fd, "x", 1) == 1 && !store_place_settled(&p, file, now += NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	const struct timespec times[] = {{.tv_sec = 7}, {.tv_sec = 7}};
	CHECK(futimens(fd, times) == 0 && !store_place_settled(&p, file, now += NS_PER_S));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
	/* Without bytes. */
	CHECK(ftruncate(fd, 0) == 0 && !store_place_settled(&p, file, now));
	CHECK(!store_place_settled(&p, file, now + STORE_STAYS_EMPTY_S * NS_PER_S - 1));
	CHECK(store_place_settled(&p, file, now += STORE_STAYS_EMPTY_S * NS_PER_S));
	/* Not there. */
	CHECK_EQ(unlink(file), 0);
	CHECK(!store_place_settled(&p, file, now));
	CHECK(store_place_settled(&p, file, now += NS_PER_S));
}

/* ---- Written ---- */

static bool row_of_f_is_there(void)
{
	uint32_t n = 0;
	struct err e = {0};

	return store_count(&d.store, OWNER, "other", &n, &e) == 0 && n > 0;
}

static bool row_of_f_is_gone(void)
{
	return !row_of_f_is_there();
}

static bool writable(bool yes)
{
	return sqlite3_exec(d.store.db, yes ? "PRAGMA query_only = 0" : "PRAGMA query_only = 1", NULL, NULL, NULL) ==
	       SQLITE_OK;
}

/* As method_undeploy() does. */
static int undeploy(void)
{
	struct function *f = function_find(&d, OWNER, "f");
	struct err e = {0};
	bool existed = false;
	int r = deploy_remove(&d, OWNER, "f", &existed, &e);

	if (f)
		deploy_forget(f, "undeployed");
	if (r < 0)
		deploy_remove_later(&d, OWNER, "f");
	return r;
}

static int undeploy_without_room(uint64_t arg)
{
	struct err e = {0};

	(void)arg;
	WANT(make_store(path, SPEC, f_alone) && open_it());
	WANT(hand_over("f", 0, 1, &e) == 0 && writable(false));
	WANT(undeploy() < 0);
	WANT(has_sent(SPAWN_FORGET) && deploy_is_removed(OWNER, "f"));
	/* Its row is there and does not count. */
	deploy_stored(&d);
	WANT(!work_until(f_came, 5) && t.began[0] == '\0' && row_of_f_is_there());
	WANT(writable(true) && work_until(row_of_f_is_gone, 200));
	WANT(!deploy_is_removed(OWNER, "f"));
	return 0;
}

TEST(what_was_undeployed_stays_away_while_its_row_cannot_be_removed)
{
	run(undeploy_without_room, 0);
}

static const struct function *deployed;

static bool is_kept(void)
{
	return !deployed->unkept;
}

static int deploy_again_without_room(uint64_t arg)
{
	struct err e = {0};
	struct function *f;

	(void)arg;
	WANT(make_store(path, SPEC, f_alone) && open_it());
	WANT(hand_over("f", 0, 0, &e) == 0 && writable(false));
	WANT(undeploy() < 0);
	f = function_new(&d, OWNER, "f");
	WANT(f && (f->spec_text = strdup("{\"target\": \"/g.so\"}")) != NULL);
	f->number = NUMBER + 1;
	f->defined = true;
	function_add(f);
	deploy_keep(f);
	deployed = f;
	WANT(f->unkept && !deploy_is_removed(OWNER, "f"));
	WANT(!has_sent(SPAWN_FUNCTION_NOTE) && writable(true) && work_until(is_kept, 200));
	WANT(row_of_f_is_there() && has_sent(SPAWN_FUNCTION_NOTE));
	return 0;
}

TEST(what_was_deployed_is_written_when_there_is_room_again)
{
	run(deploy_again_without_room, 0);
}
