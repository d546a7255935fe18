/* wire/spawn.h: what passes, what does not, and descriptors on their way. */
#include "wire/spawn.h"
#include "wire/spawn_exec.h"

#include "base/fd.h"
#include "base/mem.h"
#include "tests/lib/tap.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

static struct spawn_datagram *fresh(void)
{
	struct spawn_datagram *d = calloc(1, sizeof *d);

	if (!d)
		abort();
	return d;
}

static void put_list(struct spawn_datagram *d, struct spawn_list *to, const char *const *texts)
{
	for (; *texts; texts++)
		CHECK(spawn_put_list(d, to, *texts));
}

/* Code, two layers, a secret, a filter. */
static struct spawn_datagram *function(void)
{
	struct spawn_datagram *d = fresh();
	struct spawn_function *f = &d->function;

	spawn_function_begin(d, 3);
	f->flags = SPAWN_HAS_CODE | SPAWN_HAS_FILTER | SPAWN_HAS_HANDLER;
	f->memory_bytes = 1 << 28;
	f->runtime = SPAWN_RUNTIME_NATIVE;
	f->n_layers = 2;
	CHECK(spawn_put_text(d, &f->name, "my-function_1"));
	CHECK(spawn_put_text(d, &f->policy, "default"));
	CHECK(spawn_put_text(d, &f->code_name, "a b..so"));
	CHECK(spawn_put_text(d, &f->handler, ""));
	put_list(d, &f->env, (const char *const[]){"A=1", "B=", "C==x", NULL});
	put_list(d, &f->secrets, (const char *const[]){"token", NULL});
	d->n_fds = 5;
	return d;
}

/* An image: no code, its own words. */
static struct spawn_datagram *image(void)
{
	struct spawn_datagram *d = fresh();
	struct spawn_function *f = &d->function;

	spawn_function_begin(d, 4);
	f->flags = SPAWN_HAS_IMAGE | SPAWN_HAS_ROOTFS | SPAWN_HAS_HANDLER;
	f->runtime = SPAWN_RUNTIME_CUSTOM;
	CHECK(spawn_put_text(d, &f->name, "i"));
	CHECK(spawn_put_text(d, &f->policy, "none"));
	CHECK(spawn_put_text(d, &f->handler, "app.main"));
	CHECK(spawn_put_text(d, &f->image_cwd, "/"));
	put_list(d, &f->image_args, (const char *const[]){"/entry", "", "x", NULL});
	put_list(d, &f->image_env, (const char *const[]){"PATH=/bin", NULL});
	d->n_fds = 1;
	return d;
}

static int check(const struct spawn_datagram *d, enum spawn_side side)
{
	struct err e = {0};
	int r = spawn_check(d, d->head.size, side, &e);

	if (r < 0) {
		CHECK_EQ(r, -EPROTO);
		CHECK_EQ(e.kind, ERR_BUG);
	}
	return r;
}

#define CHECK_REFUSED(make, change)                          \
	do {                                                 \
		struct spawn_datagram *d = make();           \
		struct spawn_function *f = &d->function;     \
		(void)f;                                     \
		CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);       \
		change;                                      \
		CHECK_EQ(check(d, SPAWN_TO_SPAWN), -EPROTO); \
		free(d);                                     \
	} while (0)

static void change_text(struct spawn_datagram *d, const struct spawn_text *t, size_t at, char c)
{
	d->function.texts[t->at + at] = c;
}

TEST(a_function_is_read_as_it_was_written)
{
	struct spawn_datagram *d = function();
	const struct spawn_function *f = &d->function;
	size_t at = 0;

	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	CHECK_EQ(check(d, SPAWN_TO_DAEMON), 0); /* handed over to the next fsboxd */
	CHECK_STREQ(spawn_text_of(f, &f->name), "my-function_1");
	CHECK_STREQ(spawn_text_of(f, &f->code_name), "a b..so");
	CHECK_STREQ(spawn_list_next(f, &f->env, &at), "A=1");
	CHECK_STREQ(spawn_list_next(f, &f->env, &at), "B=");
	CHECK_STREQ(spawn_list_next(f, &f->env, &at), "C==x");
	CHECK(!spawn_list_next(f, &f->env, &at));
	CHECK_EQ(spawn_function_fds(f), 5);
	d->function.flags |= SPAWN_HAS_AFTER;
	CHECK_EQ(spawn_function_fds(f), 6);
	CHECK_LT(check(d, SPAWN_TO_SPAWN), 0); /* without the descriptor */
	d->n_fds = 6;
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	free(d);
	d = image();
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	at = 0;
	CHECK_STREQ(spawn_list_next(&d->function, &d->function.image_args, &at), "/entry");
	CHECK_STREQ(spawn_list_next(&d->function, &d->function.image_args, &at), "");
	free(d);
}

TEST(a_function_with_wrong_numbers_is_refused)
{
	CHECK_REFUSED(function, f->function = 0);
	CHECK_REFUSED(function, f->flags |= SPAWN_FORGOTTEN);
	CHECK_REFUSED(function, f->flags |= 1U << 20);
	CHECK_REFUSED(function, f->net = SPAWN_NET_COUNT);
	CHECK_REFUSED(function, f->runtime = 0);
	CHECK_REFUSED(function, f->runtime = SPAWN_RUNTIME_CUSTOM + 1);
	CHECK_REFUSED(function, f->n_layers = SPAWN_MAX_LAYERS + 1);
	CHECK_REFUSED(function, f->note_len = SPAWN_MAX_FUNCTION_NOTE + 1);
	CHECK_REFUSED(function, f->texts_len--);
	CHECK_REFUSED(function, f->head.size--);
	CHECK_REFUSED(function, f->head.size = sizeof *f - 1);
	CHECK_REFUSED(function, d->n_fds--);
	CHECK_REFUSED(function, d->n_fds++);
	CHECK_REFUSED(function, f->flags &= ~(uint32_t)SPAWN_HAS_CODE);
	CHECK_REFUSED(function, f->flags |= SPAWN_HAS_IMAGE);
	CHECK_REFUSED(function, f->runtime = SPAWN_RUNTIME_PYTHON); /* without an interpreter */
	CHECK_REFUSED(image, f->runtime = SPAWN_RUNTIME_NATIVE);
	CHECK_REFUSED(image, f->flags &= ~(uint32_t)SPAWN_HAS_HANDLER);
	CHECK_REFUSED(image, f->flags |= SPAWN_CODE_IS_DIR);
	CHECK_REFUSED(image, f->image_args.n = f->image_args.len = 0);
}

TEST(a_text_may_not_reach_beyond_its_datagram)
{
	CHECK_REFUSED(function, f->name.at = f->texts_len);
	CHECK_REFUSED(function, f->name.at = UINT32_MAX);
	CHECK_REFUSED(function, f->name.len++);
	CHECK_REFUSED(function, f->name.len = UINT32_MAX);
	CHECK_REFUSED(function, f->name.len--);
	CHECK_REFUSED(function, f->env.len++);
	CHECK_REFUSED(function, f->env.len = UINT32_MAX);
	CHECK_REFUSED(function, f->env.at = UINT32_MAX);
	CHECK_REFUSED(function, f->env.n++);
	CHECK_REFUSED(function, f->env.n--);
	CHECK_REFUSED(function, f->env.zero = 1);
	CHECK_REFUSED(function, f->secrets.n = f->secrets.len = 0);
	/* the last byte of all is the end of a text */
	CHECK_REFUSED(function, d->bytes[d->head.size - 1] = 'x');
}

TEST(names_that_mean_something_else_are_refused)
{
	CHECK_REFUSED(function, change_text(d, &f->name, 0, '/'));
	CHECK_REFUSED(function, change_text(d, &f->name, 0, '.'));
	CHECK_REFUSED(function, change_text(d, &f->name, 0, '\0'));
	CHECK_REFUSED(function, change_text(d, &f->code_name, 1, '/'));
	CHECK_REFUSED(function, (f->code_name.len = 0, change_text(d, &f->code_name, 0, '\0')));
	CHECK_REFUSED(function, (f->code_name.len = 2, memcpy(f->texts + f->code_name.at, "..", 3)));
	CHECK_REFUSED(function, f->texts[f->env.at + 1] = 'x'); /* "Ax1" */
	CHECK_REFUSED(function, f->texts[f->env.at] = '=');     /* "==1" */
	CHECK_REFUSED(function, f->texts[f->secrets.at] = '.');
	CHECK_REFUSED(function, f->texts[f->secrets.at + 2] = '/');
	CHECK_REFUSED(image, change_text(d, &f->image_cwd, 0, 'x'));
}

TEST(two_secrets_of_one_name_are_refused)
{
	struct spawn_datagram *d = function();

	CHECK(spawn_put_list(d, &d->function.secrets, "other"));
	d->n_fds++;
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	CHECK(spawn_put_list(d, &d->function.secrets, "token"));
	d->n_fds++;
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), -EPROTO);
	free(d);
}

TEST(a_datagram_has_room_for_all_that_a_spec_may_say)
{
	struct spawn_datagram *d = image();
	char *big = calloc(1, 131072 - 300), small[8];

	if (!big)
		abort();
	memset(big, 'a', 131072 - 301);
	CHECK(spawn_put_list(d, &d->function.image_env, "X=1"));
	d->function.image_args = (struct spawn_list){0};
	CHECK(spawn_put_list(d, &d->function.image_args, big));
	for (unsigned i = 0; i < SPAWN_MAX_ENV; i++) {
		(void)snprintf(small, sizeof small, "V%03u=", i);
		CHECK(spawn_put_list(d, &d->function.env, small));
	}
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	CHECK(!spawn_put_list(d, &d->function.env, big));
	free(big);
	free(d);
}

/* ---- Commands ---- */

static struct spawn_datagram *command(void)
{
	struct spawn_datagram *d = fresh();

	spawn_exec_begin(d, 7, 5);
	d->exec.flags = SPAWN_EXEC_STDIN | SPAWN_EXEC_STDERR | SPAWN_EXEC_CWD;
	d->n_fds = 2;
	d->exec.n_args = 3;
	CHECK(spawn_exec_put(d, "sh") && spawn_exec_put(d, "") && spawn_exec_put(d, "a b"));
	d->exec.n_env = 2;
	CHECK(spawn_exec_put(d, "A=") && spawn_exec_put(d, "B=c=d"));
	CHECK(spawn_exec_put(d, "/tmp"));
	return d;
}

static struct spawn_datagram *on_terminal(void)
{
	struct spawn_datagram *d = fresh();

	spawn_exec_begin(d, 1, 1);
	d->exec.flags = SPAWN_EXEC_STDIN | SPAWN_EXEC_TTY;
	d->n_fds = 1;
	d->exec.n_args = 1;
	CHECK(spawn_exec_put(d, "/bin/sh"));
	return d;
}

TEST(a_command_is_read_as_it_was_written)
{
	static const char *const texts[] = {"sh", "", "a b", "A=", "B=c=d", "/tmp"};
	struct spawn_datagram *d = command();
	size_t at = 0;

	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	CHECK_EQ(check(d, SPAWN_TO_DAEMON), -EPROTO);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		CHECK_STREQ(spawn_exec_next(&d->exec, &at), texts[i]);
	CHECK(!spawn_exec_next(&d->exec, &at));
	free(d);
	d = on_terminal();
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	free(d);
}

#define CHECK_NO_COMMAND(make, change)                       \
	do {                                                 \
		struct spawn_datagram *d = make();           \
		struct spawn_exec *m = &d->exec;             \
		(void)m;                                     \
		CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);       \
		change;                                      \
		CHECK_EQ(check(d, SPAWN_TO_SPAWN), -EPROTO); \
		free(d);                                     \
	} while (0)

TEST(a_command_that_is_not_what_it_says_is_refused)
{
	CHECK_NO_COMMAND(command, m->number = 0);
	CHECK_NO_COMMAND(command, m->cell = 0);
	CHECK_NO_COMMAND(command, m->flags |= 1U << 5);
	CHECK_NO_COMMAND(command, m->flags |= SPAWN_EXEC_TTY);
	CHECK_NO_COMMAND(command, m->flags |= SPAWN_EXEC_STDOUT); /* without its descriptor */
	CHECK_NO_COMMAND(command, d->n_fds--);
	CHECK_NO_COMMAND(command, d->n_fds++);
	CHECK_NO_COMMAND(command, m->n_args = 0);
	CHECK_NO_COMMAND(command, m->n_args++);
	CHECK_NO_COMMAND(command, m->n_args--); /* "a b" is no variable then */
	CHECK_NO_COMMAND(command, m->n_args = SPAWN_MAX_EXEC_ARGS + 1);
	CHECK_NO_COMMAND(command, m->n_args = UINT32_MAX);
	CHECK_NO_COMMAND(command, (m->n_args = UINT32_MAX, m->n_env = 6)); /* their sum is right again */
	CHECK_NO_COMMAND(command, m->n_env = SPAWN_MAX_EXEC_ENV + 1);
	CHECK_NO_COMMAND(command, m->flags &= ~(uint32_t)SPAWN_EXEC_CWD);
	CHECK_NO_COMMAND(command, m->texts_len--);
	CHECK_NO_COMMAND(command, (m->texts_len--, m->head.size--)); /* without the last 0 byte */
	CHECK_NO_COMMAND(command, m->head.size = sizeof *m - 1);
	CHECK_NO_COMMAND(command, m->texts[0] = '\0');
	CHECK_NO_COMMAND(command, m->texts[strlen("sh") + 1 + 1 + strlen("a b") + 1] = '='); /* "==" */
	CHECK_NO_COMMAND(command, m->texts[m->texts_len - sizeof "/tmp"] = 't');
	CHECK_NO_COMMAND(on_terminal, m->flags &= ~(uint32_t)SPAWN_EXEC_STDIN);
	CHECK_NO_COMMAND(on_terminal, (m->flags |= SPAWN_EXEC_STDOUT, d->n_fds++));
}

TEST(a_command_has_a_bound)
{
	struct spawn_datagram *d = fresh();
	char text[4096];

	memset(text, 'x', sizeof text);
	text[sizeof text - 1] = '\0';
	spawn_exec_begin(d, 1, 1);
	while (spawn_exec_put(d, text))
		d->exec.n_args++;
	CHECK_EQ(d->exec.texts_len, SPAWN_MAX_EXEC_BYTES);
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), 0);
	CHECK(!spawn_exec_put(d, ""));
	d->exec.texts_len++; /* as who does not keep to it would */
	d->exec.n_args++;
	d->head.size++;
	CHECK_EQ(check(d, SPAWN_TO_SPAWN), -EPROTO);
	free(d);
}

/* ---- The fixed ones ---- */

static const struct {
	enum spawn_word word;
	size_t size;
	enum spawn_side side;
} fixed[] = {
	{SPAWN_FUNCTION_NOTE, sizeof(struct spawn_function_note), SPAWN_TO_SPAWN},
	{SPAWN_FORGET, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_MAKE, sizeof(struct spawn_make), SPAWN_TO_SPAWN},
	{SPAWN_SETTLE, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_NOTE, sizeof(struct spawn_note), SPAWN_TO_SPAWN},
	{SPAWN_LIMITS, sizeof(struct spawn_limits), SPAWN_TO_SPAWN},
	{SPAWN_KILL, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_END, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_OPEN, sizeof(struct spawn_open), SPAWN_TO_SPAWN},
	{SPAWN_READY, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_EXEC_KILL, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_HELLO, sizeof(struct spawn_hello), SPAWN_TO_DAEMON},
	{SPAWN_ADOPT, sizeof(struct spawn_cell), SPAWN_TO_DAEMON},
	{SPAWN_ADOPTED, sizeof(struct spawn_number), SPAWN_TO_DAEMON},
	{SPAWN_DONE, sizeof(struct spawn_done), SPAWN_TO_DAEMON},
	{SPAWN_MADE, sizeof(struct spawn_cell), SPAWN_TO_DAEMON},
	{SPAWN_FAILED, sizeof(struct spawn_done), SPAWN_TO_DAEMON},
	{SPAWN_EXITED, sizeof(struct spawn_exit), SPAWN_TO_DAEMON},
	{SPAWN_ENDED, sizeof(struct spawn_exit), SPAWN_TO_DAEMON},
	{SPAWN_OPENED, sizeof(struct spawn_opened), SPAWN_TO_DAEMON},
	{SPAWN_EXEC_ENDED, sizeof(struct spawn_exec_end), SPAWN_TO_DAEMON},
	{SPAWN_PUBLISH, sizeof(struct spawn_number), SPAWN_TO_SPAWN},
	{SPAWN_PUBLISHED, sizeof(struct spawn_published), SPAWN_TO_DAEMON},
	{SPAWN_IMAGE, sizeof(struct spawn_image), SPAWN_FROM_PUBLISHER},
};

static const char snapshot_id[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* One of each that passes. */
static struct spawn_datagram *good(size_t i)
{
	struct spawn_datagram *d = fresh();

	spawn_begin(d->bytes, fixed[i].word, fixed[i].size);
	if (fixed[i].word == SPAWN_HELLO) {
		d->hello.version = SPAWN_VERSION;
		return d;
	}
	if (fixed[i].word != SPAWN_ADOPTED && fixed[i].word != SPAWN_READY)
		d->number.number = 5;
	switch (fixed[i].word) {
	case SPAWN_MAKE:
		d->make.function = 1;
		break;
	case SPAWN_PUBLISH:
		d->n_fds = 2; /* with a filter */
		break;
	case SPAWN_PUBLISHED:
		memcpy(d->published.id, snapshot_id, sizeof snapshot_id);
		break;
	case SPAWN_IMAGE:
		spawn_begin(&d->image.told, SPAWN_PUBLISHED, sizeof d->image.told);
		d->image.told.number = 5;
		memcpy(d->image.told.id, snapshot_id, sizeof snapshot_id);
		d->n_fds = 2;
		break;
	case SPAWN_OPEN:
		d->open.path_len = 4;
		memcpy(d->open.path, "/a/b", 5);
		d->n_fds = 1;
		break;
	case SPAWN_ADOPT:
	case SPAWN_MADE:
		d->cell.function = 1;
		d->cell.fds = SPAWN_FD_ALWAYS | SPAWN_FD_CGROUP;
		d->n_fds = 6;
		memcpy(d->cell.id, "0123456789ab", 13);
		break;
	case SPAWN_DONE:
		d->done.of = SPAWN_SETTLE;
		break;
	case SPAWN_FAILED:
		d->done.of = SPAWN_MAKE;
		d->done.err.kind = ERR_BUSY;
		break;
	case SPAWN_OPENED:
		d->n_fds = 1;
		break;
	default:
		break;
	}
	return d;
}

TEST(each_word_has_its_side_its_length_and_its_descriptors)
{
	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		struct spawn_datagram *d = good(i);
		struct err e = {0};
		const enum spawn_side other = fixed[i].side == SPAWN_TO_SPAWN ? SPAWN_TO_DAEMON : SPAWN_TO_SPAWN;

		if (!CHECK_EQ(check(d, fixed[i].side), 0))
			tap_note("word %u", d->head.word);
		CHECK_EQ(check(d, other), -EPROTO);
		d->n_fds++;
		CHECK_EQ(check(d, fixed[i].side), -EPROTO);
		d->n_fds--;
		d->head.size++;
		CHECK_EQ(check(d, fixed[i].side), -EPROTO);
		d->head.size -= 2;
		CHECK_EQ(check(d, fixed[i].side), -EPROTO);
		d->head.size++;
		CHECK_EQ(spawn_check(d, fixed[i].size - 1, fixed[i].side, &e), -EPROTO); /* cut off */
		free(d);
	}
}

#define CHECK_BAD(i, change)                                \
	do {                                                \
		struct spawn_datagram *d = good(i);         \
		CHECK_EQ(check(d, fixed[i].side), 0);       \
		change;                                     \
		CHECK_EQ(check(d, fixed[i].side), -EPROTO); \
		free(d);                                    \
	} while (0)

static size_t index_of(enum spawn_word word)
{
	size_t i = 0;

	while (fixed[i].word != word)
		i++;
	return i;
}

TEST(fields_out_of_range_are_refused)
{
	static const enum spawn_word numbered[] = {SPAWN_FORGET, SPAWN_MAKE,   SPAWN_SETTLE,    SPAWN_NOTE,
						   SPAWN_LIMITS, SPAWN_KILL,   SPAWN_END,       SPAWN_OPEN,
						   SPAWN_MADE,   SPAWN_EXITED, SPAWN_EXEC_KILL, SPAWN_EXEC_ENDED};

	for (size_t i = 0; i < ARRAY_LEN(numbered); i++)
		CHECK_BAD(index_of(numbered[i]), d->number.number = 0);
	CHECK_BAD(index_of(SPAWN_FORGET), d->number.number = UINT64_C(1) << 32);
	CHECK_BAD(index_of(SPAWN_ADOPTED), d->number.number = 1);
	CHECK_BAD(index_of(SPAWN_READY), d->number.number = 1);
	CHECK_BAD(index_of(SPAWN_MAKE), d->make.note_len = SPAWN_MAX_NOTE + 1);
	CHECK_BAD(index_of(SPAWN_NOTE), d->note.note_len = UINT32_MAX);
	CHECK_BAD(index_of(SPAWN_OPEN), d->open.path[0] = 'a');
	CHECK_BAD(index_of(SPAWN_OPEN), d->open.path[2] = '\0');
	CHECK_BAD(index_of(SPAWN_OPEN), d->open.path_len = 5);
	CHECK_BAD(index_of(SPAWN_OPEN), d->open.path_len = SPAWN_MAX_PATH);
	CHECK_BAD(index_of(SPAWN_OPEN), memset(d->open.path, '/', sizeof d->open.path));
	CHECK_BAD(index_of(SPAWN_OPEN), d->open.directory = 3);
	CHECK_BAD(index_of(SPAWN_HELLO), d->hello.version++);
	CHECK_BAD(index_of(SPAWN_HELLO), memset(d->hello.runtime_dir, 'x', sizeof d->hello.runtime_dir));
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.fds &= ~(uint32_t)SPAWN_FD_PIDFD);
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.fds |= 1U << 30);
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.id[11] = 'g');
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.id[12] = 'a');
	CHECK_BAD(index_of(SPAWN_MADE), memset(d->cell.cgroup_name, 'x', sizeof d->cell.cgroup_name));
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.exited = 2);
	CHECK_BAD(index_of(SPAWN_DONE), d->done.of = SPAWN_MAKE);
	CHECK_BAD(index_of(SPAWN_DONE), d->done.err.kind = ERR_KIND_COUNT);
	CHECK_BAD(index_of(SPAWN_DONE), memset(d->done.err.msg, 'x', sizeof d->done.err.msg));
	CHECK_BAD(index_of(SPAWN_FAILED), d->done.err.kind = ERR_NONE);
	CHECK_BAD(index_of(SPAWN_EXEC_ENDED), d->exec_end.err.kind = ERR_KIND_COUNT);
	CHECK_BAD(index_of(SPAWN_EXEC_ENDED), memset(d->exec_end.err.hint, 'x', sizeof d->exec_end.err.hint));
	CHECK_BAD(index_of(SPAWN_MAKE), d->make.restored = 2);
	CHECK_BAD(index_of(SPAWN_MAKE), d->make.give_up_ns = 1); /* without being a restore */
	CHECK_BAD(index_of(SPAWN_MADE), d->cell.restored = 2);
	CHECK_BAD(index_of(SPAWN_PUBLISH), d->number.number = UINT64_C(1) << 32);
	CHECK_BAD(index_of(SPAWN_PUBLISH), d->n_fds = 0);
	CHECK_BAD(index_of(SPAWN_PUBLISHED), d->published.id[63] = '\0');
	CHECK_BAD(index_of(SPAWN_PUBLISHED), d->published.id[5] = 'A');
	CHECK_BAD(index_of(SPAWN_PUBLISHED), d->published.err.kind = ERR_BUSY); /* an error with an id */
	CHECK_BAD(index_of(SPAWN_PUBLISHED), memset(d->published.error_type, 'x', sizeof d->published.error_type));
	CHECK_BAD(index_of(SPAWN_IMAGE), memset(d->image.pipes, 'x', sizeof d->image.pipes));
	CHECK_BAD(index_of(SPAWN_IMAGE), d->image.max_pid = UINT32_MAX);
	CHECK_BAD(index_of(SPAWN_IMAGE), d->image.told.head.word = SPAWN_IMAGE);
	CHECK_BAD(index_of(SPAWN_IMAGE), d->n_fds = 1);
	CHECK_BAD(index_of(SPAWN_OPENED), d->opened.code = -1);
	CHECK_BAD(index_of(SPAWN_OPENED), d->opened.code = 2); /* an error with a descriptor */
}

/* ---- Over a socket ---- */

struct pair {
	int a, b;
};

static struct pair make_pair(void)
{
	int sv[2] = {FD_NONE, FD_NONE};

	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sv), 0);
	return (struct pair){sv[0], sv[1]};
}

static ino_t inode(int fd)
{
	struct stat st = {0};

	CHECK_EQ(fstat(fd, &st), 0);
	return st.st_ino;
}

TEST(descriptors_arrive_in_their_order_and_close_on_exec)
{
	struct spawn_datagram *d = function(), *got = fresh();
	struct pair p = make_pair();
	struct err e = {0};

	for (size_t i = 0; i < d->n_fds; i++) {
		int v[2];

		CHECK_EQ(pipe2(v, O_CLOEXEC), 0);
		d->fds[i] = v[0];
		(void)close(v[1]);
	}
	CHECK_EQ(spawn_send(p.a, d->bytes, d->fds, d->n_fds), 0);
	CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), 1);
	CHECK_EQ(got->n_fds, d->n_fds);
	for (size_t i = 0; i < got->n_fds; i++) {
		CHECK_EQ(inode(got->fds[i]), inode(d->fds[i]));
		CHECK_EQ(fcntl(got->fds[i], F_GETFD), FD_CLOEXEC);
	}
	CHECK_EQ(memcmp(got->bytes, d->bytes, d->head.size), 0);
	CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), -EAGAIN);
	CHECK_EQ(got->n_fds, 0); /* those of the last one are closed */
	(void)close(p.a);
	CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), 0);
	CHECK_EQ(e.kind, ERR_NONE);
	(void)close(p.b);
	spawn_drop(d);
	free(d);
	free(got);
}

static void send_raw(int fd, const void *data, size_t len, int copies)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(253 * sizeof(int))];
	} rights = {0};
	char bytes[64] = {0};
	struct iovec iov = {bytes, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	memcpy(bytes, data, len);
	if (copies > 0) {
		msg.msg_control = rights.space;
		msg.msg_controllen = CMSG_SPACE((size_t)copies * sizeof(int));
		rights.align.cmsg_level = SOL_SOCKET;
		rights.align.cmsg_type = SCM_RIGHTS;
		rights.align.cmsg_len = CMSG_LEN((size_t)copies * sizeof(int));
		for (int i = 0; i < copies; i++)
			memcpy(CMSG_DATA(&rights.align) + (size_t)i * sizeof(int), &fd, sizeof fd);
	}
	CHECK_EQ(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

TEST(what_is_malformed_leaves_no_descriptor_behind)
{
	static const int copies[] = {0, 1, SPAWN_MAX_FDS, SPAWN_MAX_FDS + 1, 2 * SPAWN_MAX_FDS + 5, 253};
	struct spawn_datagram *got = fresh();
	struct pair p = make_pair();
	const int before = open_files();

	for (size_t i = 0; i < ARRAY_LEN(copies); i++) {
		struct spawn_number m;
		struct err e = {0};

		send_raw(p.a, "abc", 3, copies[i]);
		CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), -EPROTO);
		CHECK_EQ(open_files(), before);
		spawn_begin(&m, SPAWN_KILL, sizeof m);
		m.number = 1;
		e = (struct err){0};
		send_raw(p.a, &m, sizeof m, copies[i]);
		CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), copies[i] == 0 ? 1 : -EPROTO);
		CHECK_EQ(open_files(), before);
	}
	(void)close(p.a);
	(void)close(p.b);
	free(got);
}

TEST(fsboxd_without_room_for_descriptors_still_hears_what_they_were_of)
{
	struct spawn_datagram *got = fresh();
	struct pair p = make_pair();
	struct spawn_opened opened;
	struct spawn_number m;
	struct rlimit files, few;
	struct err e = {0};
	int before;

	REQUIRE(getrlimit(RLIMIT_NOFILE, &files) == 0);
	spawn_begin(&opened, SPAWN_OPENED, sizeof opened);
	opened.number = 7;
	before = open_files();
	few = files;
	few.rlim_cur = (rlim_t)p.b + 1; /* all below are taken */
	for (rlim_t room = 0; room < 2; room++) {
		send_raw(p.a, &opened, sizeof opened, 1);
		few.rlim_cur += room;
		REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
		CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_DAEMON, &e), 1);
		REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
		CHECK_EQ(got->opened.number, 7);
		CHECK_EQ(got->lacking, room == 0);
		CHECK_EQ(got->n_fds, room);
		spawn_drop(got);
	}
	/* The other side is not asked to be so lenient. */
	few.rlim_cur = (rlim_t)p.b + 1;
	spawn_begin(&m, SPAWN_KILL, sizeof m);
	m.number = 1;
	send_raw(p.a, &m, sizeof m, 1);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &few) == 0);
	CHECK_EQ(spawn_receive(p.b, got, SPAWN_TO_SPAWN, &e), -EPROTO);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &files) == 0);
	CHECK_EQ(open_files(), before);
	(void)close(p.a);
	(void)close(p.b);
	free(got);
}

TEST(a_reader_who_does_not_read_does_not_make_the_writer_wait)
{
	struct spawn_datagram *d = image();
	struct pair p = make_pair();
	int r = 0, n = 0;

	d->n_fds = 0;
	while (r == 0 && n++ < 100000)
		r = spawn_send(p.a, d->bytes, NULL, 0);
	CHECK_EQ(r, -EAGAIN);
	(void)close(p.b);
	r = spawn_send(p.a, d->bytes, NULL, 0);
	CHECK(r == -EPIPE || r == -ECONNRESET);
	(void)close(p.a);
	free(d);
}
