/* fsbox-scope: speaks to systemd for fsbox-oci, which is static and cannot (decision 021). wire/scope.h has its words.
 * Everything is checked before a bus is opened. */
#include "scope/scope.h"

#include "base/fd.h"
#include "base/mem.h"

#include <signal.h>
#include <stdio.h>

enum operands { PROPERTIES, PID, NOTHING };

static const struct {
	const char *name;
	int (*act)(const struct scope_request *q, struct buf *answer, struct err *e);
	enum operands operands;
} commands[] = {
	{"start", scope_start, PROPERTIES},
	{"set", scope_set, PROPERTIES},
	{"attach", scope_attach, PID},
	{"stop", scope_stop, NOTHING},
};

static int check_words(const struct scope_request *q, enum operands operands, struct err *e)
{
	struct scope_property ignored;
	union scope_value pid;

	if (operands == PID && (q->n_words != 1 || !scope_value_read('u', q->words[0], &pid)))
		return err_set(e, ERR_SPEC, EINVAL, "expected the number of a process");
	if (operands == NOTHING && q->n_words > 0)
		return err_set(e, ERR_SPEC, EINVAL, "unexpected word '%.100s'", q->words[0]);
	for (size_t at = 0, n; operands == PROPERTIES && at < q->n_words; at += n) {
		n = scope_property_read(q->words + at, q->n_words - at, &ignored);
		if (n == 0)
			return err_set(e, ERR_SPEC, EINVAL, "property '%.100s' is not well formed", q->words[at]);
	}
	return 0;
}

static int run(int argc, char **argv, struct buf *answer, struct err *e)
{
	struct scope_request q = {.n_words = argc > 4 ? (size_t)argc - 4 : 0};
	const char *words[1] = {NULL};

	if (argc < 4)
		return err_set(e, ERR_SPEC, EINVAL,
			       "fsbox-scope is started by fsbox-oci: fsbox-scope COMMAND system|user UNIT [WORD...]");
	q.unit = argv[3];
	q.user = strcmp(argv[2], "user") == 0;
	q.words = q.n_words > 0 ? (const char *const *)(argv + 4) : words;
	if (!q.user && strcmp(argv[2], "system") != 0)
		return err_set(e, ERR_SPEC, EINVAL, "no manager '%.100s'", argv[2]);
	if (strlen(q.unit) > SCOPE_MAX_UNIT || !str_ends(q.unit, ".scope"))
		return err_set(e, ERR_SPEC, EINVAL, "'%.300s' is no scope", q.unit);
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		int r;

		if (strcmp(commands[i].name, argv[1]) != 0)
			continue;
		r = check_words(&q, commands[i].operands, e);
		return r == 0 ? commands[i].act(&q, answer, e) : r;
	}
	return err_set(e, ERR_SPEC, EINVAL, "no command '%.100s'", argv[1]);
}

int main(int argc, char **argv)
{
	AUTO(buf_done) struct buf answer = {0};
	struct err e = {0};
	int r;

	if (fd_fill_stdio() < 0)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	r = run(argc, argv, &answer, &e);
	(void)printf("%s\n", r < 0 ? e.msg : answer.len > 0 ? answer.data : "");
	return fflush(stdout) != 0 || r < 0 ? 1 : 0;
}
