/* What commands that start cells have in common before and after. */
#include "cli/cli.h"

#include "base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

int cli_check_target(const char *target, int *ret_fd, struct err *e)
{
	unsigned char head[64];
	struct stat st;
	AUTO_FD int fd = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		(void)err_sys(e, errno, "'%s'", target);
		return errno == ENOENT || errno == ENOTDIR ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		(void)err_set(e, ERR_SPEC, 0, "'%s' is not a regular file", target);
		return EXIT_CANNOT_EXECUTE;
	}

	ssize_t n = read(fd, head, sizeof head);
	if (n < 0) {
		(void)err_sys(e, errno, "reading '%s'", target);
		return EXIT_CANNOT_EXECUTE;
	}
	if (spec_check_elf(target, head, (size_t)n, e) < 0)
		return EXIT_CANNOT_EXECUTE;
	*ret_fd = take_fd(&fd);
	return 0;
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
