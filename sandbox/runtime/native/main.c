/* native HANDLER.so: loads the function, runs its init, then serves calls until the channel ends.
 *
 * Exit status: 0 after SHUTDOWN or the end of the channel, 1 after INIT_ERROR or when the channel broke, 2 when it
 * was not started by fsbox. Whatever the function does to the process (exit, signals) shows in the status as well. */
#include "runtime/native/native.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What a failure of the runtime itself says, in the function's log. */
static int broken(const char *doing, int r)
{
	(void)dprintf(STDERR_FILENO, "fsbox: %s: %s\n", doing,
		      r == -EPROTO ? "unexpected bytes or end of file" : strerror(-r));
	return 1;
}

/* dlsym(3) returns an object pointer; POSIX guarantees the conversion that ISO C does not have. */
static void find(void *object, const char *name, void *ret_function)
{
	void *p = dlsym(object, name);

	memcpy(ret_function, &p, sizeof p);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* 0, or the exit status after INIT_ERROR was sent. */
static int load(const char *path, struct function *f)
{
	char here[4096];
	void *object;
	int r;

	/* A name without a slash would be looked for in the library path (dlopen(3)). */
	r = snprintf(here, sizeof here, "%s%s", strchr(path, '/') ? "" : "./", path);
	object = r < (int)sizeof here ? dlopen(here, RTLD_NOW | RTLD_LOCAL) : NULL;
	if (!object) {
		const char *why = dlerror(); /* names the symbol that nothing defines */

		return call_init_failed("Runtime.ImportModuleError", "Unable to load '%s': %s", base_name(path),
					why ? why : "the path is too long");
	}
	find(object, "fsbox_handler", &f->handler);
	find(object, "fsbox_init", &f->init);
	find(object, "fsbox_shutdown", &f->shutdown);
	find(object, "fsbox_before_snapshot", &f->before_snapshot);
	find(object, "fsbox_after_restore", &f->after_restore);
	if (!f->handler)
		return call_init_failed("Runtime.HandlerNotFound", "%s defines no function 'fsbox_handler'",
					base_name(path));
	r = f->init ? f->init() : 0;
	if (r != 0)
		return call_init_failed("Runtime.InitError", "fsbox_init returned %d", r);
	return 0;
}

/* What has been, and so what may come: docs/channel.md, "Order". */
enum phase { PHASE_READY, PHASE_PARKED, PHASE_RESTORED, PHASE_CALLED };

static bool is_in_order(enum phase phase, uint16_t type)
{
	switch (type) {
	case CHAN_SNAPSHOT:
		return phase == PHASE_READY;
	case CHAN_RESTORE:
		return phase == PHASE_READY || phase == PHASE_PARKED;
	case CHAN_DRAW:
		return phase == PHASE_READY || phase == PHASE_RESTORED;
	case CHAN_FILTER:
		return phase != PHASE_CALLED;
	case CHAN_CALL:
		return phase != PHASE_PARKED;
	default:
		return true;
	}
}

static int install_filter(const struct chan_head *head)
{
	static struct sock_filter insns[CHAN_MAX_INSNS]; /* touched only where there is a filter, and only once */
	int r = link_read(insns, head->len);

	if (r < 0)
		return r;
	r = fault_install(insns, head->len / sizeof insns[0]);
	return r == 0 ? 0
		      : call_init_failed("Runtime.InitError", "the policy's filter cannot be installed: %s",
					 strerror(-r));
}

/* One frame. 0; 1 after INIT_ERROR was sent; -errno when the channel broke. */
static int take(const struct chan_head *head, const struct function *f, enum phase *phase)
{
	if (!is_in_order(*phase, head->type))
		return -EPROTO;
	switch (head->type) {
	case CHAN_FILTER:
		return install_filter(head);
	case CHAN_SNAPSHOT:
		*phase = PHASE_PARKED;
		return restore_park(f);
	case CHAN_RESTORE:
		*phase = PHASE_RESTORED;
		return restore_run(head, f);
	case CHAN_DRAW:
		return restore_draw();
	case CHAN_REPORT: /* not asked for */
		return -EPROTO;
	default:
		if (*phase != PHASE_CALLED)
			restore_close();
		*phase = PHASE_CALLED;
		return call_run(head, f->handler);
	}
}

static int serve(const struct function *f)
{
	enum phase phase = PHASE_READY;
	struct chan_head head;
	int r;

	for (;;) {
		r = link_next(&head);
		if (r == 0)
			return 0; /* the host is gone, and with it the sense of going on */
		if (r < 0)
			return broken("reading from the channel", r);
		if (head.type == CHAN_SHUTDOWN) {
			if (f->shutdown)
				f->shutdown();
			return 0;
		}
		r = take(&head, f, &phase);
		if (r == -EPIPE)
			return 1; /* nobody is there to be told */
		if (r < 0)
			return broken("serving the channel", r);
		if (r > 0)
			return 1;
	}
}

static void on_sigpipe(int sig)
{
	(void)sig;
}

/* Once, before any code of the function runs. */
static int setup(void)
{
	static char stdout_buffer[4096];
	/* A write to a closed pipe is to be an error value, as fsbox.h promises. Not SIG_IGN, which programs that the
	 * function executes would inherit (signal(7)). */
	struct sigaction sa = {.sa_handler = on_sigpipe, .sa_flags = SA_RESTART};
	int r = link_open();

	if (r < 0)
		return r;
	(void)sigaction(SIGPIPE, &sa, NULL);
	/* By lines: what was printed before a crash is in the log. With a buffer of our own: stdio would ask fstat(2)
	 * for the size at the first print, which a strict filter may refuse. */
	(void)setvbuf(stdout, stdout_buffer, _IOLBF, sizeof stdout_buffer);
	call_setup();
	return 0;
}

int main(int argc, char **argv)
{
	struct function f = {0};
	struct chan_ready ready = {.version = CHAN_VERSION};
	int r;

	if (argc != 2) {
		(void)dprintf(STDERR_FILENO, "usage: native HANDLER.so\n");
		return 2;
	}
	r = setup();
	if (r < 0) {
		(void)dprintf(STDERR_FILENO,
			      "native: no channel on descriptors 3 and 4: %s; fsbox starts this program\n",
			      strerror(-r));
		return 2;
	}
	r = load(argv[1], &f);
	if (r != 0)
		return r;
	ready.flags = CHAN_CAN_SNAPSHOT | (f.shutdown ? CHAN_HAS_SHUTDOWN : 0);
	(void)fflush(stdout);
	r = link_send(CHAN_READY, 0, &ready, sizeof ready);
	if (r < 0)
		return broken("writing to the channel", r);
	return serve(&f);
}
