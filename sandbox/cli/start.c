/* What commands that start cells have in common before and after. */
#include "cli/cli.h"

#include "base/fd.h"

#include <signal.h>
#include <sys/signalfd.h>

int cli_open_code(struct cell_spec *spec, const char *runtime_dir, struct cell_code *ret, struct err *e)
{
	if (code_open(spec, runtime_dir, ret, e) == 0)
		return 0;
	if (e->kind == ERR_NOT_FOUND)
		return EXIT_NOT_FOUND;
	if (e->kind == ERR_SPEC && e->code == 0)
		return EXIT_USAGE;
	return e->kind == ERR_UNSUPPORTED ? EXIT_FSBOX : EXIT_CANNOT_EXECUTE;
}

void cli_use_code(struct cell_host *h, const struct cell_code *code)
{
	h->target_fd = code->fd;
	h->facts.code = code->what;
	h->target_path = code->path;
}

/* What was ignored when we were started stays ignored: nohup(1) means it. */
int cli_open_signals(struct err *e)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
		struct sigaction old;

		if (sigaction(signals[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			(void)sigaddset(&set, signals[i]);
	}
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return err_sys(e, errno, "blocking signals");
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? err_sys(e, errno, "signalfd") : fd;
}

/* After the cleaning-up: end as the signal would have ended us. */
void cli_die_of_signal(int signal_fd)
{
	struct signalfd_siginfo si;
	sigset_t none;

	if (read(signal_fd, &si, sizeof si) != (ssize_t)sizeof si)
		return;
	(void)signal((int)si.ssi_signo, SIG_DFL);
	(void)raise((int)si.ssi_signo);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int cli_exit_of(const struct err *e)
{
	if (e->kind == ERR_DENIED && strcmp(e->stage, "plan") == 0)
		return EXIT_CANNOT_EXECUTE; /* the code itself cannot be read */
	return e->kind == ERR_SPEC ? EXIT_USAGE : EXIT_FSBOX;
}
