#include "daemon/prepare.h"

#include "base/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { MAX_MOUNTINFO = 16 << 20 };

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* A copy of the daemon has all that it has: cells' channels, clients, the store. */
static void close_others(const struct prepare_job *job, int to)
{
	int keep[PREPARE_MAX_FILES + 1];
	size_t n = 0;
	unsigned from = 3;

	keep[n++] = to;
	for (size_t i = 0; i < job->n_files; i++)
		if (fd_valid(job->files[i].fd))
			keep[n++] = job->files[i].fd;
	qsort(keep, n, sizeof keep[0], by_number);
	for (size_t i = 0; i < n; i++) {
		if ((unsigned)keep[i] > from)
			(void)close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	(void)close_range(from, ~0U, 0);
}

/* What was opened, whatever its name means by now. */
static int name_files(struct prepare_job *job, struct err *e)
{
	for (size_t i = 0; i < job->n_files; i++) {
		struct prepare_file *f = &job->files[i];

		if (!fd_valid(f->fd))
			f->fd = open(f->path,
				     (f->directory_only ? O_PATH | O_DIRECTORY : O_RDONLY | O_NONBLOCK | O_NOCTTY) |
					     O_CLOEXEC);
		if (!fd_valid(f->fd))
			return err_set(e, errno == ENOENT ? ERR_NOT_FOUND : ERR_DENIED, errno, "'%s': %s", f->path,
				       strerrordesc_np(errno));
		*f->place = arena_printf(&job->spec->arena, "/proc/self/fd/%d", f->fd);
		if (!*f->place)
			return err_oom(e);
	}
	return 0;
}

/* The file that stands for this place; it may be one that only its owner may open. */
static int opened(const struct prepare_job *job, const char *const *place)
{
	for (size_t i = 0; i < job->n_files; i++)
		if (job->files[i].place == place)
			return job->files[i].fd;
	return FD_NONE;
}

/* Spec and files, as they are now. */
static int make_digest(const struct prepare_job *job, char *digest, struct err *e)
{
	static const unsigned char key[16]; /* of no secret: it tells one's own deployments apart */
	unsigned char hash[16];
	struct buf text = {0};

	buf_puts(&text, job->spec_text);
	for (size_t i = 0; i < job->n_files; i++) {
		struct stat st;

		if (fstat(job->files[i].fd, &st) < 0) {
			buf_done(&text);
			return err_sys(e, errno, "'%s'", job->files[i].path);
		}
		buf_printf(&text, "\n%llx:%llx:%llx:%llx.%lx:%llx.%lx", (unsigned long long)st.st_dev,
			   (unsigned long long)st.st_ino, (unsigned long long)st.st_size,
			   (unsigned long long)st.st_mtim.tv_sec, (unsigned long)st.st_mtim.tv_nsec,
			   (unsigned long long)st.st_ctim.tv_sec, (unsigned long)st.st_ctim.tv_nsec);
	}
	if (text.failed)
		return err_oom(e);
	once_siphash(key, text.data, text.len, hash);
	buf_done(&text);
	for (size_t i = 0; i < sizeof hash; i++)
		(void)snprintf(digest + 2 * i, 3, "%02x", hash[i]);
	if (job->expected_digest && strcmp(digest, job->expected_digest) != 0)
		return err_set(e, ERR_SPEC, ESTALE, "its files have changed since it was deployed");
	return 0;
}

/* ---- The datagram ---- */

static int too_large(struct err *e)
{
	return err_set(e, ERR_LIMIT, E2BIG, "environment and arguments of the function are too large");
}

static bool put_strings(struct spawn_datagram *d, struct spawn_list *to, const char *const *texts, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!spawn_put_list(d, to, texts[i]))
			return false;
	return true;
}

static size_t count(const char *const *texts)
{
	size_t n = 0;

	while (texts[n])
		n++;
	return n;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool put_texts(const struct prepare_job *job, const struct cell_code *code, struct spawn_datagram *d)
{
	struct spawn_function *f = &d->function;
	const struct cell_spec *s = job->spec;
	const struct spec_code *what = &code->what;
	bool ok = spawn_put_text(d, &f->name, job->name) && spawn_put_text(d, &f->policy, s->policy) &&
		  put_strings(d, &f->env, s->env, s->n_env);

	if (ok && s->target)
		ok = spawn_put_text(d, &f->code_name, file_name(s->target));
	if (ok && what->handler)
		ok = spawn_put_text(d, &f->handler, what->handler);
	if (ok && what->interpreter)
		ok = spawn_put_text(d, &f->interpreter, what->interpreter);
	if (ok && what->image)
		ok = spawn_put_text(d, &f->image_cwd, what->image->cwd) &&
		     put_strings(d, &f->image_args, what->image->args, count(what->image->args)) &&
		     put_strings(d, &f->image_env, what->image->env, count(what->image->env));
	for (size_t i = 0; ok && i < s->n_secrets; i++)
		ok = spawn_put_list(d, &f->secrets, s->secrets[i].name);
	return ok;
}

int prepare_seal_filter(const struct filter *filter, struct err *e)
{
	AUTO_FD int fd = memfd_create("fsbox-filter", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || fd_write_all(fd, filter->insns, filter->len * sizeof filter->insns[0]) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return err_sys(e, errno, "handing over the policy's filter");
	return take_fd(&fd);
}

/* The number of the mount on which it was opened: proc(5), /proc/PID/fdinfo. */
static int mount_of(int fd, uint64_t *ret)
{
	static const char key[] = "mnt_id:";
	char name[40], text[512];
	char *at;
	ssize_t n;

	(void)snprintf(name, sizeof name, "/proc/self/fdinfo/%d", fd);
	n = fd_read_file_at(AT_FDCWD, name, text, sizeof text);
	at = n > 0 ? strstr(text, key) : NULL;
	if (!at)
		return n < 0 ? (int)n : -EPROTO;
	at += sizeof key - 1;
	at += strspn(at, " \t");
	at[strcspn(at, "\n")] = '\0';
	return parse_u64(at, 0, UINT64_MAX, ret) ? 0 : -EPROTO;
}

int prepare_is_mounted_here(int fd)
{
	AUTO_FREE char *mounts = NULL;
	AUTO_FD int info = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	uint64_t number = 0;
	char line[32];
	size_t len;
	int r = info < 0 ? -errno : fd_read_all(info, MAX_MOUNTINFO, &mounts, &len);

	if (r == 0)
		r = mount_of(fd, &number);
	if (r < 0)
		return r;
	(void)snprintf(line, sizeof line, "\n%llu ", (unsigned long long)number);
	return str_starts(mounts, line + 1) || strstr(mounts, line);
}

/* What is not on one of our mounts cannot be bound into a cell (mount(2), EINVAL): told now, not at the first call. */
static int check_mount(int fd, const char *what, struct err *e)
{
	int r = prepare_is_mounted_here(fd);
	struct stat st;

	if (r < 0)
		return err_sys(e, r, "reading the mounts");
	if (r > 0)
		return 0;
	if (fstat(fd, &st) == 0 && st.st_nlink == 0) { /* a memfd, on no mount at all; or a file that was deleted */
		r = err_set(e, ERR_SPEC, EXDEV, "%s has no place in a directory, as a memfd has none", what);
		r = err_where(e, r, "spec: $.%s", what);
		return err_hint(e, r, "write it to a file, or send an archive");
	}
	r = err_set(e, ERR_SPEC, EXDEV, "%s was opened in another mount namespace than the daemon's", what);
	r = err_where(e, r, "spec: $.%s", what);
	return err_hint(e, r, "name it by its path there, without a descriptor");
}

static bool is_unpacked(const struct cell_code *code, const char *path)
{
	for (size_t i = 0; i < code->n_packages; i++)
		if (strcmp(code->packages[i].path, path) == 0)
			return true;
	return false;
}

/* As fsbox-spawn gets it. What was unpacked carries a lock of its own (package.h), which lasts as long as that has the
 * function, whatever becomes of this fsboxd. */
static int open_layer(const struct cell_code *code, const char *path)
{
	const bool unpacked = is_unpacked(code, path);
	const int fd = open(path, (unpacked ? O_RDONLY : O_PATH) | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 && unpacked)
		(void)flock(fd, LOCK_SH);
	return fd;
}

/* In the order that wire/spawn.h gives them. */
static int put_fds(const struct prepare_job *job, const struct cell_code *code, const struct filter *base,
		   const struct filter *after, struct spawn_datagram *d, struct err *e)
{
	const struct cell_spec *s = job->spec;
	int r = 0;

	if (fd_valid(code->fd)) {
		d->fds[d->n_fds++] = code->fd;
		if (is_unpacked(code, code->path))
			(void)flock(code->fd, LOCK_SH);
		r = check_mount(code->fd, "target", e);
	}
	if (r < 0)
		return r;
	if (s->rootfs)
		r = d->fds[d->n_fds] = open(s->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (r < 0)
		return err_sys(e, errno, "the root");
	d->n_fds += s->rootfs != NULL;
	if (s->rootfs && check_mount(r, "rootfs", e) < 0)
		return -EXDEV;
	for (size_t i = 0; i < s->n_layers; i++) {
		d->fds[d->n_fds] = open_layer(code, s->layers[i]);
		if (d->fds[d->n_fds++] < 0)
			return err_set(e, ERR_SPEC, errno, "layer %zu: %s", i + 1, strerrordesc_np(errno));
		r = check_mount(d->fds[d->n_fds - 1], "layer", e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < s->n_secrets; i++) {
		d->fds[d->n_fds++] = opened(job, &s->secrets[i].file);
	}
	if (base->len > 0) {
		r = d->fds[d->n_fds++] = prepare_seal_filter(base, e);
		if (r < 0)
			return r;
	}
	if (d->function.flags & SPAWN_HAS_AFTER)
		r = d->fds[d->n_fds++] = prepare_seal_filter(after, e);
	return r < 0 ? r : 0;
}

static int fill(const struct prepare_job *job, const struct cell_code *code, const struct filter *base,
		const struct filter *after, struct spawn_datagram *d, struct err *e)
{
	static const uint32_t nets[] = {[SPEC_NET_LOOPBACK] = SPAWN_NET_LOOPBACK,
					[SPEC_NET_NONE] = SPAWN_NET_NONE,
					[SPEC_NET_HOST] = SPAWN_NET_HOST};
	struct spawn_function *f = &d->function;
	const struct cell_spec *s = job->spec;
	const struct spec_code *what = &code->what;

	spawn_function_begin(d, 1);
	f->flags = (fd_valid(code->fd) ? (uint32_t)SPAWN_HAS_CODE : 0U) |
		   (what->dir ? (uint32_t)SPAWN_CODE_IS_DIR : 0U) | (s->rootfs ? (uint32_t)SPAWN_HAS_ROOTFS : 0U) |
		   (base->len > 0 ? (uint32_t)SPAWN_HAS_FILTER : 0U) |
		   (after->len > 0 && job->policy ? (uint32_t)SPAWN_HAS_AFTER : 0U) |
		   (what->handler ? (uint32_t)SPAWN_HAS_HANDLER : 0U) |
		   (what->interpreter ? (uint32_t)SPAWN_HAS_INTERPRETER : 0U) |
		   (what->image ? (uint32_t)SPAWN_HAS_IMAGE : 0U) |
		   (s->no_limits || job->no_limits ? (uint32_t)SPAWN_NO_LIMITS : 0U) |
		   (s->no_init_boost ? (uint32_t)SPAWN_NO_INIT_BOOST : 0U) |
		   (s->keep_seeds ? (uint32_t)SPAWN_KEEP_SEEDS : 0U);
	f->memory_bytes = s->memory_bytes;
	f->tmp_bytes = s->tmp_bytes;
	f->pids = s->pids;
	f->net = nets[s->net];
	f->runtime = (uint32_t)what->runtime; /* the numbers of both are the same: checked in deploy.c */
	f->n_layers = (uint32_t)s->n_layers;
	if (!put_texts(job, code, d))
		return too_large(e);
	return put_fds(job, code, base, after, d, e);
}

/* ---- The whole ---- */

static int send_prepared(int to, const struct prepared *p, const struct cell_code *code)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE((1 + SPEC_MAX_LAYERS) * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_len = offsetof(struct prepared, filter) + p->n_filter * sizeof p->filter[0]};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	int locks[1 + SPEC_MAX_LAYERS];

	memcpy(&iov.iov_base, &p, sizeof(void *)); /* sendmsg(2) only reads it */
	for (uint32_t i = 0; i < p->n_locks; i++)
		locks[i] = code->packages[i].lock;
	if (p->n_locks > 0) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(p->n_locks * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(p->n_locks * sizeof(int));
		memcpy(CMSG_DATA(&control.align), locks, p->n_locks * sizeof(int));
	}
	return sendmsg(to, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int look(struct prepare_job *job, struct prepared *p, struct cell_code *code, struct spawn_datagram *d,
		struct err *e)
{
	struct filter base = {0}, after = {0};
	int r = name_files(job, e);

	if (r == 0)
		r = make_digest(job, p->digest, e);
	if (r == 0)
		r = policy_load_from(job->spec->policy, opened(job, &job->policy), &base, &after, e);
	if (r == 0)
		r = code_open_by(job->spec, job->target, job->runtime_dir, code, e);
	if (r == 0)
		r = policy_check(job->spec->policy, &after, code->what.runtime, e);
	if (r < 0)
		return r;
	p->runtime = (uint32_t)code->what.runtime;
	p->n_filter = (uint32_t)after.len;
	if (after.len > 0)
		memcpy(p->filter, after.insns, after.len * sizeof after.insns[0]);
	p->n_locks = (uint32_t)code->n_packages;
	return fill(job, code, &base, &after, d, e);
}

_Noreturn void prepare_main(struct prepare_job *job, int to)
{
	static struct spawn_datagram d;
	static struct prepared p;
	struct cell_code code = {.fd = FD_NONE};
	struct err e = {0};
	sigset_t none;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)alarm(PREPARE_SECONDS);
	close_others(job, to);
	if (look(job, &p, &code, &d, &e) < 0) {
		p = (struct prepared){.err = e};
		code.n_packages = 0;
	}
	if (send_prepared(to, &p, &code) == 0 && e.kind == ERR_NONE)
		(void)!spawn_send(to, d.bytes, d.fds, d.n_fds);
	_exit(0);
}
