/* Snapshots, seen from inside: the hooks, and what happens around them.
 *
 * The runtime is dumped where it waits for the next frame. Every process that is made from the dump goes on there, in
 * the belief that it is the only one, and is told otherwise by the frame that comes: RESTORE. */
#include "runtime/native/native.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { HOOKS_MAX = 256 };

static struct {
	pthread_mutex_t lock; /* threads of the function may register as well */
	bool closed;
	size_t n_before, n_after;
	struct {
		int (*fn)(void *);
		void *arg;
	} before[HOOKS_MAX];
	struct {
		int (*fn)(const struct fsbox_restore *, void *);
		void *arg;
	} after[HOOKS_MAX];
} hooks = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool seeds_kept;

/* ---- fsbox.h ---- */

/* Is there a place behind @n others? Under the lock. */
static int check_place(bool has_fn, size_t n)
{
	if (!has_fn)
		return -EINVAL;
	if (hooks.closed)
		return -EALREADY;
	return n < HOOKS_MAX ? 0 : -ENOSPC;
}

int fsbox_on_before_snapshot(int (*fn)(void *arg), void *arg)
{
	int r;

	(void)pthread_mutex_lock(&hooks.lock);
	r = check_place(fn != NULL, hooks.n_before);
	if (r == 0) {
		hooks.before[hooks.n_before].fn = fn;
		hooks.before[hooks.n_before++].arg = arg;
	}
	(void)pthread_mutex_unlock(&hooks.lock);
	return r;
}

int fsbox_on_after_restore(int (*fn)(const struct fsbox_restore *restore, void *arg), void *arg)
{
	int r;

	(void)pthread_mutex_lock(&hooks.lock);
	r = check_place(fn != NULL, hooks.n_after);
	if (r == 0) {
		hooks.after[hooks.n_after].fn = fn;
		hooks.after[hooks.n_after++].arg = arg;
	}
	(void)pthread_mutex_unlock(&hooks.lock);
	return r;
}

void restore_close(void)
{
	(void)pthread_mutex_lock(&hooks.lock);
	hooks.closed = true;
	(void)pthread_mutex_unlock(&hooks.lock);
}

/* ---- Hooks ---- */

static int failed_before(const char *which, size_t number, int result)
{
	return number ? call_init_failed("Runtime.BeforeSnapshotError", "%s hook %zu returned %d", which, number,
					 result)
		      : call_init_failed("Runtime.BeforeSnapshotError", "%s returned %d", which, result);
}

static int failed_after(const char *which, size_t number, int result)
{
	return number ? call_init_failed("Runtime.AfterRestoreError", "%s hook %zu returned %d", which, number, result)
		      : call_init_failed("Runtime.AfterRestoreError", "%s returned %d", which, result);
}

/* Backwards: what was built last is taken down first. */
static int run_before(const struct function *f)
{
	int r;

	for (size_t i = hooks.n_before; i > 0; i--) {
		r = hooks.before[i - 1].fn(hooks.before[i - 1].arg);
		call_end_child("a hook before the snapshot");
		if (r != 0)
			return failed_before("fsbox_on_before_snapshot", i, r);
	}
	r = f->before_snapshot ? f->before_snapshot() : 0;
	call_end_child("fsbox_before_snapshot()");
	return r == 0 ? 0 : failed_before("fsbox_before_snapshot", 0, r);
}

static int run_after(const struct function *f, const struct fsbox_restore *restore)
{
	int r = f->after_restore ? f->after_restore(restore) : 0;

	call_end_child("fsbox_after_restore()");
	if (r != 0)
		return failed_after("fsbox_after_restore", 0, r);
	for (size_t i = 0; i < hooks.n_after; i++) {
		r = hooks.after[i].fn(restore, hooks.after[i].arg);
		call_end_child("a hook after the restore");
		if (r != 0)
			return failed_after("fsbox_on_after_restore", i + 1, r);
	}
	return 0;
}

int restore_park(const struct function *f)
{
	int r;

	restore_close();
	(void)fflush(stdout); /* or every clone would print it */
	r = run_before(f);
	if (r != 0)
		return r;
	reseed_prepare();
	(void)fflush(stdout);
	return link_send(CHAN_PARKED, 0, NULL, 0);
}

/* ---- The environment ---- */

static const char *find_variable(const struct chan_restore_view *v, const char *string)
{
	const char *s, *equals = strchr(string, '=');
	size_t at = 0, len = equals ? (size_t)(equals - string) + 1 : 0;

	while (len && (s = chan_restore_env(v, &at)))
		if (strncmp(s, string, len) == 0)
			return s;
	return NULL;
}

/* A whole new array, put in place with one store. setenv(3) would move the one that is there, under the eyes of other
 * threads in getenv(3), which takes no lock. Neither the old array nor the body of the frame, where the new strings are,
 * is ever freed: somebody may hold on to them. */
static int apply_environment(const struct chan_restore_view *v)
{
	const char **next, *s;
	char **array;
	size_t n = 1, at = 0, k = 0;

	for (size_t i = 0; environ && environ[i]; i++)
		n++;
	while (chan_restore_env(v, &at))
		n++;
	next = malloc(n * sizeof *next);
	if (!next)
		return -ENOMEM;
	for (size_t i = 0; environ && environ[i]; i++)
		if (!find_variable(v, environ[i]))
			next[k++] = environ[i];
	for (at = 0; (s = chan_restore_env(v, &at));)
		next[k++] = s;
	next[k] = NULL;
	memcpy(&array, &next, sizeof array); /* strings of an environment are not const */
	__atomic_store_n(&environ, array, __ATOMIC_RELEASE);
	return 0;
}

/* ---- Restoring ---- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

/* Everything that must have happened before code of the function runs again. */
static int become(const struct chan_restore_view *v)
{
	int r = v->fixed.env_len ? apply_environment(v) : 0;

	if (r < 0)
		return r;
	call_set_memory(v->fixed.memory_mb);
	seeds_kept = v->fixed.flags & CHAN_KEEP_SEEDS;
	r = reseed(seeds_kept);
	return r < 0 ? call_init_failed("Runtime.AfterRestoreError", "reseeding failed: %s", strerror(-r)) : 0;
}

static int restored(struct chan_restore_view *v, const struct function *f)
{
	struct fsbox_restore info = {
		.size = sizeof info,
		.generation = v->fixed.generation,
		.clone_id = v->fixed.clone_id,
		.wall_ns = v->fixed.wall_ns,
		.elapsed_ns = v->fixed.elapsed_ns,
	};
	struct chan_restored times = {0};
	uint64_t begin = now_ns(), mid;
	int r = become(v);

	restore_close();
	if (r != 0)
		return r;
	memcpy(info.random, v->fixed.random, sizeof info.random);
	mid = now_ns();
	r = run_after(f, &info);
	explicit_bzero(&info, sizeof info);
	if (r != 0)
		return r;
	(void)fflush(stdout);
	times.reseed_ns = mid - begin;
	times.hooks_ns = now_ns() - mid;
	return link_send(CHAN_RESTORED, 0, &times, sizeof times);
}

int restore_run(const struct chan_head *head, const struct function *f)
{
	char *body = malloc(head->len);
	struct chan_restore_view v = {0};
	int r = body ? link_read(body, head->len) : -ENOMEM;

	if (r == 0)
		r = chan_restore_parse(body, head->len, &v);
	if (r < 0) {
		free(body);
		return r;
	}
	explicit_bzero(body, sizeof v.fixed); /* the random bytes are the hooks' alone */
	r = restored(&v, f);
	explicit_bzero(&v, sizeof v);
	return r; /* the body is the environment's now */
}

int restore_draw(void)
{
	uint8_t body[CHAN_MAX_DRAWN];

	return link_send(CHAN_DRAWN, 0, body, draw_all(body, seeds_kept));
}
