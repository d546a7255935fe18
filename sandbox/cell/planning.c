/* The stage "plan": what has to be looked at and read before the plan can be made. */
#include "base/fd.h"
#include "cell/host.h"
#include "cell/internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/stat.h>

/* The function runs as another user than root: what it cannot read is better refused here, by name. The code itself is
 * ERR_DENIED ("cannot execute"), anything else a bad spec. */
static int check_readable(const char *path, int fd, bool privileged, bool dir, struct err *e)
{
	const enum err_kind kind = dir ? ERR_SPEC : ERR_DENIED;
	const mode_t need = dir ? S_IROTH | S_IXOTH : S_IROTH;
	struct stat st;
	int r;

	if ((fd_valid(fd) ? fstat(fd, &st) : stat(path, &st)) < 0)
		return err_set(e, kind, errno, "'%s': %s", path, strerrordesc_np(errno));
	if (dir && !S_ISDIR(st.st_mode))
		return err_set(e, ERR_SPEC, ENOTDIR, "'%s' is not a directory", path);
	if (!privileged)
		return access(path, dir ? R_OK | X_OK : R_OK) < 0
			       ? err_set(e, kind, errno, "'%s': %s", path, strerrordesc_np(errno))
			       : 0;
	if ((st.st_mode & need) == need)
		return 0;
	r = err_set(e, kind, EACCES, "'%s' has mode %03o: the cell's own user cannot read it", path,
		    st.st_mode & 0777U);
	return err_hint(e, r, "chmod o+r%s %s", dir ? "x" : "", path);
}

static int check_files(const struct cell *c, bool privileged, struct err *e)
{
	const struct cell_spec *s = c->spec;
	const char *code = c->host->target_path ? c->host->target_path : s->target;
	int r = !code ? 0 : check_readable(code, c->host->target_fd, privileged, c->host->facts.code.dir, e);

	if (r == 0 && s->rootfs)
		r = check_readable(s->rootfs, FD_NONE, privileged, true, e);
	for (size_t i = 0; r == 0 && i < s->n_layers; i++)
		r = check_readable(s->layers[i], FD_NONE, privileged, true, e);
	return r;
}

/* --tmp-dir: its space is made before the plan that binds it. */
static int make_tmp_dir(struct cell *c, const struct host_facts *facts, struct err *e)
{
	int r;

	if (facts->privileged)
		return root_quota_make(c->spec->tmp_dir, c->id, c->spec->tmp_bytes, facts->range_base + CELL_UID,
				       facts->range_base + CELL_GID, &c->quota, e);
	r = err_set(e, ERR_UNSUPPORTED, EPERM, "--tmp-dir needs root: it sets a project quota");
	return err_hint(e, r, "leave it out; /tmp is then memory, within --mem");
}

static int read_secret(const struct spec_secret *s, char **ret, size_t *ret_len, struct err *e)
{
	AUTO_FD int fd = open(s->file, O_RDONLY | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_read_all(fd, SPEC_MAX_SECRET_BYTES, ret, ret_len);

	if (r == -EFBIG)
		return err_set(e, ERR_SPEC, EFBIG, "--secret %s: '%s' has over %d bytes", s->name, s->file,
			       SPEC_MAX_SECRET_BYTES);
	return r < 0 ? err_set(e, ERR_SPEC, -r, "--secret %s: '%s': %s", s->name, s->file, strerrordesc_np(-r)) : 0;
}

/* Secrets are read for each cell anew, so that they may change; an image never has them, so the cell that is dumped has
 * none. They are wiped from our memory as soon as the plan has its own copy, which is wiped with it. */
struct secrets {
	char *data[SPEC_MAX_SECRETS];
	size_t len[SPEC_MAX_SECRETS], n;
};

static void secrets_done(struct secrets *s)
{
	for (size_t i = 0; i < s->n; i++) {
		explicit_bzero(s->data[i], s->len[i]);
		free(s->data[i]);
	}
	s->n = 0;
}

static int read_secrets(const struct cell *c, struct secrets *s, struct host_facts *facts, struct err *e)
{
	for (size_t i = 0; c->role != PLAN_PUBLISHED && i < c->spec->n_secrets; i++) {
		int r = read_secret(&c->spec->secrets[i], &s->data[i], &s->len[i], e);

		if (r < 0)
			return r;
		s->n++;
		facts->secrets[i].name = c->spec->secrets[i].name;
		facts->secrets[i].data = s->data[i];
		facts->secrets[i].len = s->len[i];
	}
	facts->n_secrets = s->n;
	return 0;
}

/* What this cell's own facts are made of. */
struct texts {
	char target[32], generation[24], images[32];
};

static int plan_role(struct cell *c, struct host_facts *facts, struct texts *t, struct err *e)
{
	facts->role = c->role;
	if (c->role == PLAN_PLAIN)
		return 0;
	if (!facts->privileged)
		return err_set(e, ERR_UNSUPPORTED, EPERM, "snapshots need root");
	do
		if (getrandom(&c->generation, sizeof c->generation, 0) != (ssize_t)sizeof c->generation)
			return err_sys(e, errno, "drawing the cell's generation");
	while (c->generation == 0);
	(void)snprintf(t->generation, sizeof t->generation, "%016llx\n", (unsigned long long)c->generation);
	facts->generation = t->generation;
	if (c->role == PLAN_RESTORED) {
		facts->engine_dir = c->host->engine->dir;
		/* The very directory that was checked, whatever its name means by now. */
		(void)snprintf(t->images, sizeof t->images, "/proc/self/fd/%d", c->from->images);
		facts->images_dir = t->images;
	}
	return 0;
}

int enter_plan(struct cell *c, struct err *e)
{
	struct host_facts facts = c->host->facts; /* of the host, and what is this cell's own */
	AUTO(secrets_done) struct secrets secrets = {0};
	struct texts texts = {0};
	int r = check_files(c, facts.privileged, e);

	if (r == 0)
		r = plan_role(c, &facts, &texts, e);
	if (r == 0)
		r = read_secrets(c, &secrets, &facts, e);

	facts.range_base = c->host->range_first + (uint32_t)c->slot * CELL_ID_RANGE;
	facts.target_path = c->spec->target; /* NULL: the code is in the root */
	/* The very file that was checked, whatever its name means by now. Inside, where the mount of that descriptor
	 * would be another namespace's, it has to be the name; there it is the caller's own file all the same. */
	(void)snprintf(texts.target, sizeof texts.target, "/proc/self/fd/%d", c->host->target_fd);
	facts.target_source = facts.privileged && fd_valid(c->host->target_fd) ? texts.target
			      : c->host->target_path                           ? c->host->target_path
									       : c->spec->target;
	if (r == 0 && c->spec->tmp_dir) {
		r = make_tmp_dir(c, &facts, e);
		facts.tmp_source = c->quota.path;
	}
	return r == 0 ? plan_make(c->spec, &facts, c->id, &c->plan, e) : r;
}

int undo_plan(struct cell *c, struct err *e)
{
	plan_free(c->plan);
	c->plan = NULL;
	return c->quota.path[0] ? root_quota_remove(&c->quota, e) : 0;
}
